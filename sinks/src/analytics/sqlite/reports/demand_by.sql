-- Demand and what came of it, by {dimension}.
-- fill_rate is the share of the capacity that was booked at least once, over the sessions that were asked for.
WITH
asked AS (
    SELECT * FROM decisions
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND {dimension} IS NOT NULL
),
-- The bare columns come from the row that has the maximum: the newest.
capacities AS (
    SELECT {dimension}, session_id, capacity, MAX(log_offset) FROM asked GROUP BY session_id
),
totals AS (
    SELECT {dimension}, COUNT(*) AS sessions, SUM(capacity) AS capacity FROM capacities GROUP BY {dimension}
),
filled AS (
    SELECT {dimension}, COUNT(*) AS numbers FROM (
        SELECT DISTINCT {dimension}, session_id, number FROM asked WHERE kind = 'book' AND outcome = 'booked'
    )
    GROUP BY {dimension}
)
SELECT
    {columns},
    sessions,
    COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0) AS demand,
    COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked,
    COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0 AND outcome = 'rejected') AS rejected,
    COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0 AND reason = 'sold_out') AS sold_out,
    COUNT(*) FILTER (WHERE kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
    totals.capacity AS capacity,
    ROUND(1.0 * COALESCE(numbers, 0) / totals.capacity, 4) AS fill_rate
FROM asked
JOIN totals USING ({dimension})
LEFT JOIN filled USING ({dimension})
GROUP BY {dimension}
ORDER BY {order}
