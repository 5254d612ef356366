-- One row for each decision; the columns are self-explaining and the same in every adapter.
-- Times end in _ms: milliseconds since 1970-01-01T00:00:00Z; wait_ms is from the log to the decision.
CREATE TABLE decisions (
    partition INTEGER NOT NULL,
    log_offset INTEGER NOT NULL,
    logged_at_ms INTEGER NOT NULL,
    decided_at_ms INTEGER NOT NULL,
    wait_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    number INTEGER,
    -- 1 when an earlier record had the same ticket.
    repeat INTEGER NOT NULL,
    session_id TEXT,
    -- NULL from here on when the session was not known; else as the session was then.
    doctor_id TEXT,
    doctor_name TEXT,
    department TEXT,
    campus TEXT,
    day TEXT,
    capacity INTEGER,
    release_at_ms INTEGER,
    PRIMARY KEY (partition, log_offset)
) STRICT, WITHOUT ROWID;
CREATE INDEX decisions_by_time ON decisions (logged_at_ms);
