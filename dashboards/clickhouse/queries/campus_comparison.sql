-- The same department on its campuses, side by side: demand for each number, how many were refused for want of
-- numbers, and how long the slowest twentieth waited for a decision.
SELECT
    department,
    campus,
    sessions,
    capacity,
    demand,
    intDiv(200 * demand + capacity, 2 * capacity) / 100 AS demand_per_number,
    intDiv(20000 * sold_out + demand, greatest(2 * demand, 1)) / 10000 AS sold_out_share,
    wait_p95_ms
FROM (
    SELECT
        department,
        campus,
        countIf(kind = 'book' AND repeat = 0) AS demand,
        countIf(kind = 'book' AND repeat = 0 AND ifNull(reason, '') = 'sold_out') AS sold_out,
        quantileExactWeighted(0.95)(wait_ms, 1) AS wait_p95_ms
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL
    GROUP BY department, campus
) AS counts
INNER JOIN (
    SELECT place.1 AS department, place.2 AS campus, count() AS sessions, sum(numbers_max) AS capacity
    FROM (
        SELECT
            argMax((assumeNotNull(toString(department)), assumeNotNull(toString(campus))), log_offset) AS place,
            argMax(assumeNotNull(capacity), log_offset) AS numbers_max
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL
        GROUP BY session_id
    )
    GROUP BY department, campus
) AS totals USING (department, campus)
ORDER BY department, campus
