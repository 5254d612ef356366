-- How long decisions took, by department. Percentiles by nearest rank: the shortest wait that is not exceeded by
-- that share of the decisions; quantilesExactWeighted keeps a count for each length of a wait, not every wait.
SELECT
    department,
    decided,
    waits[1] AS wait_p50_ms,
    waits[2] AS wait_p95_ms,
    waits[3] AS wait_p99_ms,
    longest AS wait_max_ms
FROM (
    SELECT
        department,
        count() AS decided,
        quantilesExactWeighted(0.5, 0.95, 0.99)(wait_ms, 1) AS waits,
        max(wait_ms) AS longest
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL
    GROUP BY department
)
ORDER BY department
