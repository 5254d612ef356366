//! What can be configured. The comments here are what `orderly config --print` shows.

use std::net::SocketAddr;
use std::path::PathBuf;

use orderly_domain::Exclusivity;
use orderly_domain::audit::Algorithm as AuditAlgorithm;
use orderly_ingress::auth::Algorithm;
use serde::{Deserialize, Serialize};

/// Orderly's configuration. Every key may also be set by the environment variable that is named with it, which wins over
/// the file; options of the command line win over both.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Config {
    /// What stands behind the pipeline: "embedded", parts of this one process and files in the data folder, or
    /// "distributed", the servers that are named in the sections kafka, redis, postgres and clickhouse.
    #[config(default = "embedded", env = "ORDERLY_PROFILE")]
    pub profile: Profile,
    /// The address and port to listen on. Port 0 takes any free one.
    #[config(default = "127.0.0.1:8080", env = "ORDERLY_LISTEN")]
    pub listen: SocketAddr,
    /// The folder of all data: log, store, analytics and keys. One process at a time.
    #[config(default = "data", env = "ORDERLY_DATA")]
    pub data: PathBuf,
    /// Who may call.
    #[config(nested)]
    pub auth: Auth,
    /// The intent log of the distributed profile.
    #[config(nested)]
    pub kafka: Kafka,
    /// The ledger and the fan-out of the distributed profile.
    #[config(nested)]
    pub redis: Redis,
    /// The store of the distributed profile.
    #[config(nested)]
    pub postgres: Postgres,
    /// The analytics of the distributed profile.
    #[config(nested)]
    pub clickhouse: ClickHouse,
    /// TLS to these four servers. With any key of it set, none of them may be spoken to in clear.
    #[config(nested)]
    pub servers_tls: ServersTls,
    /// The intent log.
    #[config(nested)]
    pub log: Log,
    /// The pipeline, which decides.
    #[config(nested)]
    pub pipeline: Pipeline,
    /// The store, which is the system of record.
    #[config(nested)]
    pub store: Store,
    /// The analytics, from which reports are read.
    #[config(nested)]
    pub analytics: Analytics,
    /// The breakers, which keep calls away from a log, ledger, store or analytics that fails or is slow.
    #[config(nested)]
    pub breakers: Breakers,
    /// Telling waiting clients and the analytics what was decided.
    #[config(nested)]
    pub fanout: Fanout,
    /// The HTTP server. Every limit is a maximum that the process never exceeds.
    #[config(nested)]
    pub ingress: Ingress,
    /// TLS for the listener. Without a certificate it speaks plain HTTP.
    #[config(nested)]
    pub tls: Tls,
    /// A listener of its own for ops, analysts, auditors and what watches the node, by mutual TLS.
    #[config(nested)]
    pub ops: Ops,
    /// The tickets that patients hold.
    #[config(nested)]
    pub ticket: Ticket,
    /// What is known of patients: names, phones, identity numbers.
    #[config(nested)]
    pub personal: Personal,
    /// The throttle policy.
    #[config(nested)]
    pub policy: Policy,
    /// The audit trail: who did what. In the embedded profile a file in the data folder, else in PostgreSQL.
    #[config(nested)]
    pub audit: Audit,
    /// An auditor beside this system (`orderly audit-run`), for ops to see on their page what it finds.
    #[config(nested)]
    pub auditor: Auditor,
    /// What the process tells about itself.
    #[config(nested)]
    pub telemetry: Telemetry,
}

/// What stands behind the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Profile {
    /// One process, files, no servers.
    Embedded,
    /// Kafka, Redis, PostgreSQL and ClickHouse; any number of processes.
    Distributed,
}

/// The intent log of the distributed profile.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Kafka {
    /// Brokers, HOST:PORT each, separated by commas.
    #[config(default = "127.0.0.1:9092", env = "ORDERLY_KAFKA__BROKERS")]
    pub brokers: String,
    /// The topic of intents. It is made with `log.partitions` partitions when it is missing.
    #[config(default = "orderly.intents", env = "ORDERLY_KAFKA__INTENTS_TOPIC")]
    pub intents_topic: String,
    /// The topic of events: every decision, for other systems.
    #[config(default = "orderly.events", env = "ORDERLY_KAFKA__EVENTS_TOPIC")]
    pub events_topic: String,
    /// The consumer group among whose members partitions are shared. It keeps no offsets.
    #[config(default = "orderly.pipeline", env = "ORDERLY_KAFKA__GROUP")]
    pub group: String,
    /// Speak TLS to the brokers.
    #[config(default = false, env = "ORDERLY_KAFKA__TLS")]
    pub tls: bool,
    /// Copies of each partition, when a topic is made: 3 on a cluster that must survive the loss of a broker.
    #[config(default = 1, env = "ORDERLY_KAFKA__REPLICATION")]
    pub replication: u16,
}

/// The ledger and the fan-out of the distributed profile.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Redis {
    /// Redis as redis://HOST:PORT, or rediss://HOST:PORT for TLS; several, separated by commas, are the nodes of one Redis Cluster.
    #[config(default = "redis://127.0.0.1:6379", env = "ORDERLY_REDIS__URLS")]
    pub urls: String,
    /// Milliseconds after which a call's outcome is taken for unknown and is asked for again.
    #[config(default = 1_000, env = "ORDERLY_REDIS__TIMEOUT_MS")]
    pub timeout_ms: u64,
}

/// The store of the distributed profile.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Postgres {
    /// PostgreSQL as postgres://USER:PASSWORD@HOST:PORT/DATABASE, and with ?sslmode=require behind it for TLS.
    #[config(default = "postgres://orderly@127.0.0.1:5432/orderly", env = "ORDERLY_POSTGRES__URL")]
    pub url: String,
    /// A replica to read from. Without it, everything is read where it is written.
    #[config(env = "ORDERLY_POSTGRES__READ_URL")]
    pub read_url: Option<String>,
    /// Connections that write.
    #[config(default = 4, env = "ORDERLY_POSTGRES__WRITERS")]
    pub writers: usize,
    /// Connections that read.
    #[config(default = 8, env = "ORDERLY_POSTGRES__READERS")]
    pub readers: usize,
}

/// The analytics of the distributed profile.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct ClickHouse {
    /// ClickHouse's HTTP interface, http://HOST:PORT, or https://HOST:PORT for TLS.
    #[config(default = "http://127.0.0.1:8123", env = "ORDERLY_CLICKHOUSE__URL")]
    pub url: String,
    /// The database. It is made when it is missing.
    #[config(default = "orderly", env = "ORDERLY_CLICKHOUSE__DATABASE")]
    pub database: String,
    /// Who asks.
    #[config(default = "default", env = "ORDERLY_CLICKHOUSE__USER")]
    pub user: String,
    /// The file with the user's password. Without it, there is none.
    #[config(env = "ORDERLY_CLICKHOUSE__PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// Days that decisions are kept, where the server can drop old ones by itself. Without it, for ever.
    #[config(env = "ORDERLY_CLICKHOUSE__RETENTION_DAYS")]
    pub retention_days: Option<u32>,
}

/// TLS to the servers. The files are read anew for each connection, but for Kafka's, which are read when a process starts, and
/// the auditor's, when it could not be asked.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct ServersTls {
    /// The file with the roots of the servers' certificates (PEM). Without it, the system's.
    #[config(env = "ORDERLY_SERVERS_TLS__ROOTS_FILE")]
    pub roots_file: Option<PathBuf>,
    /// The file with this node's certificate, for servers that ask who connects, and those between it and a root (PEM).
    #[config(env = "ORDERLY_SERVERS_TLS__CERTIFICATE_FILE")]
    pub certificate_file: Option<PathBuf>,
    /// The file with its private key (PEM).
    #[config(env = "ORDERLY_SERVERS_TLS__KEY_FILE")]
    pub key_file: Option<PathBuf>,
}

/// Who may call.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Auth {
    /// How tokens are signed: HS256 (a shared secret), RS256, ES256 or EdDSA (a public key). A token cannot choose.
    #[config(default = "HS256", env = "ORDERLY_AUTH__ALGORITHM")]
    pub algorithm: Algorithm,
    /// The file with the key: for HS256 a secret of at least 32 bytes, else a public key as PEM. `orderly serve` does not
    /// start without it, except with --demo. Make a secret with: head -c 48 /dev/urandom | base64 > FILE
    #[config(env = "ORDERLY_AUTH__KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// The address of an identity provider's keys (JWKS, RFC 7517), in place of a key file: tokens that it signed by RS256, ES256
    /// or EdDSA are taken, each by the key that its `kid` names.
    #[config(env = "ORDERLY_AUTH__JWKS_URL")]
    pub jwks_url: Option<String>,
    /// Seconds after which the provider is asked for its keys again. It is also asked when a token names one that is not
    /// known, at most every five seconds.
    #[config(default = 300, env = "ORDERLY_AUTH__JWKS_REFRESH_S")]
    pub jwks_refresh_s: u64,
    /// The `iss` that tokens must have.
    #[config(default = "orderly", env = "ORDERLY_AUTH__ISSUER")]
    pub issuer: String,
    /// The `aud` that tokens must have.
    #[config(default = "orderly", env = "ORDERLY_AUTH__AUDIENCE")]
    pub audience: String,
}

/// The intent log.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Log {
    /// Partitions of a new log, 1 to 1024. It cannot be changed later.
    #[config(default = 8, env = "ORDERLY_LOG__PARTITIONS")]
    pub partitions: u16,
    /// Hours that decided records are kept. In the embedded profile, records that are not decided are kept for ever; Kafka
    /// drops by age, decided or not: there, set far more than the pipeline can ever be down.
    #[config(default = 168, env = "ORDERLY_LOG__RETENTION_HOURS")]
    pub retention_hours: u32,
    /// Appends that may wait for the writer; further ones are refused with 503.
    #[config(default = 16_384, env = "ORDERLY_LOG__QUEUE_RECORDS_MAX")]
    pub queue_records_max: usize,
    /// Records that one transaction, and so one fsync, takes at most.
    #[config(default = 2_048, env = "ORDERLY_LOG__GROUP_RECORDS_MAX")]
    pub group_records_max: usize,
    /// The longest record, in bytes.
    #[config(default = 65_536, env = "ORDERLY_LOG__PAYLOAD_BYTES_MAX")]
    pub payload_bytes_max: usize,
    /// The largest size of the log's file, in bytes, beyond which requests are refused with 503. Without it, the disk's.
    #[config(env = "ORDERLY_LOG__SIZE_MAX_BYTES")]
    pub size_max_bytes: Option<u64>,
}

/// The pipeline, which decides.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Pipeline {
    /// Worker threads.
    #[config(default = 1, env = "ORDERLY_PIPELINE__WORKERS")]
    pub workers: usize,
    /// Records in an epoch, at most.
    #[config(default = 4_096, env = "ORDERLY_PIPELINE__EPOCH_RECORDS_MAX")]
    pub epoch_records_max: usize,
    /// The shortest time between two epochs that are not full, in milliseconds: it trades latency for larger
    /// transactions. Without it, 1 in the embedded profile and 5 in the distributed one, where a transaction costs more.
    #[config(env = "ORDERLY_PIPELINE__EPOCH_LINGER_MS")]
    pub epoch_linger_ms: Option<u64>,
    /// Epochs that are read and not committed, at most.
    #[config(default = 16, env = "ORDERLY_PIPELINE__EPOCHS_IN_FLIGHT_MAX")]
    pub epochs_in_flight_max: usize,
    /// Records in one transaction of the store, at most, unless one epoch alone has more.
    #[config(default = 8_192, env = "ORDERLY_PIPELINE__BATCH_RECORDS_MAX")]
    pub batch_records_max: usize,
    /// Calls of the ledger that one worker has in flight, at most.
    #[config(default = 1, env = "ORDERLY_PIPELINE__LEDGER_LANES")]
    pub ledger_lanes: usize,
    /// For so many records of its partition a ticket is remembered, so that a retry gets the first answer.
    #[config(default = 32_768, env = "ORDERLY_PIPELINE__DEDUP_TICKETS_MAX")]
    pub dedup_tickets_max: usize,
    /// Seconds that they are remembered.
    #[config(default = 86_400, env = "ORDERLY_PIPELINE__DEDUP_WINDOW_S")]
    pub dedup_window_s: u64,
}

/// The store, which is the system of record.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Store {
    /// Days that decisions, and the appointments of sessions that are past, are kept: 0 is for ever, else at least 7 and
    /// more than pipeline.dedup_window_s. In both profiles. Decisions stay as long as an appointment that was made on their
    /// day or before it, and until analytics and the topic of events have them. Sessions stay.
    #[config(default = 0, env = "ORDERLY_STORE__RETENTION_DAYS")]
    pub retention_days: u32,
    /// Reads at once, each with a connection of its own.
    #[config(default = 4, env = "ORDERLY_STORE__READERS")]
    pub readers: usize,
    /// Writes that wait for the writer, at most.
    #[config(default = 64, env = "ORDERLY_STORE__QUEUE_MAX")]
    pub queue_max: usize,
    /// The writer's page cache, in bytes.
    #[config(default = 16_777_216, env = "ORDERLY_STORE__CACHE_BYTES")]
    pub cache_bytes: usize,
    /// Sessions that the writer keeps in memory, about 600 bytes each.
    #[config(default = 50_000, env = "ORDERLY_STORE__SESSIONS_CACHED_MAX")]
    pub sessions_cached_max: usize,
    /// The largest size of the store's file, in bytes, beyond which nothing more is decided. Without it, the disk's.
    #[config(env = "ORDERLY_STORE__SIZE_MAX_BYTES")]
    pub size_max_bytes: Option<u64>,
}

/// The analytics, from which reports are read.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Analytics {
    /// Reports at once, each with a connection of its own.
    #[config(default = 2, env = "ORDERLY_ANALYTICS__READERS")]
    pub readers: usize,
    /// Appends that wait for the writer, at most.
    #[config(default = 16, env = "ORDERLY_ANALYTICS__QUEUE_MAX")]
    pub queue_max: usize,
    /// The writer's page cache, in bytes.
    #[config(default = 8_388_608, env = "ORDERLY_ANALYTICS__CACHE_BYTES")]
    pub cache_bytes: usize,
    /// The largest size of the analytics' file, in bytes. Without it, the disk's.
    #[config(env = "ORDERLY_ANALYTICS__SIZE_MAX_BYTES")]
    pub size_max_bytes: Option<u64>,
}

/// The breakers, which keep calls away from a log, ledger, store or analytics that fails or is slow.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Breakers {
    /// Milliseconds of the past over which calls are judged.
    #[config(default = 10_000, env = "ORDERLY_BREAKERS__WINDOW_MS")]
    pub window_ms: u64,
    /// With fewer calls in that time, nothing is concluded from them, unless they took as long together as that many calls
    /// of mean_max_ms.
    #[config(default = 5, env = "ORDERLY_BREAKERS__CALLS_MIN")]
    pub calls_min: u32,
    /// A breaker opens when this share of the calls failed: above 0, and 1 at most.
    #[config(default = 0.5, env = "ORDERLY_BREAKERS__FAILED_SHARE_MAX")]
    pub failed_share_max: f64,
    /// A breaker opens when the calls' mean response time is longer than so many milliseconds.
    #[config(default = 800, env = "ORDERLY_BREAKERS__MEAN_MAX_MS")]
    pub mean_max_ms: u64,
    /// Milliseconds that a breaker is open before it lets a probe through. A bad probe doubles them; up to a quarter is
    /// added, differently by breaker.
    #[config(default = 1_000, env = "ORDERLY_BREAKERS__PAUSE_MS")]
    pub pause_ms: u64,
    /// The most milliseconds to which they are doubled.
    #[config(default = 5_000, env = "ORDERLY_BREAKERS__PAUSE_MAX_MS")]
    pub pause_max_ms: u64,
    /// So many good probes in a row close a breaker.
    #[config(default = 3, env = "ORDERLY_BREAKERS__PROBES_GOOD")]
    pub probes_good: u32,
}

/// Telling waiting clients and the analytics what was decided.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Fanout {
    /// Batches of decisions that are kept for a listener that is slow, rounded up to a power of two. One that falls
    /// further behind reads on from the store.
    #[config(default = 1_024, env = "ORDERLY_FANOUT__CAPACITY_BATCHES")]
    pub capacity_batches: usize,
}

/// The HTTP server. Every limit is a maximum that the process never exceeds.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Ingress {
    /// How many active appointments a patient may have: "department-day" is one per department and local day, "session"
    /// one per session, "none" any number. Sessions keep the rule under which they were opened.
    #[config(default = "department-day", env = "ORDERLY_INGRESS__EXCLUSIVITY")]
    pub exclusivity: Exclusivity,
    /// A file with the names of departments and campuses as the pages show them: TOML, a section for each id with `en` and
    /// `zh`, such as `[cardiology]`. Ids that are not in it have the pages' own names, if there are any.
    #[config(env = "ORDERLY_INGRESS__NAMES_FILE")]
    pub names_file: Option<PathBuf>,
    /// Milliseconds: a booking that would wait longer for its decision, as far as this node knows, is refused with 503 and
    /// told when to come back.
    #[config(default = 60_000, env = "ORDERLY_INGRESS__SHED_WAIT_MAX_MS")]
    pub shed_wait_max_ms: u64,
    /// Records of this node that may be undecided, over all partitions; beyond it bookings are refused with 503. While the
    /// store is away, bookings are taken up to here.
    #[config(default = 500_000, env = "ORDERLY_INGRESS__UNDECIDED_MAX")]
    pub undecided_max: u64,
    /// Proxies in front of this server, addresses or networks (10.0.0.0/8) with commas between them: only theirs is the word
    /// that is taken for where a request comes from.
    #[config(default = "", env = "ORDERLY_INGRESS__TRUSTED_PROXIES")]
    pub trusted_proxies: String,
    /// The header in which they write it: "x-forwarded-for" or "forwarded" (RFC 7239). The other one is not read, because
    /// clients may send it past them.
    #[config(default = "x-forwarded-for", env = "ORDERLY_INGRESS__TRUSTED_PROXIES_HEADER")]
    pub trusted_proxies_header: orderly_ingress::Header,
    /// A file to which is written who asks for what, one request a line, also those that are throttled: `orderly policy
    /// rehearse` takes it. Patients and addresses are hashes in it. Without it, nothing is written.
    #[config(env = "ORDERLY_INGRESS__ARRIVALS_FILE")]
    pub arrivals_file: Option<PathBuf>,
    /// How large that file may become, in bytes.
    #[config(default = 1_073_741_824, env = "ORDERLY_INGRESS__ARRIVALS_BYTES_MAX")]
    pub arrivals_bytes_max: u64,
    /// Open connections. Further ones wait in the kernel's queue. The listener for ops has 1024 besides.
    #[config(default = 20_000, env = "ORDERLY_INGRESS__CONNECTIONS_MAX")]
    pub connections_max: usize,
    /// Open connections of one client address (of IPv6: one /64). Further ones are closed at once. Behind a proxy all
    /// clients have its address: set as many as connections_max then.
    #[config(default = 2_000, env = "ORDERLY_INGRESS__CONNECTIONS_PER_ADDRESS_MAX")]
    pub connections_per_address_max: usize,
    /// Requests and streams that wait for a decision at once. Beyond it a request is answered as it stands, without a wait.
    #[config(default = 50_000, env = "ORDERLY_INGRESS__WAITERS_MAX")]
    pub waiters_max: usize,
    /// Event streams of patients' tickets at once; further ones are refused with 503.
    #[config(default = 20_000, env = "ORDERLY_INGRESS__TICKET_STREAMS_MAX")]
    pub ticket_streams_max: usize,
    /// Event streams of the public list of sessions at once; further ones are refused with 503. Fewer than
    /// connections_max, so that those who watch leave connections to those who book.
    #[config(default = 10_000, env = "ORDERLY_INGRESS__SESSION_STREAMS_MAX")]
    pub session_streams_max: usize,
    /// Event streams of one client address at once, of both kinds together; further ones are refused with 503. Behind a
    /// proxy all clients have its address: set as many as there may be in all then.
    #[config(default = 1_000, env = "ORDERLY_INGRESS__STREAMS_PER_ADDRESS_MAX")]
    pub streams_per_address_max: usize,
    /// Bookings that are remembered, so that a retry gets its ticket without a new record.
    #[config(default = 65_536, env = "ORDERLY_INGRESS__IDEMPOTENCY_WINDOW")]
    pub idempotency_window: usize,
    /// Verified tokens that are remembered.
    #[config(default = 16_384, env = "ORDERLY_INGRESS__TOKENS_CACHED_MAX")]
    pub tokens_cached_max: usize,
    /// The longest head of a request, in bytes; at least 8192.
    #[config(default = 16_384, env = "ORDERLY_INGRESS__HEADER_BYTES_MAX")]
    pub header_bytes_max: usize,
    /// The longest body of a booking, a policy or another small call, in bytes.
    #[config(default = 8_192, env = "ORDERLY_INGRESS__BODY_BYTES_MAX")]
    pub body_bytes_max: usize,
    /// The longest body of `PUT /v1/sessions`, in bytes.
    #[config(default = 16_777_216, env = "ORDERLY_INGRESS__SESSIONS_BODY_BYTES_MAX")]
    pub sessions_body_bytes_max: usize,
    /// Milliseconds that a client may take to send a request's head, and that a connection may idle.
    #[config(default = 15_000, env = "ORDERLY_INGRESS__HEADER_TIMEOUT_MS")]
    pub header_timeout_ms: u64,
    /// Milliseconds that a client may take to send a small body.
    #[config(default = 10_000, env = "ORDERLY_INGRESS__BODY_TIMEOUT_MS")]
    pub body_timeout_ms: u64,
    /// Milliseconds that a client may take to send the body of `PUT /v1/sessions`.
    #[config(default = 60_000, env = "ORDERLY_INGRESS__SESSIONS_BODY_TIMEOUT_MS")]
    pub sessions_body_timeout_ms: u64,
    /// Milliseconds that a client may leave an answer or a stream unread once it cannot be sent on; then its connection is
    /// cut.
    #[config(default = 30_000, env = "ORDERLY_INGRESS__WRITE_TIMEOUT_MS")]
    pub write_timeout_ms: u64,
    /// Milliseconds that a call may take that does not wait for a decision.
    #[config(default = 15_000, env = "ORDERLY_INGRESS__REQUEST_TIMEOUT_MS")]
    pub request_timeout_ms: u64,
    /// The longest that a client can ask to wait for a decision, in milliseconds.
    #[config(default = 60_000, env = "ORDERLY_INGRESS__WAIT_MAX_MS")]
    pub wait_max_ms: u64,
    /// Milliseconds after which a stream ends; clients open it again.
    #[config(default = 900_000, env = "ORDERLY_INGRESS__STREAM_MAX_MS")]
    pub stream_max_ms: u64,
    /// Milliseconds between two positions that a queued ticket's stream tells.
    #[config(default = 500, env = "ORDERLY_INGRESS__POSITION_INTERVAL_MS")]
    pub position_interval_ms: u64,
    /// Milliseconds between two tellings of changed sessions.
    #[config(default = 200, env = "ORDERLY_INGRESS__SESSIONS_INTERVAL_MS")]
    pub sessions_interval_ms: u64,
    /// Milliseconds after which a silent stream sends a comment, so that proxies keep it.
    #[config(default = 15_000, env = "ORDERLY_INGRESS__HEARTBEAT_INTERVAL_MS")]
    pub heartbeat_interval_ms: u64,
    /// Milliseconds between two looks for a policy that another node set; at most 500, so that one is in force everywhere
    /// within a second.
    #[config(default = 500, env = "ORDERLY_INGRESS__POLICY_INTERVAL_MS")]
    pub policy_interval_ms: u64,
    /// Milliseconds that a stop waits for requests that are under way.
    #[config(default = 10_000, env = "ORDERLY_INGRESS__DRAIN_MAX_MS")]
    pub drain_max_ms: u64,
}

/// TLS for the listener. Without a certificate it speaks plain HTTP.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Tls {
    /// The file with this server's certificate, and those between it and a root (PEM). It may be replaced while it is
    /// served: connections from then on get the new one.
    #[config(env = "ORDERLY_TLS__CERTIFICATE_FILE")]
    pub certificate_file: Option<PathBuf>,
    /// The file with its private key (PEM).
    #[config(env = "ORDERLY_TLS__KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// The file with the roots of clients' certificates (PEM). With it, who shows no certificate of theirs is not let in:
    /// for listeners that only nodes and ops are to reach.
    #[config(env = "ORDERLY_TLS__CLIENT_ROOTS_FILE")]
    pub client_roots_file: Option<PathBuf>,
}

/// A listener of its own for ops, analysts, auditors and what watches the node, by mutual TLS.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Ops {
    /// Its address and port. With it, the other listener answers nothing of theirs, no metrics and no pages of theirs, and
    /// this one nothing of patients; health is at both. Without it, there is one listener for all.
    #[config(env = "ORDERLY_OPS__LISTEN")]
    pub listen: Option<SocketAddr>,
    /// The file with the roots of the certificates that are let in (PEM). It is needed here, and `orderly audit-run` asks for
    /// the same certificates. It may be replaced while it is served.
    #[config(env = "ORDERLY_OPS__CLIENT_ROOTS_FILE")]
    pub client_roots_file: Option<PathBuf>,
    /// The file with this listener's certificate, and those between it and a root (PEM). Without it, that of tls.
    #[config(env = "ORDERLY_OPS__CERTIFICATE_FILE")]
    pub certificate_file: Option<PathBuf>,
    /// The file with its private key (PEM).
    #[config(env = "ORDERLY_OPS__KEY_FILE")]
    pub key_file: Option<PathBuf>,
}

/// The tickets that patients hold.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Ticket {
    /// The file with the keys that sign tickets: a line `ID BASE64` each, ID 0 to 255, at least 32 bytes of key. The first
    /// signs; the others are still accepted. Without it, `ticket.keys` in the data folder, made at the first start.
    #[config(env = "ORDERLY_TICKET__KEYS_FILE")]
    pub keys_file: Option<PathBuf>,
}

/// What is known of patients: names, phones, identity numbers.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Personal {
    /// The file with the keys that seal it: a line `ID BASE64` each, ID 0 to 65535, 32 bytes of key, of which the first seals and
    /// all open; and a line `pseudonyms BASE64`, 32 bytes or more, for what stands for patients in Redis. `orderly keys rotate`
    /// makes it, and adds keys. Without it, `personal.keys` in the data folder, made at the first start of the embedded
    /// profile: name one elsewhere, so that whoever has the data has not the keys. All nodes need the same.
    #[config(env = "ORDERLY_PERSONAL__KEYS_FILE")]
    pub keys_file: Option<PathBuf>,
}

/// The throttle policy.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Policy {
    /// The file with the policy that is in force until ops set one: TOML, or JSON where the name ends in `.json`. Without
    /// it, a hospital's default.
    #[config(env = "ORDERLY_POLICY__FILE")]
    pub file: Option<PathBuf>,
}

/// The audit trail: who did what.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Audit {
    /// How entries are chained from now on: "sm3" or "sha256". A chain may have both; each entry says which is its own.
    #[config(default = "sm3", env = "ORDERLY_AUDIT__ALGORITHM")]
    pub algorithm: AuditAlgorithm,
    /// Days that entries are kept: at least 180, or 0 for ever.
    #[config(default = 365, env = "ORDERLY_AUDIT__RETENTION_DAYS")]
    pub retention_days: u32,
    /// The file to which the head of the chain is appended, so that a chain that was cut off or written anew is found.
    /// Without it, `audit.anchors` in the data folder. It belongs where whoever can write the store cannot: on another
    /// machine, or on storage that is written once.
    #[config(env = "ORDERLY_AUDIT__ANCHOR_FILE")]
    pub anchor_file: Option<PathBuf>,
    /// Seconds between two looks whether the head has moved.
    #[config(default = 30, env = "ORDERLY_AUDIT__ANCHOR_INTERVAL_S")]
    pub anchor_interval_s: u64,
    /// Audited calls that are under way, and entries that wait to be written, at most. A quarter is kept free of
    /// cancellations, which are told by their number then; beyond it calls of ops, analysts and auditors are refused with 503.
    #[config(default = 4_096, env = "ORDERLY_AUDIT__QUEUE_ENTRIES_MAX")]
    pub queue_entries_max: usize,
    /// Refused calls that are listed one by one, a minute and process; the others are told by their number.
    #[config(default = 30, env = "ORDERLY_AUDIT__REFUSALS_PER_MINUTE")]
    pub refusals_per_minute: u32,
    /// Milliseconds that an answer waits for its entry to be written.
    #[config(default = 5_000, env = "ORDERLY_AUDIT__WRITE_TIMEOUT_MS")]
    pub write_timeout_ms: u64,
    /// The largest size of the embedded trail's file, in bytes, beyond which it cannot be written. Without it, the disk's.
    #[config(env = "ORDERLY_AUDIT__SIZE_MAX_BYTES")]
    pub size_max_bytes: Option<u64>,
}

/// An auditor beside this system (`orderly audit-run`), for ops to see on their page what it finds.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Auditor {
    /// Where it listens, such as http://127.0.0.1:8083. An auditor that asks who comes (ops.client_roots_file) is spoken to by
    /// https://, and shown the certificate of servers_tls. Without it, none is asked.
    #[config(env = "ORDERLY_AUDITOR__URL")]
    pub url: Option<String>,
}

/// What the process tells about itself.
#[derive(Clone, Debug, confique::Config, Serialize)]
pub(crate) struct Telemetry {
    /// What is logged: error, warn, info, debug or trace, also by module, such as "info,orderly_pipeline=debug".
    #[config(default = "info", env = "ORDERLY_TELEMETRY__LOG")]
    pub log: String,
    /// How log lines are written to stderr: "text" or "json".
    #[config(default = "text", env = "ORDERLY_TELEMETRY__FORMAT")]
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
