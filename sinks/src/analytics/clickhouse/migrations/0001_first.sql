-- One row for each decision; the columns are self-explaining and the same in every adapter.
-- Times end in _ms: milliseconds since 1970-01-01T00:00:00Z; wait_ms is from the log to the decision.
-- A row may lie here twice until a merge; FINAL reads it once. A part holds one month, so a report's time range skips the rest.
CREATE TABLE IF NOT EXISTS decisions (
    partition UInt16,
    log_offset UInt64,
    logged_at_ms Int64,
    decided_at_ms Int64,
    wait_ms Int64,
    kind LowCardinality(String),
    outcome LowCardinality(String),
    reason LowCardinality(Nullable(String)),
    number Nullable(UInt32),
    -- 1 when an earlier record had the same ticket.
    repeat UInt8,
    session_id Nullable(String),
    -- NULL from here on when the session was not known; else as the session was then.
    doctor_id LowCardinality(Nullable(String)),
    doctor_name LowCardinality(Nullable(String)),
    department LowCardinality(Nullable(String)),
    campus LowCardinality(Nullable(String)),
    day LowCardinality(Nullable(String)),
    capacity Nullable(UInt32),
    release_at_ms Nullable(Int64),
    -- For people: the same as logged_at_ms and day, as the server's own types.
    logged_at DateTime('UTC') MATERIALIZED toDateTime(intDiv(logged_at_ms, 1000), 'UTC'),
    logged_on Date MATERIALIZED toDate(intDiv(logged_at_ms, 86400000)),
    clinic_day Nullable(Date) MATERIALIZED toDateOrNull(toString(day))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(toDate(intDiv(logged_at_ms, 86400000)))
ORDER BY (partition, log_offset)
