-- sold_out_after_ms is the time from the session's release to the last booking before the first "sold out"; NULL when
-- nobody was refused for that.
WITH
asked AS (
    SELECT * FROM decisions
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL
),
-- The bare columns come from the row that has the maximum: the newest.
newest AS (
    SELECT session_id, doctor_id, department, campus, day, capacity, release_at_ms, MAX(log_offset)
    FROM asked GROUP BY session_id
),
full AS (
    SELECT session_id, MIN(logged_at_ms) AS first_refused_ms
    FROM asked WHERE kind = 'book' AND reason = 'sold_out' GROUP BY session_id
),
sold AS (
    SELECT session_id, MAX(logged_at_ms) AS last_booked_ms
    FROM asked JOIN full USING (session_id)
    WHERE kind = 'book' AND outcome = 'booked' AND repeat = 0 AND logged_at_ms <= first_refused_ms
    GROUP BY session_id
),
counts AS (
    SELECT
        session_id,
        COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0) AS demand,
        COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked,
        COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0 AND reason = 'sold_out') AS sold_out,
        COUNT(*) FILTER (WHERE kind = 'cancel' AND outcome = 'cancelled') AS cancelled
    FROM asked GROUP BY session_id
)
SELECT
    session_id,
    doctor_id,
    department,
    campus,
    day,
    capacity,
    demand,
    booked,
    sold_out,
    cancelled,
    ROUND(1.0 * demand / capacity, 2) AS demand_per_number,
    last_booked_ms - release_at_ms AS sold_out_after_ms
FROM counts
JOIN newest USING (session_id)
LEFT JOIN sold USING (session_id)
ORDER BY demand_per_number DESC, session_id
