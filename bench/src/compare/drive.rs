//! The client: the same for all systems. A closed loop measures what a system decides at most; an open loop measures what
//! people wait, from the moment at which each one's request is due.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::Instant;

use super::target::{Reply, Target, Words};
use super::workload::{Wish, endless};
use crate::latency::Latencies;
use crate::pace::{open_loop, steady};

/// How often an attempt is made before it counts as undecided.
const TRIES_MAX: u32 = 12;
/// The pause after an attempt without an answer.
const BROKEN_PAUSE: Duration = Duration::from_millis(100);
/// How long an impatient client waits before it asks again.
pub(super) const IMPATIENCE: Duration = Duration::from_millis(200);
/// How long the impatient go on after the last one has come.
const STORM_END: Duration = Duration::from_secs(5);

/// A number that somebody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) wish: Wish,
    pub(super) number: u32,
}

/// What came of a load.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) booked: Vec<Told>,
    pub(super) refused: u64,
    /// Without an outcome at the end.
    pub(super) undecided: u64,
    /// Answers that asked to come back.
    pub(super) turned_away: u64,
    /// Attempts without an answer that makes sense.
    pub(super) broken: u64,
    pub(super) first_break: Option<String>,
    pub(super) latencies: Latencies,
    /// From the start to the last outcome.
    pub(super) took: Duration,
    /// Outcomes within the time in which wishes came.
    pub(super) in_time: u64,
    /// The loop ended before all wishes were sent.
    pub(super) cut: bool,
    /// When those who got a place asked for the first time, and in which session.
    asked: Vec<(usize, Instant)>,
    /// When somebody was first told that a session has no place left.
    sold_out: HashMap<usize, Instant>,
    /// Of an open loop: requests that were due and those that had their outcome, in each tenth of a second.
    pub(super) timeline: Vec<Moment>,
}

/// A tenth of a second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Moment {
    /// Requests that were due in it.
    pub due: u64,
    /// Outcomes that came in it.
    pub decided: u64,
}

/// How long a [`Moment`] is.
pub(super) const MOMENT: Duration = Duration::from_millis(100);

impl Tally {
    /// Attempts with a final outcome.
    pub(super) fn decided(&self) -> u64 {
        self.booked.len() as u64 + self.refused
    }

    /// Those who got a place though they asked after somebody had been told that none is left; nobody gives one back here.
    pub(super) fn out_of_order(&self) -> u64 {
        let late = |(session, asked): &&(usize, Instant)| self.sold_out.get(session).is_some_and(|told| told < asked);
        self.asked.iter().filter(late).count() as u64
    }

    /// Adds what came of a further load on the same system.
    pub(super) fn add(&mut self, other: Self) {
        self.booked.extend(other.booked);
        self.asked.extend(other.asked);
        for (session, told) in other.sold_out {
            self.tell_sold_out(session, told);
        }
        self.refused += other.refused;
        self.undecided += other.undecided;
        self.turned_away += other.turned_away;
        self.broken += other.broken;
        self.first_break = self.first_break.take().or(other.first_break);
        self.latencies.add(&other.latencies);
        self.took += other.took;
        self.in_time += other.in_time;
    }

    fn moment(&mut self, since_start: Duration) -> &mut Moment {
        let index = usize::try_from(since_start.as_millis() / MOMENT.as_millis()).unwrap_or(usize::MAX - 1);
        if self.timeline.len() <= index {
            self.timeline.resize(index + 1, Moment::default());
        }
        &mut self.timeline[index]
    }

    fn tell_sold_out(&mut self, session: usize, told: Instant) {
        let first = self.sold_out.entry(session).or_insert(told);
        *first = told.min(*first);
    }

    fn note(&mut self, one: One) {
        self.turned_away += u64::from(one.turned_away);
        self.broken += u64::from(one.broken);
        self.first_break = self.first_break.take().or(one.first_break);
        match one.outcome {
            Some(Some(told)) => {
                self.asked.push((told.wish.session, one.asked));
                self.booked.push(told);
            }
            Some(None) => self.refused += 1,
            None => self.undecided += 1,
        }
        if let Some((session, told)) = one.sold_out {
            self.tell_sold_out(session, told);
        }
        if one.outcome.is_some() {
            self.latencies.record(one.latency);
        }
    }
}

/// What came of one wish: of all its attempts.
struct One {
    /// A number, or none; `None` when there was no outcome.
    outcome: Option<Option<Told>>,
    latency: Duration,
    /// When the first request was sent.
    asked: Instant,
    /// In which session and when it was told that no place is left.
    sold_out: Option<(usize, Instant)>,
    turned_away: u32,
    broken: u32,
    first_break: Option<String>,
}

/// Asks until there is an outcome; a ticket is one for whoever wants to be accepted only. `due` is when the first request was
/// to be sent. Without `give_up` it waits as long as it is asked to; with it, it asks every 200 ms until then.
async fn decide(target: &Target, number: u64, wish: Wish, due: Instant, give_up: Option<Instant>) -> One {
    let mut one = One {
        outcome: None,
        latency: Duration::ZERO,
        asked: Instant::now(),
        sold_out: None,
        turned_away: 0,
        broken: 0,
        first_break: None,
    };
    for tries in 1.. {
        let asked = Instant::now();
        let pause = match target.ask(number, wish).await {
            Reply::Booked(given) => {
                one.outcome = Some(Some(Told { wish, number: given }));
                break;
            }
            Reply::Refused { sold_out } => {
                one.outcome = Some(None);
                one.sold_out = sold_out.then(|| (wish.session, Instant::now()));
                break;
            }
            Reply::Queued if target.words == Words::Accept => {
                one.outcome = Some(None);
                break;
            }
            Reply::Queued => Duration::ZERO,
            Reply::Away(pause) => {
                one.turned_away += 1;
                pause
            }
            Reply::Broken(why) => {
                one.broken += 1;
                one.first_break.get_or_insert(why);
                BROKEN_PAUSE
            }
        };
        match give_up {
            None if tries == TRIES_MAX => break,
            None => tokio::time::sleep(pause).await,
            Some(end) if Instant::now() >= end => break,
            Some(_) => tokio::time::sleep_until(asked + IMPATIENCE).await,
        }
    }
    one.latency = due.elapsed();
    one
}

/// Every connection sends its next wish as soon as the last one has its outcome, until all are sent or the time is up. The
/// first one is sent as number `from`.
pub(super) async fn closed(
    target: &Target,
    connections: usize,
    from: u64,
    wishes: &[Wish],
    cut: Duration,
    bar: &ProgressBar,
) -> Tally {
    let (next, tally) = (Cell::new(0_usize), RefCell::new(Tally::default()));
    let start = Instant::now();
    let connection = async || {
        while start.elapsed() < cut {
            let index = next.get();
            let Some(wish) = wishes.get(index) else { return };
            next.set(index + 1);
            let one = decide(target, from + index as u64, *wish, Instant::now(), None).await;
            tally.borrow_mut().note(one);
            bar.inc(1);
        }
    };
    futures::future::join_all((0..connections).map(|_| connection())).await;
    let mut tally = tally.into_inner();
    tally.took = start.elapsed();
    tally.in_time = tally.decided();
    tally.cut = next.get() < wishes.len();
    tally
}

/// Sends each wish when its time has come, the first one as number `from`.
pub(super) async fn open(
    target: &Arc<Target>,
    from: u64,
    wishes: &[Wish],
    arrivals: &[Duration],
    bar: &ProgressBar,
) -> anyhow::Result<Tally> {
    let wish = |number: u64| Ok(wishes[usize::try_from(number)?]);
    let length = arrivals.last().copied().unwrap_or_default();
    play(target, arrivals.iter().copied(), length, from, wish, false, bar).await
}

/// Sends wishes at a steady rate, the first one as number `from`; with `impatient` each is sent again after 200 ms without an
/// outcome.
pub(super) async fn at_rate(
    target: &Arc<Target>,
    rate_per_s: f64,
    length: Duration,
    from: u64,
    impatient: bool,
    bar: &ProgressBar,
) -> anyhow::Result<Tally> {
    let sessions = target.session_ids.len();
    let wish = |number| endless(from + number, sessions);
    play(target, steady(rate_per_s, length), length, from, wish, impatient, bar).await
}

async fn play(
    target: &Arc<Target>,
    arrivals: impl Iterator<Item = Duration>,
    length: Duration,
    from: u64,
    wish: impl Fn(u64) -> anyhow::Result<Wish>,
    impatient: bool,
    bar: &ProgressBar,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let start = Instant::now();
    let end = start + length;
    let call = |number: u64, due: Instant| {
        let (target, wish) = (Arc::clone(target), wish(number)?);
        let give_up = impatient.then(|| end + STORM_END);
        Ok(async move { Ok((decide(&target, from + number, wish, due, give_up).await, due, Instant::now())) })
    };
    let note = |(one, due, at): (One, Instant, Instant)| {
        let is_decided = u64::from(one.outcome.is_some());
        tally.moment(due - start).due += 1;
        tally.moment(at - start).decided += is_decided;
        tally.in_time += is_decided * u64::from(at <= end);
        tally.note(one);
        bar.inc(1);
        Ok(())
    };
    open_loop(arrivals, call, note).await?;
    tally.took = start.elapsed();
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use orderly_baselines::{Kind, Options, api, systems};

    use super::super::record::baseline_record;
    use super::super::system::open_baseline;
    use super::super::target::Words;
    use super::super::truth::Truth;
    use super::super::workload::{Size, Workload};
    use super::*;
    use crate::client::Client;
    use crate::replay::{self, Session};

    /// A system in this process, with the sessions of a load.
    async fn target(sessions: &[Session]) -> (Arc<Target>, String) {
        let nowhere = Options {
            postgres: "postgres://nobody@127.0.0.1:1/nothing".to_owned(),
            redis: "redis://127.0.0.1:1".to_owned(),
            pool: 1,
            attempts_max: 1,
            lock_wait_ms: 1,
        };
        let system = systems::start(Kind::Memory, &nowhere).await.expect("it needs no server");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move { axum::serve(listener, api::router(system)).await });
        open_baseline(&url, sessions).await.expect("opened");
        let client = Client::new(&url, 16, Duration::from_secs(10)).expect("a URL");
        let session_ids = sessions.iter().map(|session| session.session_id.clone()).collect();
        (Arc::new(Target { client, words: Words::Plain, bearers: Vec::new(), session_ids }), url)
    }

    #[tokio::test]
    async fn a_closed_loop_asks_once_for_each_wish() {
        let plan = Workload::Hot.plan(Size { full: false }, &replay::Options::default()).expect("valid");
        let (target, url) = target(&plan.sessions).await;
        let bar = ProgressBar::hidden();
        let tally = closed(&target, 16, 0, &plan.wishes[..1_000], Duration::from_secs(600), &bar).await;
        assert_eq!((tally.booked.len(), tally.refused, tally.undecided, tally.cut), (100, 900, 0, false));
        let record = baseline_record(&url).await.expect("a record");
        assert!(Truth::of(&plan.sessions, &tally.booked, &record).holds());
        assert_eq!(Truth::of(&plan.sessions, &tally.booked, &record[1..]).lost, 1, "and what is missing is seen");
        assert_eq!(tally.out_of_order(), 0);
        let late = Tally { asked: vec![(0, Instant::now())], sold_out: tally.sold_out.clone(), ..Tally::default() };
        assert_eq!(late.out_of_order(), 1, "a place after somebody was told that none is left");
        let again = closed(&target, 16, 0, &plan.wishes[..1_000], Duration::ZERO, &bar).await;
        assert!(again.cut && again.decided() == 0, "the time was up");
    }

    #[tokio::test]
    async fn the_impatient_get_one_outcome_each() {
        let plan = Workload::Storm.plan(Size { full: false }, &replay::Options::default()).expect("valid");
        let (target, url) = target(&plan.sessions).await;
        let tally = at_rate(&target, 500.0, Duration::from_millis(400), 0, true, &ProgressBar::hidden()).await;
        let tally = tally.expect("nothing fails");
        assert_eq!((tally.decided(), tally.undecided), (200, 0));
        assert_eq!(baseline_record(&url).await.expect("a record").len(), tally.booked.len());
    }
}
