-- booked_again are bookings of a number that had been booked before; cancel_rate is of the bookings of that
-- time, and passes 1 when older ones are given back.
WITH
asked AS (
    SELECT * FROM decisions
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL AND repeat = 0
),
again AS (
    SELECT department, SUM(times - 1) AS booked_again FROM (
        SELECT department, COUNT(*) AS times FROM asked
        WHERE kind = 'book' AND outcome = 'booked' GROUP BY department, session_id, number
    )
    GROUP BY department
),
counts AS (
    SELECT
        department,
        COUNT(*) FILTER (WHERE kind = 'book' AND outcome = 'booked') AS booked,
        COUNT(*) FILTER (WHERE kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
        COUNT(*) FILTER (WHERE kind = 'cancel' AND outcome = 'rejected') AS refused,
        COUNT(*) FILTER (WHERE kind = 'close_session' AND outcome = 'applied') AS sessions_closed
    FROM asked GROUP BY department
)
SELECT
    department,
    booked,
    cancelled,
    ROUND(1.0 * cancelled / NULLIF(booked, 0), 4) AS cancel_rate,
    COALESCE(booked_again, 0) AS booked_again,
    refused,
    sessions_closed
FROM counts
LEFT JOIN again USING (department)
ORDER BY department
