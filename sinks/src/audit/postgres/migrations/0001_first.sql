-- The audit trail, to which every node appends. Times end in _us: microseconds since 1970-01-01T00:00:00Z. `algorithm` is 1
-- for SM3, 2 for SHA-256. The role orderly_auditor is there when this runs.

CREATE TABLE audit_entries (
    seq bigint PRIMARY KEY CHECK (seq > 0),
    at_us bigint NOT NULL,
    node text NOT NULL,
    number bigint NOT NULL,
    actor text,
    roles text NOT NULL,
    client text NOT NULL,
    method text NOT NULL,
    route text NOT NULL,
    target text NOT NULL,
    request bytea NOT NULL CHECK (octet_length(request) = 32),
    body_bytes bigint NOT NULL,
    status int NOT NULL,
    problem text,
    calls bigint NOT NULL,
    algorithm int NOT NULL,
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32)
);

-- Where the kept chain begins (the last entry that was forgotten) and ends. Whoever appends locks this row, so that the
-- entries of all nodes make one chain.
CREATE TABLE audit_chain (
    only_row int PRIMARY KEY CHECK (only_row = 1),
    start_seq bigint NOT NULL,
    start_hash bytea NOT NULL CHECK (octet_length(start_hash) = 32),
    start_at_us bigint NOT NULL,
    head_seq bigint NOT NULL,
    head_hash bytea NOT NULL CHECK (octet_length(head_hash) = 32),
    head_at_us bigint NOT NULL,
    CHECK (start_seq <= head_seq)
);
INSERT INTO audit_chain VALUES (1, 0, decode(repeat('00', 32), 'hex'), 0, 0, decode(repeat('00', 32), 'hex'), 0);

-- These stop mistakes and honest programs. A superuser can switch them off; that is what the hashes and the anchors are for.
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is never changed: % on % is refused', TG_OP, TG_TABLE_NAME;
END $$;

CREATE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF OLD.seq > (SELECT start_seq FROM audit_chain)
        OR OLD.at_us >= extract(epoch FROM now() - interval '180 days') * 1000000 THEN
        RAISE EXCEPTION 'audit entries are kept for at least 180 days, and then forgotten from the first on';
    END IF;
    RETURN OLD;
END $$;

CREATE FUNCTION audit_go_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.start_seq < OLD.start_seq OR NEW.head_seq < OLD.head_seq THEN
        RAISE EXCEPTION 'the audit trail does not go back';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_entries_stay BEFORE UPDATE ON audit_entries FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entries_are_not_emptied BEFORE TRUNCATE ON audit_entries EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entries_are_kept BEFORE DELETE ON audit_entries FOR EACH ROW EXECUTE FUNCTION audit_keep();
CREATE TRIGGER audit_chain_goes_on BEFORE UPDATE ON audit_chain FOR EACH ROW EXECUTE FUNCTION audit_go_on();
CREATE TRIGGER audit_chain_stays BEFORE DELETE ON audit_chain FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_chain_is_not_emptied BEFORE TRUNCATE ON audit_chain EXECUTE FUNCTION audit_refuse();

-- Entries are seen by whoever acts as orderly_auditor (SET ROLE orderly_auditor), and not by their owner. The owner sees and
-- deletes what lies before the beginning, which a prune has moved.
ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY;
CREATE POLICY auditors_read ON audit_entries FOR SELECT TO orderly_auditor USING (current_user = 'orderly_auditor');
CREATE POLICY anything_is_appended ON audit_entries FOR INSERT WITH CHECK (true);
CREATE POLICY old_ones_are_seen ON audit_entries FOR SELECT USING (seq <= (SELECT start_seq FROM audit_chain));
CREATE POLICY old_ones_go ON audit_entries FOR DELETE USING (seq <= (SELECT start_seq FROM audit_chain));

GRANT SELECT ON audit_entries, audit_chain TO orderly_auditor;
DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO orderly_auditor', current_schema());
END $$;
