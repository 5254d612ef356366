//! Event streams: how many there may be, of each kind and of each client address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::addresses::{Addresses, Place};
use crate::jitter;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::problem::{Problem, kind};

/// When to ask for a stream again.
const RETRY: Duration = Duration::from_secs(5);

/// Streams of samples for ops at once.
const OPS_STREAMS_MAX: usize = 64;

/// What a stream tells. Each kind has room of its own: a crowd that watches the public list takes none from patients.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The public list of sessions.
    Sessions,
    /// A patient's ticket.
    Tickets,
    /// The rush, for ops.
    Ops,
}

/// The room for streams.
#[derive(Debug)]
pub(crate) struct Streams {
    sessions: Pool,
    tickets: Pool,
    ops: Pool,
    addresses: Arc<Addresses>,
    refused: IntCounterVec,
}

#[derive(Debug)]
struct Pool {
    free: Arc<Semaphore>,
    open: IntGauge,
}

impl Streams {
    pub(crate) fn new(options: &Options, metrics: &Metrics) -> Self {
        let pool = |streams_max: usize, open: &IntGauge| Pool {
            free: Arc::new(Semaphore::new(streams_max)),
            open: open.clone(),
        };
        Self {
            sessions: pool(options.session_streams_max, &metrics.session_streams),
            tickets: pool(options.ticket_streams_max, &metrics.ticket_streams),
            ops: pool(OPS_STREAMS_MAX, &metrics.ops_streams),
            addresses: Addresses::new(options.streams_per_address_max, metrics.stream_addresses.clone()),
            refused: metrics.streams_refused.clone(),
        }
    }

    /// A place among the streams, or which limit is reached.
    pub(crate) fn open(&self, kind: Kind, address: IpAddr) -> Result<Slot, Problem> {
        let (pool, limit) = match kind {
            Kind::Sessions => (&self.sessions, "session-streams"),
            Kind::Tickets => (&self.tickets, "ticket-streams"),
            Kind::Ops => (&self.ops, "ops-streams"),
        };
        let place = self.addresses.take(address).ok_or_else(|| {
            let detail = "Your address has as many streams open as one may. Close some, or poll instead.";
            self.refuse("address-streams", detail)
        })?;
        let permit = Arc::clone(&pool.free).try_acquire_owned().map_err(|_| {
            let detail = "There are as many streams as this server has room for. Poll instead, or try again later.";
            self.refuse(limit, detail)
        })?;
        pool.open.inc();
        Ok(Slot { _permit: permit, _place: place, open: pool.open.clone() })
    }

    /// Streams that are open.
    pub(crate) fn count(&self) -> i64 {
        self.sessions.open.get() + self.tickets.open.get() + self.ops.open.get()
    }

    fn refuse(&self, limit: &'static str, detail: &'static str) -> Problem {
        self.refused.with_label_values(&[limit]).inc();
        Problem::new(&kind::OVERLOADED).detail(detail).member("limit", limit).retry_after(jitter::spread(RETRY))
    }
}

/// A place among the streams; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    _place: Place,
    open: IntGauge,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.dec();
    }
}
