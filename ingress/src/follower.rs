//! The one task that hears what is committed, and what goes on in the background.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use orderly_domain::port;
use orderly_domain::port::fanout::Event;

use crate::catalogue;
use crate::progress::Meter;
use crate::settling;
use crate::shed::Drain;
use crate::state::Shared;

/// How long to wait before the store is asked again after it could not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Reads from the store what this node has to know: sessions and progress.
pub(crate) async fn catch_up(state: &Shared) -> port::Result<()> {
    let sessions = state.ports.store.sessions(catalogue::first_day(state.ports.clock.now())).await?;
    let progress = state.ports.store.progress().await?;
    state.catalogue.load(sessions);
    for partition in progress {
        state.progress.advance(partition.partition, partition.next_offset);
    }
    note_sessions(state);
    Ok(())
}

/// Follows the fan-out until it ends.
pub(crate) async fn follow(state: Shared, mut events: BoxStream<'static, Event>) {
    let partitions = state.ports.log.partitions();
    let (mut meter, mut drain) = (Meter::new(partitions), Drain::new(partitions));
    while let Some(event) = events.next().await {
        match event {
            Event::Committed(committed) => {
                let now = state.ports.clock.now();
                meter.note(&committed, &state.progress);
                state.shed.note(&mut drain, &committed, &state.progress, now);
                state.catalogue.apply(&committed);
                for decision in committed.iter() {
                    if !state.progress.is_decided(decision.position) {
                        state.metrics.decision.observe(now.since(decision.logged_at).as_secs_f64());
                    }
                }
                settling::tell(&state.progress, &state.waiters, &committed);
            }
            Event::Gap => {
                state.metrics.gaps.inc();
                while let Err(error) = catch_up(&state).await {
                    tracing::warn!(%error, "the store could not be read to catch up; trying again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                drain.gap(state.ports.clock.now());
                state.waiters.tell_all();
            }
        }
    }
    state.following.store(false, Ordering::Relaxed);
    tracing::error!("the fan-out has ended; outcomes are not heard any more");
}

/// Tells session streams what changed, at an interval, and forgets days that are past.
pub(crate) async fn tell_sessions(state: Shared) {
    let mut interval = tokio::time::interval(state.options.sessions_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = state.ports.clock.now();
    loop {
        interval.tick().await;
        let now = state.ports.clock.now();
        if now.utc_day() != before.utc_day() {
            state.catalogue.forget_before(catalogue::first_day(now));
        }
        state.catalogue.tell(before, now);
        note_sessions(&state);
        before = now;
    }
}

fn note_sessions(state: &Shared) {
    state.metrics.sessions.set(i64::try_from(state.catalogue.len()).unwrap_or(i64::MAX));
}
