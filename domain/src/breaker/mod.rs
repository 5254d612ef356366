//! Breakers: what keeps calls away from a dependency that fails or is slow, so that whoever asks learns it at once and the
//! dependency gets room to recover.
//!
//! A breaker is *closed* while calls go well. It *opens* when too large a share of them fails, or when their mean response
//! time is too long; then calls are refused. After a pause it is *half-open*: one call at a time goes through as a probe.
//! Some good probes close it, a bad one opens it again for longer. By hand it can be held open or closed.

mod machine;
mod window;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::port;
use machine::{Ended, Entered, Machine};

/// When a breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Over which time calls are judged.
    pub window: Duration,
    /// With fewer calls in the window, nothing is concluded from them, unless they took as long together as that many calls
    /// of `mean_max`.
    pub calls_min: u32,
    /// It opens when this share of the calls failed, above 0 and up to 1.
    pub failed_share_max: f64,
    /// It opens when the mean response time is longer. Calls that are under way count with the time that they took so far.
    pub mean_max: Duration,
    /// How long it stays open at first. Every bad probe doubles it for the crowd, and up to a quarter is added so that
    /// breakers do not probe as one.
    pub pause: Duration,
    /// The longest that it stays open, before what is added.
    pub pause_max: Duration,
    /// This many good probes in a row close it.
    pub probes_good: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            calls_min: 5,
            failed_share_max: 0.5,
            mean_max: Duration::from_millis(800),
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(5),
            probes_good: 3,
        }
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Any number of callers, each of whom can be told no.
    Crowd,
    /// A background task that has few calls in flight and makes each again until it succeeds. It cannot overrun a slow
    /// dependency, so a breaker that opened for slowness alone lets it go on: waiting would only make it slower.
    Worker,
}

/// Whether calls go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// They do.
    Closed,
    /// One at a time does.
    HalfOpen,
    /// They are refused.
    Open,
}

/// Who says in which state a breaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Its measurements.
    Automatic,
    /// Somebody holds it open, whatever is measured.
    Open,
    /// Somebody holds it closed, whatever is measured.
    Closed,
}

/// A breaker as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What it guards.
    pub name: &'static str,
    /// Whether calls go through.
    pub state: State,
    /// Who says so.
    pub held: Held,
    /// Why it is in this state, in words; empty for one that never opened.
    pub cause: Arc<str>,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it lets the next probe through; `None` when it does so at once, or is held open.
    pub probe_at: Option<Timestamp>,
    /// Calls in the window that ended.
    pub calls: u64,
    /// The share of them that failed; `None` without calls.
    pub failed_share: Option<f64>,
    /// The mean response time of calls in the window and, where that makes it longer, of those under way.
    pub mean: Option<Duration>,
    /// Times that it opened after it was closed.
    pub opened_total: u64,
    /// Calls that it refused.
    pub refused_total: u64,
}

/// A change of state, for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state now.
    pub state: State,
    /// Why.
    pub cause: Arc<str>,
}

/// What hears of every change of state. It must return quickly: callers wait for it.
pub type Listener = fn(name: &'static str, change: &Change);

const CLOSED: u8 = 0;
const SLOW: u8 = 1;
const AWAY: u8 = 2;

/// A breaker that calls share. Its lock is held for some dozen instructions a call.
pub struct Breaker {
    name: &'static str,
    clock: Arc<dyn Clock>,
    listener: Option<Listener>,
    machine: Mutex<Machine>,
    /// How it was after the last call, to be read without the lock: `CLOSED`, `SLOW` or `AWAY`.
    after: AtomicU8,
}

impl std::fmt::Debug for Breaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Breaker").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Breaker {
    /// A closed breaker. `clock` should not jump: what it says is also how long calls take.
    #[must_use]
    pub fn new(name: &'static str, settings: Settings, clock: Arc<dyn Clock>, listener: Option<Listener>) -> Self {
        let machine = Mutex::new(Machine::new(name, settings, clock.now()));
        Self { name, clock, listener, machine, after: AtomicU8::new(CLOSED) }
    }

    /// What it guards.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it was closed after the last call. Costs one load.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.after.load(Ordering::Relaxed) == CLOSED
    }

    /// Whether what it guards was away after the last call: it is open or half-open, and not for slowness alone. Costs one
    /// load.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.after.load(Ordering::Relaxed) == AWAY
    }

    /// Makes a call, unless the breaker refuses it.
    ///
    /// # Errors
    /// [`port::Error::BreakerOpen`] when it is refused, else those of the call.
    pub async fn guard<T>(&self, caller: Caller, call: impl Future<Output = port::Result<T>>) -> port::Result<T> {
        let guarded = self.enter(caller)?;
        let answer = call.await;
        guarded.end(&answer);
        answer
    }

    fn enter(&self, caller: Caller) -> port::Result<Call<'_>> {
        let now = self.clock.now();
        let entered = self.with(|machine| machine.enter(now, caller));
        entered.map(|entered| Call { breaker: self, entered: Some(entered) })
    }

    /// How it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        self.with(|machine| machine.snapshot(now))
    }

    /// Holds it by hand, or lets it go: then it starts closed, with nothing measured. `cause` tells who did it and why.
    pub fn hold(&self, held: Held, cause: &str) -> Snapshot {
        let now = self.clock.now();
        self.with(|machine| {
            machine.hold(now, held, cause);
            machine.snapshot(now)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.lock();
        let answer = work(&mut machine);
        let change = machine.take_change();
        let after = match machine.state() {
            State::Closed => CLOSED,
            _ if machine.is_away() => AWAY,
            State::HalfOpen | State::Open => SLOW,
        };
        self.after.store(after, Ordering::Relaxed);
        drop(machine);
        if let (Some(change), Some(listener)) = (change, self.listener) {
            listener(self.name, &change);
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. One that is dropped has not been answered.
struct Call<'a> {
    breaker: &'a Breaker,
    entered: Option<Entered>,
}

impl Call<'_> {
    fn end<T>(mut self, answer: &port::Result<T>) {
        let ended = match answer {
            Ok(_) => Ended::Answered,
            Err(error) => Ended::of(error),
        };
        self.leave(ended);
    }

    fn leave(&mut self, ended: Ended) {
        if let Some(entered) = self.entered.take() {
            let now = self.breaker.clock.now();
            self.breaker.with(|machine| machine.leave(now, entered, ended));
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.leave(Ended::Dropped);
    }
}

/// The breakers of a process, in a fixed order.
#[derive(Clone, Debug, Default)]
pub struct Breakers(Arc<[Arc<Breaker>]>);

impl Breakers {
    /// These.
    #[must_use]
    pub fn new(breakers: Vec<Arc<Breaker>>) -> Self {
        Self(breakers.into())
    }

    /// The one that guards `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Breaker>> {
        self.0.iter().find(|breaker| breaker.name == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Breaker>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
