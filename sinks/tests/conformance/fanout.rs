//! What every fan-out must do.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use orderly_domain::clock::Timestamp;
use orderly_domain::command::Kind;
use orderly_domain::decision::Outcome;
use orderly_domain::port::Fanout;
use orderly_domain::port::fanout::Event;
use orderly_domain::port::store::Committed;
use orderly_domain::position::Position;

/// How many batches the suite's fan-outs keep for a slow subscriber, at least.
const CAPACITY_BATCHES: usize = 64;

/// Declares the suite's tests for an adapter; `$open` makes a fan-out that keeps [`CAPACITY_BATCHES`].
macro_rules! suite {
    ($open:expr) => {
        crate::fanout::suite!($open;
            tells_every_subscriber_all_in_order, tells_only_what_comes_after, tells_of_a_gap, never_waits_for_anybody,
            ends_its_streams);
    };
    ($open:expr; $($name:ident),*) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::fanout::$name($open).await;
            }
        )*
    };
}
pub(crate) use suite;

mod redis;

mod memory {
    use super::CAPACITY_BATCHES;

    crate::fanout::suite!(orderly_sinks::fanout::memory::Fanout::new(CAPACITY_BATCHES));
}

/// A batch of decisions at offsets `first..first + count`.
fn batch(first: u64, count: u64) -> Arc<[Committed]> {
    let decision = |offset| Committed {
        position: Position { partition: 1, offset },
        logged_at: Timestamp::from_micros(1_000),
        decided_at: Timestamp::from_micros(2_000),
        kind: Kind::Book,
        ticket: None,
        session_id: None,
        outcome: Outcome::Booked { number: 1 },
        first: None,
        corrected: false,
        session: None,
        released: vec![],
    };
    (first..first + count).map(decision).collect()
}

/// The next event: the decisions, or `None` for a gap.
async fn hear(events: &mut BoxStream<'static, Event>) -> Option<Arc<[Committed]>> {
    match events.next().await.expect("the stream goes on") {
        Event::Committed(committed) => Some(committed),
        Event::Gap => None,
    }
}

pub(crate) async fn tells_every_subscriber_all_in_order(fanout: impl Fanout) {
    let mut subscribers: Vec<_> = (0..3).map(|_| fanout.subscribe()).collect();
    for first in 0..50 {
        fanout.publish(batch(first * 10, 1 + first % 7)).await.expect("it is published");
    }
    for events in &mut subscribers {
        for first in 0..50 {
            assert_eq!(hear(events).await.as_deref(), Some(&*batch(first * 10, 1 + first % 7)));
        }
        assert!(events.next().now_or_never().is_none(), "nothing more was published");
    }
}

pub(crate) async fn tells_only_what_comes_after(fanout: impl Fanout) {
    fanout.publish(batch(0, 1)).await.expect("that nobody hears it is no error");
    let mut early = fanout.subscribe();
    fanout.publish(batch(1, 1)).await.expect("it is published");
    let mut late = fanout.subscribe();
    fanout.publish(batch(2, 1)).await.expect("it is published");
    assert_eq!(hear(&mut early).await.as_deref(), Some(&*batch(1, 1)));
    assert_eq!(hear(&mut early).await.as_deref(), Some(&*batch(2, 1)));
    assert_eq!(hear(&mut late).await.as_deref(), Some(&*batch(2, 1)));
}

pub(crate) async fn tells_of_a_gap(fanout: impl Fanout) {
    let mut events = fanout.subscribe();
    let mut quick = fanout.subscribe();
    let published = 4 * CAPACITY_BATCHES as u64;
    for first in 0..published {
        fanout.publish(batch(first, 1)).await.expect("it is published");
        hear(&mut quick).await.expect("whoever keeps up hears all");
    }
    assert_eq!(hear(&mut events).await, None, "the first ones are gone, and that is said first");
    // The newest are still there, without a further gap.
    let mut next = hear(&mut events).await.expect("what was kept")[0].position.offset;
    assert!(next > 0 && next + CAPACITY_BATCHES as u64 >= published / 2, "{next}");
    while next + 1 < published {
        next += 1;
        assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(next, 1)));
    }
    fanout.publish(batch(published, 1)).await.expect("it is published");
    assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(published, 1)), "it goes on after a gap");
}

pub(crate) async fn never_waits_for_anybody(fanout: impl Fanout) {
    let slow = fanout.subscribe();
    let mut quick = fanout.subscribe();
    for first in 0..10 * CAPACITY_BATCHES as u64 {
        fanout.publish(batch(first, 1)).await.expect("it is published");
        assert_eq!(hear(&mut quick).await.as_deref(), Some(&*batch(first, 1)), "others hear all");
    }
    drop(slow);
}

pub(crate) async fn ends_its_streams(fanout: impl Fanout) {
    let mut events = fanout.subscribe();
    fanout.publish(batch(0, 2)).await.expect("it is published");
    drop(fanout);
    assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(0, 2)), "what was published is heard");
    assert!(events.next().await.is_none(), "then it ends");
}
