//! The names of the metrics that these adapters publish.

/// How long appends to the embedded intent log took, from the call until they were durable, in seconds.
pub const LOG_APPEND_SECONDS: &str = "orderly_log_append_seconds";
/// How many records one transaction of the embedded intent log took.
pub const LOG_GROUP_RECORDS: &str = "orderly_log_group_records";
/// How many requests waited for the embedded intent log's writer when it began its last transaction.
pub const LOG_QUEUE_LENGTH: &str = "orderly_log_queue_length";
/// Records that the embedded intent log took since the start.
pub const LOG_APPENDED_TOTAL: &str = "orderly_log_appended_total";
/// Transactions of the embedded intent log that found no space.
pub const LOG_STORAGE_FULL_TOTAL: &str = "orderly_log_storage_full_total";
/// Size of the embedded intent log with its write-ahead log, in bytes.
pub const LOG_SIZE_BYTES: &str = "orderly_log_size_bytes";
