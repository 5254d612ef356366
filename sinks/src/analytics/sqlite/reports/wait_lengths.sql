-- How many bookings waited at most that long, and longer than the bound before; NULL is longer than all bounds.
SELECT
    at_most_ms,
    COUNT(*) AS decided,
    COUNT(*) FILTER (WHERE outcome = 'booked') AS booked,
    COUNT(*) FILTER (WHERE outcome = 'rejected') AS rejected,
    ROUND(1.0 * COUNT(*) / SUM(COUNT(*)) OVER (), 4) AS share
FROM (
    SELECT
        outcome,
        CASE
            WHEN wait_ms <= 10 THEN 10
            WHEN wait_ms <= 50 THEN 50
            WHEN wait_ms <= 100 THEN 100
            WHEN wait_ms <= 500 THEN 500
            WHEN wait_ms <= 1000 THEN 1000
            WHEN wait_ms <= 5000 THEN 5000
            WHEN wait_ms <= 10000 THEN 10000
            WHEN wait_ms <= 60000 THEN 60000
        END AS at_most_ms
    FROM decisions
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0
)
GROUP BY at_most_ms
ORDER BY at_most_ms IS NULL, at_most_ms
