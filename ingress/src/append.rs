//! Appends to the intent log, and waits for what comes of it.

use std::time::Duration;

use orderly_domain::envelope::{self, Intent};
use orderly_domain::port::log::Appended;
use orderly_domain::port::store::Committed;
use orderly_domain::{Position, partition_of};

use crate::jitter;
use crate::problem::{Problem, RETRY, kind};
use crate::settling::{self, Settled};
use crate::state::Shared;
use crate::waiters::Waiting;

/// The soonest that a client is asked to come back where there is no room to wait.
const WAITING_RETRY: Duration = Duration::from_secs(2);

/// Whom the bounds of the line hold for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Those who want something of it: they are refused when they would wait for too long.
    Bounded,
    /// Those who make it shorter or steer it: cancellations, and ops. They are counted.
    Counted,
}

/// When to come back while the log is lost: a person has to bring it back.
const LOST_LOG_RETRY: Duration = Duration::from_secs(30);

/// Appends a record; it is durable when this returns.
pub(crate) async fn durably(state: &Shared, intent: &Intent, line: Line) -> Result<Appended, Problem> {
    in_time(state, append(state, intent, line)).await
}

/// Appends a record, however long that takes.
pub(crate) async fn append(state: &Shared, intent: &Intent, line: Line) -> Result<Appended, Problem> {
    if state.lost_log.cause().is_some() {
        return Err(Problem::new(&kind::UNAVAILABLE)
            .detail("The log has to be brought back first. This request was not taken. Ask again later with the same Idempotency-Key.")
            .retry_after(jitter::spread(LOST_LOG_RETRY)));
    }
    let doctor = intent.command.doctor_id();
    let partition = partition_of(doctor, state.ports.log.partitions());
    let (progress, now) = (&state.progress, state.ports.clock.now());
    let admitted = match line {
        Line::Bounded => state.shed.admit(partition, progress, &state.bounds(), state.is_late(partition, now), now)?,
        Line::Counted => state.shed.count(partition, progress, now),
    };
    // What is appended from here on lies behind it.
    let decided = progress.next_offset(partition);
    let append = state.ports.log.append(partition, doctor.as_str(), envelope::encode(intent));
    let appended = append.await.map_err(|error| Problem::from_append(&error))?;
    if !state.lost_log.judge_place(appended.position, decided) {
        return Err(unknown("The log is not the one that it was. Ask again later with the same Idempotency-Key."));
    }
    admitted.appended(appended.position);
    Ok(appended)
}

/// Waits for an append for as long as a request may take.
pub(crate) async fn in_time<T>(state: &Shared, append: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::time::timeout(state.options.request_timeout, append).await.unwrap_or_else(|_| Err(not_known()))
}

/// It may have been appended, or not.
pub(crate) fn not_known() -> Problem {
    unknown("The log did not answer in time. Ask again with the same Idempotency-Key: it is taken once at most.")
}

fn unknown(detail: &'static str) -> Problem {
    Problem::new(&kind::OUTCOME_UNKNOWN).detail(detail).retry_after(jitter::spread(RETRY))
}

/// A place among those who wait for a record's decision.
pub(crate) fn waiting(state: &Shared, position: Position) -> Result<Waiting, Problem> {
    state.waiters.register(position).map_err(|_| {
        Problem::new(&kind::OVERLOADED)
            .detail("As many requests and streams wait as this server has room for. Poll instead, or try again later.")
            .retry_after(jitter::spread(WAITING_RETRY))
    })
}

/// Waits until a record is decided, for `wait` at most. When there is no room to wait, it doesn't.
pub(crate) async fn settle(state: &Shared, position: Position, wait: Duration) -> Settled {
    let end = async {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = state.stopped() => {}
        }
    };
    settling::settled(&state.progress, &state.waiters, position, end).await
}

/// The decision on a record that was taken, when it is made within `wait` and can be read. That it cannot be read changes
/// nothing about its being taken, so it is told as one that is not known yet.
pub(crate) async fn decision(state: &Shared, position: Position, wait: Duration) -> Option<Committed> {
    match settle(state, position, wait).await {
        Settled::Heard(committed, index) => committed.get(index).cloned(),
        Settled::NotYet => None,
        Settled::Decided => match state.ports.store.decision(position).await {
            Ok(row) => row.map(|row| row.decision),
            Err(error) => {
                tracing::warn!(%error, %position, "a decision could not be read; it is told as not known yet");
                None
            }
        },
    }
}
