//! What can be set about the ingress.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orderly_domain::Exclusivity;

use crate::audit;
use crate::challenge::Challenge;
use crate::names::HospitalNames;
use crate::proxies::Proxies;
use crate::shed::Bounds;
use crate::throttle::Policy;
use crate::tls;

/// A listener of its own for ops, analysts, auditors and what watches the node.
#[derive(Clone, Debug)]
pub struct OpsListener {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Certificates: its own, and the roots of those who may come.
    pub tls: tls::Files,
}

/// Settings of the HTTP server. Every limit is a maximum that the process never exceeds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Whether `POST /v1/demo/token` gives a token to whoever asks.
    pub demo: bool,
    /// Serve health, metrics and the pipeline's state, and nothing else.
    pub operations_only: bool,
    /// The hospital's rule on how many appointments a patient may hold; sessions are opened under it.
    pub exclusivity: Exclusivity,
    /// What departments and campuses are called on the pages.
    pub names: HospitalNames,
    /// The throttle policy until ops store one.
    pub policy: Policy,
    /// What suspicious clients are challenged with; proof of work, without it.
    pub challenge: Option<Arc<dyn Challenge>>,
    /// The audit trail.
    pub audit: audit::Options,
    /// How long people may wait, and how much may wait, where the policy does not say.
    pub shed: Bounds,
    /// Certificates, to speak TLS; without them it is plain HTTP.
    pub tls: Option<tls::Files>,
    /// A listener for ops. With it, at the first one there is nothing of theirs, and nothing of patients at theirs.
    pub ops: Option<OpsListener>,
    /// Proxies whose word is taken for where a request comes from. Their own connections are not limited by address.
    pub trusted_proxies: Proxies,
    /// Where to record who asks for what, so that policies can be rehearsed on it; nowhere, without it.
    pub arrivals_file: Option<PathBuf>,
    /// How large that file may become, in bytes.
    pub arrivals_bytes_max: u64,
    /// Open connections, besides those at the listener for ops. Further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Open connections of one client address. Further ones are closed at once.
    pub connections_per_address_max: usize,
    /// Requests and streams that wait for a decision at once. Beyond it a request is answered as it stands, without a wait.
    pub waiters_max: usize,
    /// Event streams of patients' tickets at once.
    pub ticket_streams_max: usize,
    /// Event streams of the public list of sessions at once.
    pub session_streams_max: usize,
    /// Event streams of one client address at once, of both kinds together.
    pub streams_per_address_max: usize,
    /// Remembered bookings, by ticket, so that a retry gets its ticket without a new record.
    pub idempotency_window: usize,
    /// Remembered verified tokens.
    pub tokens_cached_max: usize,
    /// The longest head of a request, in bytes (at least 8 KiB).
    pub header_bytes_max: usize,
    /// The longest body of a booking, a policy or another small call, in bytes.
    pub body_bytes_max: usize,
    /// The longest body of `PUT /v1/sessions`, in bytes.
    pub sessions_body_bytes_max: usize,
    /// How long a client may take to send a request's head, and how long a connection may idle.
    pub header_timeout: Duration,
    /// How long a client may take to send a small body.
    pub body_timeout: Duration,
    /// How long a client may take to send the body of `PUT /v1/sessions`.
    pub sessions_body_timeout: Duration,
    /// How long a client may leave an answer or a stream unread once it cannot be sent on; then its connection is cut.
    pub write_timeout: Duration,
    /// How long a call may take that does not wait for a decision.
    pub request_timeout: Duration,
    /// The longest that a client can ask to wait for a decision.
    pub wait_max: Duration,
    /// After this long a stream ends; clients open it again.
    pub stream_max: Duration,
    /// How often a queued ticket's stream tells its position.
    pub position_interval: Duration,
    /// How often changes of sessions are told.
    pub sessions_interval: Duration,
    /// How often a silent stream sends a comment, so that proxies keep it.
    pub heartbeat_interval: Duration,
    /// How often the store is asked for a policy that another node set.
    pub policy_interval: Duration,
    /// How long a stop waits for requests that are under way.
    pub drain_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            demo: false,
            operations_only: false,
            exclusivity: Exclusivity::default(),
            names: HospitalNames::default(),
            policy: Policy::default(),
            challenge: None,
            audit: audit::Options::default(),
            shed: Bounds::default(),
            tls: None,
            ops: None,
            trusted_proxies: Proxies::default(),
            arrivals_file: None,
            arrivals_bytes_max: 1 << 30,
            connections_max: 20_000,
            connections_per_address_max: 2_000,
            waiters_max: 50_000,
            ticket_streams_max: 20_000,
            session_streams_max: 10_000,
            streams_per_address_max: 1_000,
            idempotency_window: 65_536,
            tokens_cached_max: 16_384,
            header_bytes_max: 16 * 1024,
            body_bytes_max: 8 * 1024,
            sessions_body_bytes_max: 16 * 1024 * 1024,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(10),
            sessions_body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(15),
            wait_max: Duration::from_secs(60),
            stream_max: Duration::from_secs(15 * 60),
            position_interval: Duration::from_millis(500),
            sessions_interval: Duration::from_millis(200),
            heartbeat_interval: Duration::from_secs(15),
            policy_interval: Duration::from_millis(500),
            drain_max: Duration::from_secs(10),
        }
    }
}
