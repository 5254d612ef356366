//! Waiters come and go while decisions are told.

use std::future::{pending, ready};
use std::sync::Arc;

use orderly_domain::command::Kind;
use orderly_domain::decision::Outcome;
use orderly_domain::port::store::Committed;
use orderly_domain::{Offset, Position, Timestamp};
use orderly_interleave::thread::{self, JoinHandle};
use orderly_interleave::{block_on, explore};
use prometheus::IntGauge;

use crate::progress::Progress;
use crate::settling::{Settled, settled, tell};
use crate::waiters::{Full, Waiters};

const EXECUTIONS: usize = 2_000;

/// A node's share of the protocol.
#[derive(Clone)]
struct Node {
    progress: Arc<Progress>,
    waiters: Arc<Waiters>,
    gauge: IntGauge,
}

impl Node {
    fn new(waiters_max: usize) -> Self {
        let gauge = IntGauge::new("waiters", "waiters").expect("a valid name");
        Self { progress: Arc::new(Progress::new(1)), waiters: Waiters::new(waiters_max, gauge.clone()), gauge }
    }

    fn beside<T: Send + 'static>(&self, run: impl FnOnce(Self) -> T + Send + 'static) -> JoinHandle<T> {
        let node = self.clone();
        thread::spawn(move || run(node))
    }

    /// Waits without end: when nobody wakes it, the exploration tells that all threads wait.
    fn wait(&self, offset: Offset) -> Settled {
        block_on(settled(&self.progress, &self.waiters, at(offset), pending()))
    }

    fn tell(&self, offset: Offset, released: &[Offset]) {
        tell(&self.progress, &self.waiters, &commit(offset, released));
    }

    fn assert_nobody_waits(&self) {
        assert_eq!((self.waiters.count(), self.gauge.get()), (0, 0));
        assert!(self.waiters.is_empty());
    }
}

fn at(offset: Offset) -> Position {
    Position { partition: 0, offset }
}

fn commit(offset: Offset, released: &[Offset]) -> Arc<[Committed]> {
    Arc::from([Committed {
        position: at(offset),
        logged_at: Timestamp::default(),
        decided_at: Timestamp::default(),
        kind: Kind::Book,
        ticket: None,
        session_id: None,
        outcome: Outcome::Booked { number: 1 },
        first: None,
        corrected: false,
        session: None,
        released: released.iter().map(|offset| at(*offset)).collect(),
    }])
}

fn is_settled(settled: &Settled, offset: Offset) -> bool {
    match settled {
        Settled::Heard(committed, index) => committed[*index].position == at(offset),
        Settled::Decided => true,
        Settled::NotYet => false,
    }
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("it does not panic")
}

#[test]
fn a_decision_beside_the_registration_is_not_missed() {
    explore(EXECUTIONS, || {
        let node = Node::new(10);
        let waiting: Vec<_> = (0..2).map(|offset| node.beside(move |node| node.wait(offset))).collect();
        let telling = node.beside(|node| (0..2).for_each(|offset| node.tell(offset, &[])));
        join(telling);
        for (waiting, offset) in waiting.into_iter().zip(0..) {
            let settled = join(waiting);
            assert!(is_settled(&settled, offset), "{settled:?}");
        }
        node.assert_nobody_waits();
    });
}

#[test]
fn one_who_leaves_takes_nobody_along() {
    explore(EXECUTIONS, || {
        let node = Node::new(10);
        // Both wait for the same record: the stream stays, the request has no time.
        let stays = node.beside(|node| node.wait(0));
        let leaves = node.beside(|node| block_on(settled(&node.progress, &node.waiters, at(0), ready(()))));
        let telling = node.beside(|node| node.tell(0, &[]));
        join(telling);
        join(leaves);
        let settled = join(stays);
        assert!(is_settled(&settled, 0), "{settled:?}");
        node.assert_nobody_waits();
    });
}

#[test]
fn what_was_missed_is_looked_up() {
    explore(EXECUTIONS, || {
        let node = Node::new(10);
        let waiting = node.beside(|node| node.wait(0));
        // As after a gap in what is heard.
        let catching_up = node.beside(|node| {
            node.progress.advance(0, 1);
            node.waiters.tell_all();
        });
        join(catching_up);
        let settled = join(waiting);
        assert!(is_settled(&settled, 0), "{settled:?}");
        node.assert_nobody_waits();
    });
}

#[test]
fn a_released_booking_wakes_its_holder() {
    explore(EXECUTIONS, || {
        let node = Node::new(10);
        node.tell(0, &[]);
        // A stream that stays after its booking.
        let mut waiting = node.waiters.register(at(0)).expect("there is room");
        let holding = node.beside(move |_| block_on(waiting.woken()));
        let cancelling = node.beside(|node| node.tell(1, &[0]));
        assert!(join(holding).is_some());
        join(cancelling);
        node.assert_nobody_waits();
    });
}

#[test]
fn no_more_wait_than_there_is_room_for() {
    explore(EXECUTIONS, || {
        let node = Node::new(1);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                node.beside(|node| {
                    let waiting = node.waiters.register(at(0));
                    assert!(node.waiters.count() <= 1);
                    waiting.map(|_| ()).map_err(|Full| ())
                })
            })
            .collect();
        let admitted = threads.into_iter().map(join).filter(Result::is_ok).count();
        assert!(admitted >= 1, "there was room for one after another");
        node.assert_nobody_waits();
    });
}
