//! The names of the metrics that these adapters publish.

/// How long appends to the intent log took, from the call until they were durable, in seconds.
pub const LOG_APPEND_SECONDS: &str = "orderly_log_append_seconds";
/// How many records one transaction of the embedded intent log took.
pub const LOG_GROUP_RECORDS: &str = "orderly_log_group_records";
/// How many requests waited for the intent log: for the embedded one's writer when it began its last transaction, for
/// Kafka's answers a moment ago.
pub const LOG_QUEUE_LENGTH: &str = "orderly_log_queue_length";
/// Records that the intent log took since the start.
pub const LOG_APPENDED_TOTAL: &str = "orderly_log_appended_total";
/// Transactions of the embedded intent log that found no space.
pub const LOG_STORAGE_FULL_TOTAL: &str = "orderly_log_storage_full_total";
/// Size of the embedded intent log with its write-ahead log, in bytes.
pub const LOG_SIZE_BYTES: &str = "orderly_log_size_bytes";
/// Records that the intent log on Kafka did not take, or may have taken.
pub const LOG_FAILED_TOTAL: &str = "orderly_log_failed_total";
/// How often the producer of the intent log on Kafka could not go on and was made again.
pub const LOG_PRODUCER_RESTARTED_TOTAL: &str = "orderly_log_producer_restarted_total";
/// Records that were read from the intent log on Kafka and not handed out yet.
pub const LOG_READ_AHEAD_RECORDS: &str = "orderly_log_read_ahead_records";

/// How long calls of the ledger's scripts in Redis took, waits included, in seconds.
pub const LEDGER_CALL_SECONDS: &str = "orderly_ledger_call_seconds";
/// How many commands one call of the ledger in Redis had.
pub const LEDGER_CALL_COMMANDS: &str = "orderly_ledger_call_commands";
/// Sessions in Redis whose version is remembered in process.
pub const LEDGER_KNOWN_SESSIONS: &str = "orderly_ledger_known_sessions";

/// How long it took to hand a batch to Redis for the fan-out, in seconds.
pub const FANOUT_PUBLISH_SECONDS: &str = "orderly_fanout_publish_seconds";
/// Times that the fan-out's reader may have missed something and told its subscribers so.
pub const FANOUT_GAPS_TOTAL: &str = "orderly_fanout_gaps_total";

/// How long commits of the embedded store took, from their start to the disk, in seconds.
pub const STORE_COMMIT_SECONDS: &str = "orderly_store_commit_seconds";
/// How many decisions one commit of the embedded store had.
pub const STORE_COMMIT_ROWS: &str = "orderly_store_commit_rows";
/// Decisions that the embedded store turned into refusals.
pub const STORE_CORRECTIONS: &str = "orderly_store_corrections_total";
/// How long reads of the embedded store took, waits included, in seconds.
pub const STORE_READ_SECONDS: &str = "orderly_store_read_seconds";
/// Calls that wait for the embedded store's writer.
pub const STORE_QUEUE_CALLS: &str = "orderly_store_queue_calls";

/// How long appends to the analytics took, in seconds.
pub const ANALYTICS_APPEND_SECONDS: &str = "orderly_analytics_append_seconds";
/// Rows that arrived in the analytics, repeated ones included.
pub const ANALYTICS_APPENDED_ROWS: &str = "orderly_analytics_appended_rows_total";
/// How long reports of the analytics took, waits included, in seconds.
pub const ANALYTICS_REPORT_SECONDS: &str = "orderly_analytics_report_seconds";
/// Calls that wait for the analytics' writer.
pub const ANALYTICS_QUEUE_CALLS: &str = "orderly_analytics_queue_calls";

/// Events that arrived in Kafka, repeated ones included.
pub const EVENTS_SENT_TOTAL: &str = "orderly_events_sent_total";
/// Events that did not arrive in Kafka, or may have arrived.
pub const EVENTS_FAILED_TOTAL: &str = "orderly_events_failed_total";
