-- Times end in _us: microseconds since 1970-01-01T00:00:00Z. Small integers stand for names; the tables below tell which.

CREATE TABLE kinds (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO kinds VALUES
    (0, 'book'), (1, 'cancel'), (2, 'open_session'), (3, 'close_session'), (4, 'change_capacity'), (5, 'malformed');

CREATE TABLE outcomes (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO outcomes VALUES (0, 'booked'), (1, 'rejected'), (2, 'cancelled'), (3, 'applied');

CREATE TABLE reasons (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO reasons VALUES
    (0, 'sold_out'), (1, 'already_booked'), (2, 'not_released'), (3, 'session_closed'), (4, 'unknown_session'),
    (5, 'duplicate'), (6, 'expired'), (7, 'malformed'), (8, 'not_booked'), (9, 'below_booked'),
    (10, 'session_conflict');

CREATE TABLE statuses (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO statuses VALUES (0, 'booked'), (1, 'cancelled'), (2, 'session_closed');

CREATE TABLE exclusivities (code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO exclusivities VALUES (0, 'department-day'), (1, 'session'), (2, 'none');

-- How far each partition is. A commit names the fence of its takeover and the offset it starts from, or changes nothing.
CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY,
    fence INTEGER NOT NULL CHECK (fence > 0),
    owner TEXT NOT NULL,
    next_offset INTEGER NOT NULL CHECK (next_offset >= 0),
    published_offset INTEGER NOT NULL CHECK (published_offset BETWEEN 0 AND next_offset)
) STRICT;

CREATE TABLE sessions (
    session_key INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    doctor_id TEXT NOT NULL,
    doctor_name TEXT NOT NULL,
    department TEXT NOT NULL,
    campus TEXT NOT NULL,
    day TEXT NOT NULL,
    start_time TEXT NOT NULL,
    end_time TEXT NOT NULL,
    timezone TEXT NOT NULL,
    capacity INTEGER NOT NULL CHECK (capacity > 0),
    release_at_us INTEGER NOT NULL,
    ends_at_us INTEGER NOT NULL,
    exclusivity INTEGER NOT NULL REFERENCES exclusivities,
    closed INTEGER NOT NULL CHECK (closed IN (0, 1)),
    booked INTEGER NOT NULL CHECK (booked BETWEEN 0 AND capacity),
    -- The partition of its doctor's records.
    partition INTEGER NOT NULL,
    changed_partition INTEGER NOT NULL,
    changed_offset INTEGER NOT NULL,
    CHECK (closed = 0 OR booked = 0)
) STRICT;
CREATE INDEX sessions_by_day ON sessions (day);

-- One row for each record of the log. Its only key is sequential: a random one would make every insert ten times slower.
-- session_key is not declared as a reference for the same reason.
CREATE TABLE decisions (
    partition INTEGER NOT NULL,
    log_offset INTEGER NOT NULL,
    logged_at_us INTEGER NOT NULL,
    decided_at_us INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    reason INTEGER,
    number INTEGER,
    ticket_id BLOB,
    -- NULL when no such session was known.
    session_key INTEGER,
    patient_id TEXT,
    -- The ticket's first record, when this is a later one.
    first_offset INTEGER,
    corrected INTEGER NOT NULL,
    PRIMARY KEY (partition, log_offset)
) STRICT, WITHOUT ROWID;

-- Keyed by the booking's record.
CREATE TABLE appointments (
    partition INTEGER NOT NULL,
    log_offset INTEGER NOT NULL,
    session_key INTEGER NOT NULL REFERENCES sessions,
    number INTEGER NOT NULL CHECK (number > 0),
    patient_id TEXT NOT NULL,
    ticket_id BLOB NOT NULL CHECK (length(ticket_id) = 16),
    -- Inside a scope a patient has at most one active appointment; NULL where there is no limit.
    scope TEXT,
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 2),
    changed_partition INTEGER NOT NULL,
    changed_offset INTEGER NOT NULL,
    cause TEXT,
    PRIMARY KEY (partition, log_offset)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX appointments_one_per_ticket ON appointments (ticket_id);
CREATE UNIQUE INDEX appointments_one_per_scope ON appointments (scope, patient_id)
    WHERE status = 0 AND scope IS NOT NULL;
CREATE UNIQUE INDEX appointments_one_per_number ON appointments (session_key, number) WHERE status = 0;
-- The active ones of a session are found by the index above.
CREATE INDEX appointments_ended_by_session ON appointments (session_key) WHERE status <> 0;

CREATE TABLE policies (
    version INTEGER PRIMARY KEY,
    document TEXT NOT NULL,
    author TEXT NOT NULL,
    reason TEXT NOT NULL,
    set_at_us INTEGER NOT NULL
) STRICT;

-- For people at a shell: the same rows with names and UTC times.
CREATE VIEW decisions_readable AS
SELECT
    d.partition,
    d.log_offset,
    strftime('%Y-%m-%dT%H:%M:%fZ', d.logged_at_us / 1e6, 'unixepoch') AS logged_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', d.decided_at_us / 1e6, 'unixepoch') AS decided_at,
    k.name AS kind,
    o.name AS outcome,
    r.name AS reason,
    d.number,
    lower(hex(d.ticket_id)) AS ticket_id,
    s.session_id,
    d.patient_id,
    d.first_offset,
    d.corrected
FROM decisions AS d
JOIN kinds AS k ON k.code = d.kind
JOIN outcomes AS o ON o.code = d.outcome
LEFT JOIN reasons AS r ON r.code = d.reason
LEFT JOIN sessions AS s ON s.session_key = d.session_key;

CREATE VIEW appointments_readable AS
SELECT
    s.session_id,
    s.doctor_name,
    s.department,
    s.day,
    a.number,
    a.patient_id,
    t.name AS status,
    a.cause,
    lower(hex(a.ticket_id)) AS ticket_id,
    a.partition,
    a.log_offset
FROM appointments AS a
JOIN sessions AS s ON s.session_key = a.session_key
JOIN statuses AS t ON t.code = a.status;
