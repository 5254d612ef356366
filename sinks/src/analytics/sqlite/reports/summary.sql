-- fill_rate is the share of the capacity that was booked at least once, over the sessions that were asked for.
WITH
asked AS (
    SELECT * FROM decisions WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
),
-- The bare column capacity comes from the row that has the maximum: the newest.
capacities AS (
    SELECT session_id, capacity, MAX(log_offset) FROM asked WHERE capacity IS NOT NULL GROUP BY session_id
),
filled AS (
    SELECT COUNT(*) AS numbers FROM (
        SELECT DISTINCT session_id, number FROM asked WHERE kind = 'book' AND outcome = 'booked'
    )
),
ranked AS (
    SELECT wait_ms, ROW_NUMBER() OVER (ORDER BY wait_ms) AS place, COUNT(*) OVER () AS places FROM asked
),
waits AS (
    SELECT
        MIN(wait_ms) FILTER (WHERE place * 100 >= places * 50) AS p50,
        MIN(wait_ms) FILTER (WHERE place * 100 >= places * 95) AS p95,
        MIN(wait_ms) FILTER (WHERE place * 100 >= places * 99) AS p99,
        MAX(wait_ms) AS longest
    FROM ranked
)
SELECT
    COUNT(*) AS decided,
    COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0) AS demand,
    COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked,
    COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0 AND outcome = 'rejected') AS rejected,
    COUNT(*) FILTER (WHERE kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
    COUNT(*) FILTER (WHERE repeat = 1) AS repeated,
    (SELECT SUM(capacity) FROM capacities) AS capacity,
    ROUND(1.0 * (SELECT numbers FROM filled) / (SELECT SUM(capacity) FROM capacities), 4) AS fill_rate,
    (SELECT p50 FROM waits) AS wait_p50_ms,
    (SELECT p95 FROM waits) AS wait_p95_ms,
    (SELECT p99 FROM waits) AS wait_p99_ms,
    (SELECT longest FROM waits) AS wait_max_ms
FROM asked
