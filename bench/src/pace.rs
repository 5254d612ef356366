//! The open loop: calls that begin when they are due, whatever became of those before them.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

/// Evenly spaced moments, from the start, for `length`.
pub(crate) fn steady(rate_per_s: f64, length: Duration) -> impl Iterator<Item = Duration> {
    let at = move |number: u64| Duration::from_secs_f64(number as f64 / rate_per_s);
    (0..).map(at).take_while(move |at| *at < length)
}

/// Begins a call at each moment of `schedule` (from the start, in order) and notes each answer. `call` is told which one it
/// is and when it is due: a latency counts from then, so that neither a server that stalls nor a client that comes late can
/// hide it. Tells for how long calls were begun.
///
/// # Errors
/// The first one of a call or a note.
pub(crate) async fn open_loop<T, F>(
    schedule: impl Iterator<Item = Duration>,
    mut call: impl FnMut(u64, Instant) -> anyhow::Result<F>,
    mut note: impl FnMut(T) -> anyhow::Result<()>,
) -> anyhow::Result<Duration>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let mut calls = JoinSet::new();
    let mut schedule = (0..).zip(schedule).peekable();
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while schedule.peek().is_some() {
        ticks.tick().await;
        let now = start.elapsed();
        while let Some((number, at)) = schedule.next_if(|(_, at)| *at <= now) {
            calls.spawn(call(number, start + at)?);
        }
        while let Some(answer) = calls.try_join_next() {
            note(answer??)?;
        }
    }
    let took = start.elapsed();
    while let Some(answer) = calls.join_next().await {
        note(answer??)?;
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn calls_do_not_wait_for_each_other() {
        // Nobody gets past it before all have come.
        let barrier = Arc::new(Barrier::new(100));
        let call = |number: u64, due: Instant| {
            let (early, barrier) = (due > Instant::now(), Arc::clone(&barrier));
            Ok(async move {
                barrier.wait().await;
                Ok((number, early))
            })
        };
        let mut noted = Vec::new();
        let took = open_loop(steady(1_000.0, Duration::from_millis(100)), call, |answer| {
            noted.push(answer);
            Ok(())
        });
        let took = took.await.expect("nothing fails");
        noted.sort_unstable();
        assert_eq!(noted, (0..100).map(|number| (number, false)).collect::<Vec<_>>(), "each once, and none too early");
        assert!(took >= Duration::from_millis(99), "{took:?}");
    }
}
