-- Percentiles by nearest rank: the shortest wait that is not exceeded by that share of the decisions.
WITH ranked AS (
    SELECT
        department,
        wait_ms,
        ROW_NUMBER() OVER (PARTITION BY department ORDER BY wait_ms) AS place,
        COUNT(*) OVER (PARTITION BY department) AS places
    FROM decisions
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL
)
SELECT
    department,
    COUNT(*) AS decided,
    MIN(wait_ms) FILTER (WHERE place * 100 >= places * 50) AS wait_p50_ms,
    MIN(wait_ms) FILTER (WHERE place * 100 >= places * 95) AS wait_p95_ms,
    MIN(wait_ms) FILTER (WHERE place * 100 >= places * 99) AS wait_p99_ms,
    MAX(wait_ms) AS wait_max_ms
FROM ranked
GROUP BY department
ORDER BY department
