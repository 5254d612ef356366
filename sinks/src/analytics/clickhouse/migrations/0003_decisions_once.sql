-- For SQL that people write by hand: every decision once, whatever arrived twice, with all columns, as `decisions FINAL` reads it.
-- A column that a later migration adds comes in by a new view.
CREATE VIEW IF NOT EXISTS decisions_once AS
SELECT
    partition, log_offset, logged_at_ms, decided_at_ms, wait_ms, kind, outcome, reason, number, repeat, session_id,
    doctor_id, doctor_name, department, campus, day, capacity, release_at_ms, patient, logged_at, logged_on, clinic_day
FROM decisions FINAL
