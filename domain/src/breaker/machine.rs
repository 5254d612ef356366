//! The breaker's states, as a pure function of calls and times.

use std::sync::Arc;
use std::time::Duration;

use super::window::{Sum, Window};
use super::{Caller, Change, Held, Settings, Snapshot, State};
use crate::clock::Timestamp;
use crate::port;

/// The longest error text that is kept as a cause, in bytes.
const CAUSE_BYTES_MAX: usize = 300;

/// A call that was let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entered {
    at: Timestamp,
    /// Calls of an earlier generation say nothing about the present state.
    generation: u64,
    probe: bool,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The dependency did its work, also where it had to say no.
    Answered,
    /// It did not, and this is what it said.
    Failed(String),
    /// It said at once that it has no room. That is its own way of keeping calls away, with a cause that says more than a
    /// breaker could; so nothing is concluded from it.
    NoRoom,
    /// Nobody waited for the answer.
    Dropped,
}

impl Ended {
    pub(super) fn of(error: &port::Error) -> Self {
        match error {
            port::Error::DidNotHappen(_) | port::Error::MayHaveHappened(_) => Self::Failed(error.to_string()),
            // It works, and answers precisely.
            port::Error::Fenced { .. }
            | port::Error::Lost(_)
            | port::Error::Held { .. }
            | port::Error::Conflict { .. } => Self::Answered,
            // A breaker further in refused it; a corrupt answer is a person's business and stops what asked.
            port::Error::Overloaded(_)
            | port::Error::StorageFull(_)
            | port::Error::BreakerOpen { .. }
            | port::Error::Corrupt(_) => Self::NoRoom,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    /// Until when the crowd is refused, and workers, if it did not open for slowness alone.
    Open {
        until: Timestamp,
        workers_until: Timestamp,
        slow: bool,
    },
    HalfOpen {
        good: u32,
        probing: bool,
        slow: bool,
    },
}

#[derive(Debug)]
pub(super) struct Machine {
    name: &'static str,
    settings: Settings,
    phase: Phase,
    held: Held,
    cause: Arc<str>,
    since: Timestamp,
    window: Window,
    generation: u64,
    /// Calls of this generation that are under way, and the sum of the times at which they began, in microseconds.
    under_way: i64,
    began_us: i128,
    /// What the last failed call of the window said.
    last_failure: String,
    /// Openings since it was closed last.
    openings: u32,
    opened_total: u64,
    refused_total: u64,
    change: Option<Change>,
}

impl Machine {
    pub(super) fn new(name: &'static str, settings: Settings, now: Timestamp) -> Self {
        Self {
            name,
            settings,
            phase: Phase::Closed,
            held: Held::Automatic,
            cause: Arc::from(""),
            since: now,
            window: Window::new(settings.window),
            generation: 0,
            under_way: 0,
            began_us: 0,
            last_failure: String::new(),
            openings: 0,
            opened_total: 0,
            refused_total: 0,
            change: None,
        }
    }

    /// Lets a call through, or refuses it.
    pub(super) fn enter(&mut self, now: Timestamp, caller: Caller) -> port::Result<Entered> {
        self.judge(now);
        let probe = match (self.held, self.phase) {
            (Held::Open, _) => return Err(self.refuse(self.settings.pause_max)),
            (Held::Closed, _) | (Held::Automatic, Phase::Closed) => false,
            (Held::Automatic, Phase::Open { until, workers_until, slow })
                if now >= until || (caller == Caller::Worker && !slow && now >= workers_until) =>
            {
                self.phase = Phase::HalfOpen { good: 0, probing: true, slow };
                self.turned(now, State::HalfOpen, Arc::clone(&self.cause));
                true
            }
            (Held::Automatic, Phase::HalfOpen { good, probing: false, slow }) => {
                self.phase = Phase::HalfOpen { good, probing: true, slow };
                true
            }
            (Held::Automatic, Phase::Open { slow: true, .. } | Phase::HalfOpen { slow: true, .. })
                if caller == Caller::Worker =>
            {
                false
            }
            (Held::Automatic, Phase::Open { until, .. }) => return Err(self.refuse(until.since(now))),
            (Held::Automatic, Phase::HalfOpen { .. }) => return Err(self.refuse(self.settings.mean_max)),
        };
        self.under_way += 1;
        self.began_us += i128::from(now.as_micros());
        Ok(Entered { at: now, generation: self.generation, probe })
    }

    /// Notes how a call ended.
    pub(super) fn leave(&mut self, now: Timestamp, entered: Entered, ended: Ended) {
        if entered.generation != self.generation {
            return;
        }
        self.under_way -= 1;
        self.began_us -= i128::from(entered.at.as_micros());
        let took = now.since(entered.at);
        let slow = took > self.settings.mean_max;
        if let Phase::HalfOpen { good, slow, .. } = self.phase
            && entered.probe
        {
            self.phase = Phase::HalfOpen { good, probing: false, slow };
        }
        let failure = match ended {
            Ended::Answered => None,
            Ended::Failed(failure) => Some(failure),
            // Somebody who went away early tells nothing; somebody who lost patience does.
            Ended::Dropped if slow => Some(format!("no answer within {} ms", took.as_millis())),
            Ended::Dropped | Ended::NoRoom => return,
        };
        match self.phase {
            Phase::Closed => {
                self.window.add(now, took, failure.is_some());
                if let Some(failure) = failure {
                    self.last_failure = shortened(failure);
                }
                self.judge(now);
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => self.probed(now, took, failure),
        }
    }

    /// A call of an open breaker ended: a probe, or one of a worker.
    fn probed(&mut self, now: Timestamp, took: Duration, failure: Option<String>) {
        if self.held != Held::Automatic {
            return;
        }
        if let Some(failure) = failure {
            return self.open(now, false, format!("a probe failed: {}", shortened(failure)));
        }
        let (good, waits) = match self.phase {
            Phase::HalfOpen { good, .. } => (good + 1, false),
            Phase::Open { .. } => (1, true),
            Phase::Closed => return,
        };
        if took > self.settings.mean_max {
            // What a worker sees while the pause lasts prolongs nothing.
            if !waits {
                self.open(now, true, format!("a probe took {} ms", took.as_millis()));
            }
        } else if good >= self.settings.probes_good {
            self.close(now, format!("{good} probes went well"));
        } else {
            let (probing, slow) = match self.phase {
                Phase::HalfOpen { probing, slow, .. } => (probing, slow),
                Phase::Open { slow, .. } => (false, slow),
                Phase::Closed => return,
            };
            self.phase = Phase::HalfOpen { good, probing, slow };
            if waits {
                self.turned(now, State::HalfOpen, Arc::clone(&self.cause));
            }
        }
    }

    /// Opens a closed breaker when its calls say so.
    fn judge(&mut self, now: Timestamp) {
        if self.phase != Phase::Closed || self.held != Held::Automatic {
            return;
        }
        let sum = self.window.sum(now);
        let Settings { window, failed_share_max, mean_max, .. } = self.settings;
        if self.is_enough(sum) && share(sum).is_some_and(|share| share >= failed_share_max) && sum.failed > 0 {
            let (Sum { calls, failed, .. }, window) = (sum, window.as_secs_f64());
            let cause = format!("{failed} of {calls} calls within {window} s failed, the last: {}", self.last_failure);
            self.open(now, false, cause);
        } else if (self.is_enough(sum) || self.is_enough(self.with_those_under_way(now, sum)))
            && let Some(mean) = self.mean(now, sum)
            && mean > mean_max
        {
            let (mean, bound) = (mean.as_millis(), mean_max.as_millis());
            self.open(now, true, format!("the mean response time is {mean} ms, more than {bound} ms"));
        }
    }

    /// Whether something can be concluded from these calls: they are enough, or took as long together as that many slow
    /// ones. The few calls of a worker to a dependency that does not answer say as much as the many of a crowd.
    fn is_enough(&self, sum: Sum) -> bool {
        let Settings { calls_min, mean_max, .. } = self.settings;
        sum.calls >= u64::from(calls_min) || u128::from(sum.took_us) >= (mean_max * calls_min).as_micros()
    }

    /// As if calls that are under way ended now.
    fn with_those_under_way(&self, now: Timestamp, sum: Sum) -> Sum {
        let age_us = i128::from(now.as_micros()) * i128::from(self.under_way) - self.began_us;
        let calls = sum.calls.saturating_add(u64::try_from(self.under_way).unwrap_or(0));
        Sum { calls, took_us: sum.took_us.saturating_add(u64::try_from(age_us).unwrap_or(0)), ..sum }
    }

    /// The mean of the calls that ended; with those under way, when it is longer with them.
    fn mean(&self, now: Timestamp, sum: Sum) -> Option<Duration> {
        let mean = |sum: Sum| sum.took_us.checked_div(sum.calls);
        mean(sum).max(mean(self.with_those_under_way(now, sum))).map(Duration::from_micros)
    }

    fn open(&mut self, now: Timestamp, slow: bool, cause: String) {
        self.openings = self.openings.saturating_add(1);
        self.opened_total += u64::from(self.phase == Phase::Closed);
        let workers_until = now.plus(self.settings.pause);
        self.phase = Phase::Open { until: now.plus(self.pause()), workers_until, slow };
        self.anew();
        self.turned(now, State::Open, cause.into());
    }

    fn close(&mut self, now: Timestamp, cause: String) {
        self.openings = 0;
        self.phase = Phase::Closed;
        self.anew();
        self.turned(now, State::Closed, cause.into());
    }

    /// Forgets what was measured.
    fn anew(&mut self) {
        self.generation += 1;
        (self.under_way, self.began_us) = (0, 0);
        self.window.clear();
        self.last_failure.clear();
    }

    fn turned(&mut self, now: Timestamp, state: State, cause: Arc<str>) {
        (self.since, self.cause) = (now, Arc::clone(&cause));
        self.change = Some(Change { state, cause });
    }

    /// Doubled with every opening in a row, and up to a quarter longer, by name and number.
    fn pause(&self) -> Duration {
        let doubled = self.settings.pause.saturating_mul(2_u32.saturating_pow(self.openings.saturating_sub(1)));
        let pause = doubled.min(self.settings.pause_max.max(self.settings.pause));
        let seed = self
            .name
            .bytes()
            .fold(self.opened_total ^ u64::from(self.openings), |seed, byte| mixed(seed ^ u64::from(byte)));
        pause + pause.mul_f64(f64::from(u32::try_from(seed % 1_000).unwrap_or(0)) / 4_000.0)
    }

    fn refuse(&mut self, retry_after: Duration) -> port::Error {
        self.refused_total += 1;
        port::Error::BreakerOpen { breaker: self.name, cause: Arc::clone(&self.cause), retry_after }
    }

    pub(super) fn hold(&mut self, now: Timestamp, held: Held, cause: &str) {
        self.held = held;
        self.opened_total += u64::from(held == Held::Open);
        self.phase = Phase::Closed;
        self.openings = 0;
        self.anew();
        self.turned(now, self.state(), cause.into());
    }

    pub(super) fn take_change(&mut self) -> Option<Change> {
        self.change.take()
    }

    pub(super) const fn state(&self) -> State {
        match (self.held, self.phase) {
            (Held::Open, _) => State::Open,
            (Held::Closed, _) | (Held::Automatic, Phase::Closed) => State::Closed,
            (Held::Automatic, Phase::Open { .. }) => State::Open,
            (Held::Automatic, Phase::HalfOpen { .. }) => State::HalfOpen,
        }
    }

    /// Whether it is open or half-open, and not for slowness alone.
    pub(super) const fn is_away(&self) -> bool {
        match (self.held, self.phase) {
            (Held::Open, _) => true,
            (Held::Closed, _) | (Held::Automatic, Phase::Closed) => false,
            (Held::Automatic, Phase::Open { slow, .. } | Phase::HalfOpen { slow, .. }) => !slow,
        }
    }

    pub(super) fn snapshot(&mut self, now: Timestamp) -> Snapshot {
        self.judge(now);
        let sum = self.window.sum(now);
        let probe_at = match (self.held, self.phase) {
            (Held::Automatic, Phase::Open { until, .. }) => (until > now).then_some(until),
            _ => None,
        };
        let waits_for_a_probe = self.state() == State::Open && self.held == Held::Automatic && probe_at.is_none();
        Snapshot {
            name: self.name,
            state: if waits_for_a_probe { State::HalfOpen } else { self.state() },
            held: self.held,
            cause: Arc::clone(&self.cause),
            since: self.since,
            probe_at,
            calls: sum.calls,
            failed_share: share(sum),
            mean: self.mean(now, sum),
            opened_total: self.opened_total,
            refused_total: self.refused_total,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a window has far fewer than 2^52 calls")]
fn share(sum: Sum) -> Option<f64> {
    (sum.calls > 0).then(|| sum.failed as f64 / sum.calls as f64)
}

fn shortened(mut text: String) -> String {
    let mut end = CAUSE_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Scrambles (the finalizer of splitmix64).
const fn mixed(seed: u64) -> u64 {
    let x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
