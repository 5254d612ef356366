//! Has threads take turns in many orders, at the points where they share something: with [shuttle], which draws the turns.
//!
//! In unit tests a crate's module `sync` names the types of [`sync`] instead of those that they wrap. They are the same
//! primitives, with a *point* before each operation: within [`explore`] another thread may go on there, and outside of it
//! nothing happens. So one build of the real code serves ordinary tests and these, and a build of the program has none of it.
//!
//! Turns are drawn from a fixed seed. `ORDERLY_INTERLEAVE_SEED` draws others, and `ORDERLY_INTERLEAVE_FACTOR` that many times
//! as many. Every operation is seen by all threads at once: orders that only a weak memory model allows are not tried, and
//! have to be argued in comments.
//!
//! [shuttle]: https://docs.rs/shuttle

pub mod sync;

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

pub use shuttle::future::block_on;
pub use shuttle::thread;

/// A stack, in bytes: more than shuttle's own, for code that was not written for it.
const STACK_BYTES: usize = 1 << 20;

/// What one run may take; one that takes more turns without end.
const TURNS_MAX: usize = 100_000;

/// How many turns may go against the order of priorities in the runs that look for rare orders.
const PREEMPTIONS: usize = 3;

/// Runs `run` that often, each time with turns drawn anew: half of them evenly, half with few changes of the thread at
/// places that are rarely drawn evenly.
///
/// # Panics
/// When a run panics, when all of its threads wait for each other, or when it does not end. The message has the turns.
pub fn explore(executions: usize, run: impl Fn() + Clone + Send + Sync + 'static) {
    let executions = executions * setting("ORDERLY_INTERLEAVE_FACTOR", 1);
    let seed = setting("ORDERLY_INTERLEAVE_SEED", 1);
    let rare = executions / 2;
    draw(RandomScheduler::new_from_seed(seed, executions - rare), run.clone());
    draw(PctScheduler::new_from_seed(seed, PREEMPTIONS, rare), run);
}

fn draw(scheduler: impl Scheduler + 'static, run: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = shuttle::MaxSteps::FailAfter(TURNS_MAX);
    // It warns that weak orders are not tried; the head of this file says so.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(run);
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Whether this is a thread of [`explore`].
#[must_use]
pub fn is_exploring() -> bool {
    shuttle::current::try_get_current_task().is_some()
}

/// Within [`explore`], where another thread may go on.
pub fn point() {
    // A thread that panics only tidies up.
    if is_exploring() && !std::thread::panicking() {
        // Time is not modelled: this is a turn, and nothing else.
        thread::sleep(Duration::ZERO);
    }
}

/// Starts a task on a runtime, or, within [`explore`], beside its threads.
pub fn spawn(tasks: &tokio::runtime::Handle, task: impl Future<Output = ()> + Send + 'static) {
    if is_exploring() {
        shuttle::future::spawn(task);
    } else {
        tasks.spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;
    use sync::{AtomicU64, Mutex, Notify};

    /// Whether two threads, each doing `one`, are found to spoil what `holds` says.
    fn is_found<T: Default + Send + Sync + 'static>(one: fn(&T), holds: fn(&T) -> bool) -> bool {
        let run = move || {
            let shared = Arc::new(T::default());
            let other = thread::spawn({
                let shared = Arc::clone(&shared);
                move || one(&shared)
            });
            one(&shared);
            other.join().expect("it does not panic");
            assert!(holds(&shared));
        };
        catch_unwind(|| explore(200, run)).is_err()
    }

    #[test]
    fn finds_an_update_that_is_lost() {
        let lost = |count: &AtomicU64| count.store(count.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
        assert!(is_found(lost, |count| count.load(Ordering::SeqCst) == 2));
        let kept = |count: &AtomicU64| {
            count.fetch_add(1, Ordering::SeqCst);
        };
        assert!(!is_found(kept, |count| count.load(Ordering::SeqCst) == 2));
    }

    #[test]
    fn a_lock_keeps_others_out() {
        let locked = |count: &Mutex<u64>| {
            let mut count = count.lock().expect("no panic under the lock");
            let before = *count;
            point();
            *count = before + 1;
        };
        assert!(!is_found(locked, |count| *count.lock().expect("no panic under the lock") == 2));
    }

    #[test]
    fn finds_a_thread_that_nobody_wakes() {
        let run = || {
            let (notify, told) = (Arc::new(Notify::default()), Arc::new(AtomicU64::default()));
            let teller = thread::spawn({
                let (notify, told) = (Arc::clone(&notify), Arc::clone(&told));
                move || {
                    notify.notify_one();
                    told.store(1, Ordering::SeqCst);
                }
            });
            while told.load(Ordering::SeqCst) == 0 {
                block_on(notify.notified());
            }
            teller.join().expect("it does not panic");
        };
        assert!(catch_unwind(|| explore(200, run)).is_err());
    }

    #[test]
    fn ordinary_tests_notice_nothing() {
        let (count, lock) = (AtomicU64::new(1), Mutex::new(1));
        assert_eq!((count.load(Ordering::SeqCst), *lock.lock().expect("no panic under the lock")), (1, 1));
    }
}
