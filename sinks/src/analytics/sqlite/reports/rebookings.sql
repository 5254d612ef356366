-- Numbers that one patient gave back and another had within 10 seconds, by the two of them. gave and took stand for patients;
-- doctor_id is the doctor with whom it happened most often, doctor_times how often.
WITH
lives AS (
    SELECT
        session_id, doctor_id, kind, patient, logged_at_ms,
        LEAD(kind) OVER life AS next_kind,
        LEAD(patient) OVER life AS next_patient,
        LEAD(logged_at_ms) OVER life - logged_at_ms AS gap_ms
    FROM decisions
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND doctor_id IS NOT NULL AND repeat = 0
        AND (kind = 'book' AND outcome = 'booked' OR kind = 'cancel' AND outcome = 'cancelled')
    WINDOW life AS (PARTITION BY session_id, number ORDER BY log_offset)
),
by_doctor AS (
    SELECT
        patient AS gave, next_patient AS took, doctor_id,
        COUNT(*) AS times, COUNT(DISTINCT session_id) AS sessions, MIN(gap_ms) AS gap_min_ms
    FROM lives
    WHERE kind = 'cancel' AND next_kind = 'book' AND patient <> next_patient AND gap_ms <= 10000
    GROUP BY gave, took, doctor_id
),
ranked AS (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY gave, took ORDER BY times DESC, doctor_id) AS place FROM by_doctor
)
SELECT
    gave,
    took,
    SUM(times) AS times,
    SUM(sessions) AS sessions,
    COUNT(*) AS doctors,
    MAX(doctor_id) FILTER (WHERE place = 1) AS doctor_id,
    MAX(times) AS doctor_times,
    MIN(gap_min_ms) AS gap_min_ms
FROM ranked
GROUP BY gave, took
ORDER BY times DESC, gave, took
LIMIT 1000
