-- Times end in _us: microseconds since 1970-01-01T00:00:00Z. Small integers stand for names; the tables below tell which.

CREATE TABLE kinds (code smallint PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO kinds VALUES
    (0, 'book'), (1, 'cancel'), (2, 'open_session'), (3, 'close_session'), (4, 'change_capacity'), (5, 'malformed');

CREATE TABLE outcomes (code smallint PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO outcomes VALUES (0, 'booked'), (1, 'rejected'), (2, 'cancelled'), (3, 'applied');

CREATE TABLE reasons (code smallint PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO reasons VALUES
    (0, 'sold_out'), (1, 'already_booked'), (2, 'not_released'), (3, 'session_closed'), (4, 'unknown_session'),
    (5, 'duplicate'), (6, 'expired'), (7, 'malformed'), (8, 'not_booked'), (9, 'below_booked'),
    (10, 'session_conflict');

CREATE TABLE statuses (code smallint PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO statuses VALUES (0, 'booked'), (1, 'cancelled'), (2, 'session_closed');

CREATE TABLE exclusivities (code smallint PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO exclusivities VALUES (0, 'department-day'), (1, 'session'), (2, 'none');

-- How far each partition is. A commit locks its rows, and names the fence of its takeover and the offset it starts from, or
-- changes nothing.
CREATE TABLE partitions (
    partition int PRIMARY KEY,
    fence bigint NOT NULL CHECK (fence > 0),
    owner text NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    published_offset bigint NOT NULL,
    -- The day of its newest decision.
    day date,
    CHECK (published_offset BETWEEN 0 AND next_offset)
) WITH (fillfactor = 50);

-- On which day a partition's decisions lie: those from first_offset on, until the next row's.
CREATE TABLE decision_days (
    partition int NOT NULL,
    first_offset bigint NOT NULL,
    day date NOT NULL,
    PRIMARY KEY (partition, first_offset)
);

CREATE SEQUENCE session_keys;

CREATE TABLE sessions (
    session_key bigint PRIMARY KEY,
    session_id text NOT NULL UNIQUE,
    doctor_id text NOT NULL,
    doctor_name text NOT NULL,
    department text NOT NULL,
    campus text NOT NULL,
    day date NOT NULL,
    start_time time NOT NULL,
    end_time time NOT NULL,
    timezone text NOT NULL,
    capacity int NOT NULL CHECK (capacity > 0),
    release_at_us bigint NOT NULL,
    ends_at_us bigint NOT NULL,
    exclusivity smallint NOT NULL REFERENCES exclusivities,
    closed boolean NOT NULL,
    booked int NOT NULL,
    -- The partition of its doctor's records.
    partition int NOT NULL,
    changed_partition int NOT NULL,
    changed_offset bigint NOT NULL,
    CHECK (booked BETWEEN 0 AND capacity),
    CHECK (NOT closed OR booked = 0)
) WITH (fillfactor = 70);
CREATE INDEX sessions_by_day ON sessions (day);

-- One row for each record of the log, in a table for each day. The day is the UTC day of the log's time, or a later one when
-- that went back: within a partition the days ascend with the offsets. Its only key is sequential: a random one would make
-- every insert slower. References are not declared for the same reason.
CREATE TABLE decisions (
    partition int NOT NULL,
    day date NOT NULL,
    log_offset bigint NOT NULL,
    logged_at_us bigint NOT NULL,
    decided_at_us bigint NOT NULL,
    kind smallint NOT NULL,
    outcome smallint NOT NULL,
    reason smallint,
    number int,
    ticket_id bytea,
    -- NULL when no such session was known.
    session_key bigint,
    patient_id text,
    -- The ticket's first record, when this is a later one.
    first_offset bigint,
    -- The day of the appointment that the ticket's first record made, if it made one.
    appointment_day date,
    corrected boolean NOT NULL,
    PRIMARY KEY (partition, day, log_offset)
) PARTITION BY RANGE (day);

-- Keyed by the booking's record, in a table for each day of sessions. A scope and a session are of one day, so the day in
-- the unique indexes takes nothing from them.
CREATE TABLE appointments (
    day date NOT NULL,
    partition int NOT NULL,
    log_offset bigint NOT NULL,
    session_key bigint NOT NULL,
    number int NOT NULL CHECK (number > 0),
    patient_id text NOT NULL,
    ticket_id bytea NOT NULL CHECK (octet_length(ticket_id) = 16),
    -- Inside a scope a patient has at most one active appointment; NULL where there is no limit.
    scope text,
    status smallint NOT NULL CHECK (status BETWEEN 0 AND 2),
    changed_partition int NOT NULL,
    changed_offset bigint NOT NULL,
    cause text,
    PRIMARY KEY (partition, log_offset, day)
) PARTITION BY RANGE (day);
CREATE UNIQUE INDEX appointments_one_per_scope ON appointments (scope, patient_id, day)
    WHERE status = 0 AND scope IS NOT NULL;
CREATE UNIQUE INDEX appointments_one_per_number ON appointments (session_key, number, day) WHERE status = 0;
-- The active ones of a session are found by the index above.
CREATE INDEX appointments_ended_by_session ON appointments (session_key) WHERE status <> 0;

-- The appointment that a ticket made: one, whatever its day, which no index over a table for each day can promise.
CREATE TABLE tickets (
    ticket_id bytea PRIMARY KEY,
    day date NOT NULL,
    partition int NOT NULL,
    log_offset bigint NOT NULL
);

CREATE TABLE policies (
    version bigint PRIMARY KEY,
    document text NOT NULL,
    author text NOT NULL,
    reason text NOT NULL,
    set_at_us bigint NOT NULL
);

-- For people at a shell: the same rows with names and times.
CREATE VIEW decisions_readable AS
SELECT
    d.partition,
    d.log_offset,
    to_timestamp(d.logged_at_us / 1e6) AS logged_at,
    to_timestamp(d.decided_at_us / 1e6) AS decided_at,
    k.name AS kind,
    o.name AS outcome,
    r.name AS reason,
    d.number,
    encode(d.ticket_id, 'hex') AS ticket_id,
    s.session_id,
    d.patient_id,
    d.first_offset,
    d.corrected,
    d.day
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
    a.day,
    a.number,
    a.patient_id,
    t.name AS status,
    a.cause,
    encode(a.ticket_id, 'hex') AS ticket_id,
    a.partition,
    a.log_offset
FROM appointments AS a
JOIN sessions AS s ON s.session_key = a.session_key
JOIN statuses AS t ON t.code = a.status;
