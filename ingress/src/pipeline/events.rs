//! The rush as it happens: a stream of samples for ops.
//!
//! Who watches leaves one entry in the audit trail, when the stream is opened, however long it goes on: numbers that are read
//! every second would fill the trail and tell nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use futures::{Stream, stream};
use orderly_domain::{DoctorId, Timestamp};
use prometheus::proto::MetricFamily;
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::View;
use crate::heat::Asked;
use crate::metrics::{ACCEPT_SECONDS, DECISION_SECONDS, REQUESTS_TOTAL, RETRIES_TOTAL, SHED_TOTAL, THROTTLED_TOTAL};
use crate::problem::Problem;
use crate::request::Peer;
use crate::state::Shared;
use crate::streams;

/// How often a sample is sent.
const EVERY: Duration = Duration::from_secs(1);

/// Over how many samples doctors are compared.
const HEAT_SAMPLES: usize = 10;

/// How many doctors a sample names.
const HOTTEST_MAX: usize = 10;

/// When to connect again after the stream has ended.
const RETRY: Duration = Duration::from_secs(2);

/// What happened since this node started. The difference of two samples over their time is a rate.
#[derive(Default, Serialize, utoipa::ToSchema)]
#[schema(as = PipelineTotals)]
pub(crate) struct Totals {
    /// Answers to bookings by class of their status: `2xx`, `4xx`, `5xx`.
    bookings: BTreeMap<String, u64>,
    /// Bookings that came again and were answered from memory.
    retries: u64,
    /// Bookings that were throttled, by limit.
    throttled: BTreeMap<String, u64>,
    /// Bookings that were shed, by bound.
    shed: BTreeMap<String, u64>,
    /// From a booking's arrival to its 202.
    accept: Latency,
    /// From the log's taking a record to hearing its outcome here.
    decision: Latency,
}

/// How many took how long.
#[derive(Default, Serialize, utoipa::ToSchema)]
#[schema(as = PipelineLatency)]
pub(crate) struct Latency {
    /// Upper bounds, in seconds, ascending.
    bounds_s: Vec<f64>,
    /// How many took at most that long, for each bound.
    counts: Vec<u64>,
    /// How many there were.
    count: u64,
}

/// A doctor whom many ask for.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PipelineHot)]
pub(crate) struct Hot {
    #[schema(value_type = String)]
    doctor_id: DoctorId,
    /// Requests a second, over the last ten seconds.
    requests_per_s: f64,
    /// Those of them that were throttled.
    throttled_per_s: f64,
}

/// The data of a `sample` event.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PipelineSample)]
pub(crate) struct Sample {
    /// When it was taken.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// As `GET /v1/pipeline` has it.
    pipeline: View,
    totals: Totals,
    /// The doctors who are asked for most, over the last ten seconds.
    hottest: Vec<Hot>,
}

/// The rush as it happens on this node: a `sample` event each second, with what `GET /v1/pipeline` tells, what was counted
/// since the start, and the doctors who are asked for most. The trail has one entry for the whole stream.
#[utoipa::path(get, path = "/v1/pipeline/events", tag = "ops", security(("bearer" = [])),
    responses((status = 200, description = "The stream of samples", body = Sample, content_type = "text/event-stream"),
        (status = 503, description = "There are too many streams; `limit` names which limit", body = crate::problem::Shape)))]
pub(crate) async fn events(
    State(state): State<Shared>,
    Peer(address): Peer,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let live = Live {
        _slot: state.stream_slot(streams::Kind::Ops, address)?,
        ends_at: Instant::now() + state.options.stream_max,
        interval,
        heat: VecDeque::new(),
        first: true,
        state,
    };
    Ok(Sse::new(stream::unfold(live, |mut live| async move { live.next().await.map(|event| (Ok(event), live)) })))
}

struct Live {
    state: Shared,
    interval: Interval,
    ends_at: Instant,
    /// What doctors had been asked until each of the last samples, the newest last; [`HEAT_SAMPLES`] and one at most.
    heat: VecDeque<(Instant, HashMap<DoctorId, Asked>)>,
    first: bool,
    _slot: streams::Slot,
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            _ = self.interval.tick() => {}
            () = self.state.stopped() => return None,
            () = tokio::time::sleep_until(self.ends_at) => return None,
        }
        let sample = Sample {
            at: self.state.ports.clock.now(),
            pipeline: super::view(&self.state).await,
            totals: totals(&self.state.registry.gather()),
            hottest: self.hottest(),
        };
        let data = serde_json::to_string(&sample).expect("texts and numbers are always JSON");
        let event = Event::default().event("sample").data(data);
        Some(if std::mem::take(&mut self.first) { event.retry(RETRY) } else { event })
    }

    fn hottest(&mut self) -> Vec<Hot> {
        self.heat.push_back((Instant::now(), self.state.heat.totals()));
        if self.heat.len() > HEAT_SAMPLES + 1 {
            self.heat.pop_front();
        }
        let (Some((then, before)), Some((now, after))) = (self.heat.front(), self.heat.back()) else { return vec![] };
        let seconds = (*now - *then).as_secs_f64();
        if seconds == 0.0 {
            return vec![];
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let per_s = |after: u64, before: u64| after.saturating_sub(before) as f64 / seconds;
        let mut hot: Vec<Hot> = after
            .iter()
            .map(|(doctor, asked)| {
                let past = before.get(doctor).copied().unwrap_or_default();
                Hot {
                    doctor_id: doctor.clone(),
                    requests_per_s: per_s(asked.requests, past.requests),
                    throttled_per_s: per_s(asked.throttled, past.throttled),
                }
            })
            .filter(|hot| hot.requests_per_s > 0.0)
            .collect();
        hot.sort_by(|a, b| b.requests_per_s.total_cmp(&a.requests_per_s).then_with(|| a.doctor_id.cmp(&b.doctor_id)));
        hot.truncate(HOTTEST_MAX);
        hot
    }
}

fn totals(families: &[MetricFamily]) -> Totals {
    let family = |name: &str| families.iter().find(|family| family.name() == name);
    let latency = |name: &str| {
        let metric = family(name).and_then(|family| family.get_metric().first());
        metric.map_or_else(Latency::default, |metric| {
            let histogram = metric.get_histogram();
            let buckets = histogram.get_bucket();
            Latency {
                bounds_s: buckets.iter().map(prometheus::proto::Bucket::upper_bound).collect(),
                counts: buckets.iter().map(prometheus::proto::Bucket::cumulative_count).collect(),
                count: histogram.get_sample_count(),
            }
        })
    };
    let by = |name: &str, label: &str| {
        let mut counts = BTreeMap::new();
        for metric in family(name).map(MetricFamily::get_metric).unwrap_or_default() {
            let value = |wanted: &str| metric.get_label().iter().find(|pair| pair.name() == wanted).map(|l| l.value());
            let ours =
                name != REQUESTS_TOTAL || (value("method") == Some("POST") && value("route") == Some("/v1/bookings"));
            if let Some(key) = value(label).filter(|_| ours) {
                counts.insert(key.to_owned(), whole(metric.get_counter().get_value()));
            }
        }
        counts
    };
    let retries = family(RETRIES_TOTAL).and_then(|family| family.get_metric().first());
    Totals {
        bookings: by(REQUESTS_TOTAL, "class"),
        retries: retries.map_or(0, |metric| whole(metric.get_counter().get_value())),
        throttled: by(THROTTLED_TOTAL, "limit"),
        shed: by(SHED_TOTAL, "bound"),
        accept: latency(ACCEPT_SECONDS),
        decision: latency(DECISION_SECONDS),
    }
}

/// Counters are whole numbers, kept as floats.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
fn whole(counter: f64) -> u64 {
    counter as u64
}
