//! The pipeline as ops see it: what is measured, partition by partition.

pub(crate) mod events;

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use orderly_domain::port;
use orderly_domain::{Fence, Offset, Partition};
use serde::Serialize;

use crate::auditor::Auditor;
use crate::breakers;
use crate::state::Shared;

/// How long log and store may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A part that could not be asked.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PipelineUnread)]
pub(crate) struct Unread {
    /// `log` or `store`.
    part: &'static str,
    /// Why.
    cause: String,
}

/// One partition.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PipelinePartition)]
pub(crate) struct PartitionView {
    #[schema(value_type = u16)]
    partition: Partition,
    /// The first offset that the log still keeps.
    #[schema(value_type = u64)]
    log_start: Offset,
    /// The next offset that the log gives out.
    #[schema(value_type = u64)]
    log_end: Offset,
    /// The first offset that is not decided.
    #[schema(value_type = u64)]
    next_offset: Offset,
    /// The first offset whose outcome may not have been published; as of the last commit.
    #[schema(value_type = u64)]
    published_offset: Offset,
    /// Records that wait for a decision.
    lag: u64,
    /// Decisions a second while there was something to decide; `null` until measured.
    rate_per_s: Option<f64>,
    /// The wait, in milliseconds, of a record that this node would append now; `null` until measured.
    expected_wait_ms: Option<u64>,
    /// Who decides it; `null` when nobody ever did.
    owner: Option<String>,
    /// The number of its last takeover; 0 when nobody ever did.
    #[schema(value_type = u64)]
    fence: Fence,
}

/// The pipeline in this process.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PipelineHere)]
pub(crate) struct Here {
    /// Whether it decides.
    running: bool,
    /// Why it does not, or what it waits for.
    cause: Option<String>,
    /// Partitions that are assigned to it.
    partitions: Vec<u16>,
    /// Epochs that were read and are not committed.
    epochs_in_flight: usize,
    /// The most there may be.
    epochs_in_flight_max: usize,
    /// Decisions committed since it started.
    decided_total: u64,
}

/// The state of the whole line.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Pipeline)]
pub(crate) struct View {
    /// `null` when no pipeline runs in this process.
    pipeline: Option<Here>,
    /// Empty while the log cannot be read; while the store cannot be read, as this node last heard.
    partitions: Vec<PartitionView>,
    /// Parts that could not be asked, because of which `partitions` is not complete.
    unread: Vec<Unread>,
    /// The breakers of this node.
    breakers: Vec<breakers::View>,
    /// Records that this node appended or appends and that are undecided.
    undecided: u64,
    /// With more than these, no further booking is taken.
    undecided_max: u64,
    /// With a longer expected wait, in milliseconds, no further booking is taken.
    wait_max_ms: u64,
    /// Records that wait for a decision, in all partitions.
    lag: u64,
    /// Requests and streams that wait for a decision here.
    waiters: usize,
    /// Event streams that are open here.
    streams: i64,
    /// Connections that are open here.
    connections: i64,
    /// What the auditor found that this node asks; `null` when it asks none (`auditor.url`).
    auditor: Option<Auditor>,
    /// Whether this node hears what is committed; `false` where no requests are taken.
    following: bool,
}

/// Lag, rates and what is in flight, per partition, the breakers, and what the auditor found. It answers also while parts are away.
#[utoipa::path(get, path = "/v1/pipeline", tag = "ops", security(("bearer" = [])),
    responses((status = 200, description = "The state now", body = View)))]
pub(crate) async fn get(State(state): State<Shared>) -> Json<View> {
    Json(view(&state).await)
}

/// The state of the whole line, now.
async fn view(state: &Shared) -> View {
    let progress = tokio::time::timeout(PATIENCE, state.ports.store.progress());
    let extents = tokio::time::timeout(PATIENCE, state.ports.log.extents());
    let (progress, extents) = tokio::join!(progress, extents);
    let mut unread = Vec::new();
    let progress = read("store", progress, &mut unread);
    let extents = read("log", extents, &mut unread).unwrap_or_default();
    let heard = |partition| state.progress.next_offset(partition);
    let partitions: Vec<_> = extents
        .into_iter()
        .map(|extent| {
            let known = progress.iter().flatten().find(|progress| progress.partition == extent.partition);
            let unknown = if progress.is_some() { 0 } else { heard(extent.partition) };
            let next_offset = known.map_or(unknown, |progress| progress.next_offset);
            PartitionView {
                partition: extent.partition,
                log_start: extent.start,
                log_end: extent.end,
                next_offset,
                published_offset: known.map_or(0, |progress| progress.published_offset),
                lag: extent.end.saturating_sub(next_offset),
                rate_per_s: state.progress.rate_per_s(extent.partition),
                expected_wait_ms: state
                    .shed
                    .expected_wait(extent.partition, &state.progress)
                    .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                owner: known.map(|progress| progress.owner.clone()),
                fence: known.map_or(0, |progress| progress.fence),
            }
        })
        .collect();
    let pipeline = state.ports.pipeline.as_ref().map(|pipeline| {
        let here = pipeline.state();
        Here {
            running: here.running,
            cause: here.cause,
            partitions: here.partitions,
            epochs_in_flight: here.epochs_in_flight,
            epochs_in_flight_max: here.epochs_in_flight_max,
            decided_total: here.decided_total,
        }
    });
    let bounds = state.bounds();
    View {
        pipeline,
        unread,
        breakers: breakers::views(state),
        undecided: state.shed.undecided(&state.progress),
        undecided_max: bounds.undecided_max,
        wait_max_ms: u64::try_from(bounds.wait_max.as_millis()).unwrap_or(u64::MAX),
        lag: partitions.iter().map(|partition| partition.lag).sum(),
        partitions,
        waiters: state.waiters.count(),
        streams: state.streams.count(),
        connections: state.metrics.connections.get(),
        auditor: state.ports.auditor.as_ref().map(|told| told.borrow().clone()),
        following: state.is_following() && !state.options.operations_only,
    }
}

/// What a part answered; when it did not, that is noted.
fn read<T>(
    part: &'static str,
    answer: Result<port::Result<T>, tokio::time::error::Elapsed>,
    unread: &mut Vec<Unread>,
) -> Option<T> {
    let cause = match answer {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer in time".into(),
    };
    unread.push(Unread { part, cause });
    None
}
