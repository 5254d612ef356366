-- Does waiting grow with the load: seconds by how many records the log took in them (at least so many, and fewer than
-- twice as many), and how long these waited for their decisions, by nearest rank. Where the waits jump, the pipeline
-- was full.
SELECT records_min, seconds, decided, waits[1] AS wait_p50_ms, waits[2] AS wait_p99_ms, longest AS wait_max_ms
FROM (
    SELECT
        roundToExp2(asked) AS records_min,
        count() AS seconds,
        sum(asked) AS decided,
        quantilesExactWeightedMerge(0.5, 0.99)(second_waits) AS waits,
        max(second_longest) AS longest
    FROM (
        SELECT
            intDiv(logged_at_ms, 1000) AS second,
            count() AS asked,
            quantilesExactWeightedState(0.5, 0.99)(wait_ms, 1) AS second_waits,
            max(wait_ms) AS second_longest
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
        GROUP BY second
    )
    GROUP BY records_min
)
ORDER BY records_min
