-- The audit trail. Times end in _us: microseconds since 1970-01-01T00:00:00Z. `algorithm` is 1 for SM3, 2 for SHA-256.

CREATE TABLE audit_entries (
    seq INTEGER PRIMARY KEY CHECK (seq > 0),
    at_us INTEGER NOT NULL,
    node TEXT NOT NULL,
    number INTEGER NOT NULL,
    actor TEXT,
    roles TEXT NOT NULL,
    client TEXT NOT NULL,
    method TEXT NOT NULL,
    route TEXT NOT NULL,
    target TEXT NOT NULL,
    request BLOB NOT NULL CHECK (length(request) = 32),
    body_bytes INTEGER NOT NULL,
    status INTEGER NOT NULL,
    problem TEXT,
    calls INTEGER NOT NULL,
    algorithm INTEGER NOT NULL,
    previous BLOB NOT NULL CHECK (length(previous) = 32),
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- Where the kept chain begins (the last entry that was forgotten) and ends.
CREATE TABLE audit_chain (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    start_seq INTEGER NOT NULL,
    start_hash BLOB NOT NULL CHECK (length(start_hash) = 32),
    start_at_us INTEGER NOT NULL,
    head_seq INTEGER NOT NULL,
    head_hash BLOB NOT NULL CHECK (length(head_hash) = 32),
    head_at_us INTEGER NOT NULL,
    CHECK (start_seq <= head_seq)
) STRICT;
INSERT INTO audit_chain VALUES (1, 0, zeroblob(32), 0, 0, zeroblob(32), 0);

-- These stop mistakes and honest programs. Whoever can write the file can drop them; that is what the hashes and the
-- anchors are for.
CREATE TRIGGER audit_entries_stay BEFORE UPDATE ON audit_entries BEGIN
    SELECT RAISE(ABORT, 'audit entries are never changed');
END;
CREATE TRIGGER audit_entries_follow BEFORE INSERT ON audit_entries
WHEN NEW.seq <> (SELECT head_seq + 1 FROM audit_chain) OR NEW.previous <> (SELECT head_hash FROM audit_chain) BEGIN
    SELECT RAISE(ABORT, 'an audit entry follows the last one');
END;
CREATE TRIGGER audit_entries_move_the_head AFTER INSERT ON audit_entries BEGIN
    UPDATE audit_chain SET head_seq = NEW.seq, head_hash = NEW.hash, head_at_us = NEW.at_us;
END;
CREATE TRIGGER audit_entries_are_kept BEFORE DELETE ON audit_entries
WHEN OLD.seq > (SELECT start_seq FROM audit_chain) OR OLD.at_us >= (unixepoch() - 180 * 86400) * 1000000 BEGIN
    SELECT RAISE(ABORT, 'audit entries are kept for at least 180 days, and then forgotten from the first on');
END;
CREATE TRIGGER audit_chain_goes_on BEFORE UPDATE ON audit_chain
WHEN NEW.start_seq < OLD.start_seq OR NEW.head_seq < OLD.head_seq BEGIN
    SELECT RAISE(ABORT, 'the audit trail does not go back');
END;
CREATE TRIGGER audit_chain_stays BEFORE DELETE ON audit_chain BEGIN
    SELECT RAISE(ABORT, 'the audit trail has one beginning and one end');
END;

CREATE VIEW audit_readable AS
SELECT seq, strftime('%Y-%m-%dT%H:%M:%fZ', at_us / 1000000.0, 'unixepoch') AS at, node, actor, roles, client, method,
    route, target, status, problem, calls, lower(hex(request)) AS request, lower(hex(hash)) AS hash
FROM audit_entries;
