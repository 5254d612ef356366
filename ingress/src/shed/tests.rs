//! A store of a given speed behind the door, with more people before it than it can serve. Time is counted, not spent.

use std::collections::VecDeque;

use orderly_domain::Offset;
use orderly_domain::command::Kind;
use orderly_domain::decision::{Outcome, Reason};

use super::*;

const TICK: Duration = Duration::from_millis(10);
/// The store commits once in so many ticks.
const COMMIT_TICKS: u64 = 10;

struct Simulation {
    shed: Shed,
    progress: Progress,
    drain: Drain,
    bounds: Bounds,
    now: Timestamp,
    ticks: u64,
    line: VecDeque<(Offset, Timestamp)>,
    next: Offset,
    credit: f64,
    arriving: f64,
    late: bool,
}

/// What happened in a while.
#[derive(Default)]
struct Seen {
    waits: Vec<f64>,
    refused: u64,
    retry_after: Vec<f64>,
    lengths: Vec<usize>,
    /// Taken in, second by second.
    taken: Vec<u64>,
}

impl Seen {
    fn wait(&mut self, quantile: f64) -> f64 {
        self.waits.sort_by(f64::total_cmp);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let index = ((self.waits.len() - 1) as f64 * quantile) as usize;
        self.waits[index]
    }
}

fn simulation(bounds: Bounds) -> Simulation {
    Simulation {
        shed: Shed::register(1, &Registry::new()).unwrap(),
        progress: Progress::new(1),
        drain: Drain::new(1),
        bounds,
        now: Timestamp::from_millis(1_700_000_000_000),
        ticks: 0,
        line: VecDeque::new(),
        next: 0,
        credit: 0.0,
        arriving: 0.0,
        late: false,
    }
}

fn bounds(wait_s: u64) -> Bounds {
    Bounds { wait_max: Duration::from_secs(wait_s), undecided_max: 1_000_000 }
}

impl Simulation {
    fn run(&mut self, seconds: u32, arrivals_per_s: f64, decisions_per_s: f64) -> Seen {
        let mut seen = Seen::default();
        for _ in 0..seconds {
            let mut taken = 0;
            for _ in 0..100 {
                self.now = self.now.plus(TICK);
                self.ticks += 1;
                self.arriving += arrivals_per_s * TICK.as_secs_f64();
                while self.arriving >= 1.0 {
                    self.arriving -= 1.0;
                    match self.shed.admit(0, &self.progress, &self.bounds, self.late, self.now) {
                        Ok(admitted) => {
                            admitted.appended(Position { partition: 0, offset: self.next });
                            self.line.push_back((self.next, self.now));
                            self.next += 1;
                            taken += 1;
                        }
                        Err(Refused::Wait { retry_after, .. } | Refused::Undecided { retry_after }) => {
                            seen.refused += 1;
                            seen.retry_after.push(retry_after.as_secs_f64());
                        }
                    }
                }
                self.decide(decisions_per_s, &mut seen);
                seen.lengths.push(self.line.len());
            }
            seen.taken.push(taken);
        }
        seen
    }

    fn decide(&mut self, per_s: f64, seen: &mut Seen) {
        self.credit += per_s * TICK.as_secs_f64();
        if !self.ticks.is_multiple_of(COMMIT_TICKS) {
            return;
        }
        let mut committed = Vec::new();
        while self.credit >= 1.0 {
            let Some((offset, logged_at)) = self.line.pop_front() else {
                self.credit = 0.0;
                break;
            };
            self.credit -= 1.0;
            seen.waits.push(self.now.since(logged_at).as_secs_f64());
            committed.push(Committed {
                position: Position { partition: 0, offset },
                logged_at,
                decided_at: self.now,
                kind: Kind::Book,
                ticket: None,
                session_id: None,
                outcome: Outcome::Rejected(Reason::SoldOut),
                first: None,
                corrected: false,
                session: None,
                released: vec![],
            });
        }
        self.shed.note(&mut self.drain, &committed, &self.progress, self.now);
        for decision in committed {
            self.progress.advance(0, decision.position.offset + 1);
        }
    }
}

fn range(values: &[usize]) -> (usize, usize) {
    (values.iter().copied().min().unwrap(), values.iter().copied().max().unwrap())
}

/// Ten times what the store can do: who is let in waits about as long as the bound, the store is never idle, and neither the
/// line's length nor the rate at which people are let in swings.
#[test]
fn the_wait_stays_at_the_bound_the_store_stays_busy_and_nothing_oscillates() {
    let mut simulation = simulation(bounds(2));
    simulation.run(20, 5_000.0, 500.0);
    let mut seen = simulation.run(60, 5_000.0, 500.0);
    let (low, high) = (seen.wait(0.0), seen.wait(1.0));
    assert!(low > 1.7 && high < 2.2, "{low} to {high} s");
    let decided = seen.waits.len();
    assert!(decided >= 29_700, "{decided} of 30,000 decisions that the store could make");
    let (shortest, longest) = range(&seen.lengths);
    assert!(shortest >= 850 && longest <= 1_100, "{shortest} to {longest}");
    assert!(seen.taken.iter().all(|taken| (450..=550).contains(taken)), "{:?}", seen.taken);
}

#[test]
fn the_line_follows_a_store_that_becomes_slow_and_recovers() {
    let mut simulation = simulation(bounds(2));
    simulation.run(20, 5_000.0, 500.0);
    // What was let in before it became slow waits longer: nobody could know.
    simulation.run(20, 5_000.0, 100.0);
    let mut slow = simulation.run(30, 5_000.0, 100.0);
    let (low, high) = (slow.wait(0.0), slow.wait(1.0));
    assert!(low > 1.6 && high < 2.3, "{low} to {high} s");
    assert!(slow.waits.len() >= 2_970, "{}", slow.waits.len());
    let recovering = simulation.run(10, 5_000.0, 500.0);
    assert!(recovering.waits.len() >= 4_700, "the store is busy while it recovers: {}", recovering.waits.len());
    let (_, longest) = range(&recovering.lengths);
    assert!(longest <= 1_100, "and the line does not overshoot: {longest}");
    let mut well = simulation.run(20, 5_000.0, 500.0);
    let (low, high) = (well.wait(0.0), well.wait(1.0));
    assert!(low > 1.7 && high < 2.2, "{low} to {high} s");
}

#[test]
fn nobody_is_refused_while_the_store_keeps_up() {
    let mut simulation = simulation(bounds(2));
    let seen = simulation.run(60, 450.0, 500.0);
    assert_eq!(seen.refused, 0);
}

/// Single bookings at night are decided one by one, which tells little about how fast a rush is decided.
#[test]
fn a_quiet_night_does_not_make_the_morning_slow() {
    let mut simulation = simulation(bounds(2));
    simulation.run(60, 1.0, 10_000.0);
    let seen = simulation.run(10, 8_000.0, 10_000.0);
    assert_eq!(seen.refused, 0);
}

/// Nothing is decided any more: the number of undecided records bounds what is taken, to the last one.
#[test]
fn a_store_that_is_away_gets_a_line_of_bounded_length() {
    let bounds = Bounds { undecided_max: 3_000, ..bounds(2) };
    let mut simulation = simulation(bounds);
    simulation.run(20, 5_000.0, 500.0);
    let standing = simulation.run(4, 5_000.0, 0.0);
    assert!(range(&standing.lengths).1 <= 1_100, "until it is known to stand still, the wait bounds it");
    assert!(!simulation.shed.stands_still(0, &simulation.progress, simulation.now));
    simulation.run(2, 5_000.0, 0.0);
    assert!(simulation.shed.stands_still(0, &simulation.progress, simulation.now));
    simulation.late = true;
    let away = simulation.run(30, 5_000.0, 0.0);
    assert_eq!(range(&away.lengths).1, 3_000);
    assert_eq!(simulation.shed.undecided(&simulation.progress), 3_000);
    assert!(away.retry_after.iter().all(|after| (5.0..=7.5).contains(after)));
    simulation.late = false;
    let back = simulation.run(20, 5_000.0, 500.0);
    assert!(back.waits.len() >= 9_900, "it is worked off at full speed: {}", back.waits.len());
    assert!(!simulation.shed.stands_still(0, &simulation.progress, simulation.now));
}

/// Those who are refused are told moments that follow each other as the store can serve them, with some jitter.
#[test]
fn those_who_are_refused_come_back_one_after_the_other() {
    let mut simulation = simulation(bounds(2));
    simulation.run(20, 500.0, 500.0);
    let first = simulation.run(2, 5_000.0, 500.0);
    assert!((7_000..9_000).contains(&first.refused), "{}", first.refused);
    let (early, last) = (first.retry_after[0], *first.retry_after.last().unwrap());
    assert!(early < 1.0, "{early} s");
    // Some 8,000 people at 500 a second, less the time that passed; and up to half as long again.
    assert!(last > 11.0 && last < 25.0, "{last} s");
    let longest = simulation.run(60, 5_000.0, 500.0).retry_after.into_iter().fold(0.0, f64::max);
    assert!(longest <= 45.0, "nobody is sent away for long: {longest} s");
}
