-- What was asked for and what came of it, in one row. fill_rate is the share of the capacity that was booked at
-- least once, over the sessions that were asked for. Percentiles by nearest rank, as in waits.
SELECT
    decided,
    demand,
    booked,
    rejected,
    cancelled,
    repeated,
    if(sessions = 0, NULL, total) AS capacity,
    if(sessions = 0, NULL, intDiv(20000 * numbers + total, greatest(2 * total, 1)) / 10000) AS fill_rate,
    if(decided = 0, NULL, waits[1]) AS wait_p50_ms,
    if(decided = 0, NULL, waits[2]) AS wait_p95_ms,
    if(decided = 0, NULL, waits[3]) AS wait_p99_ms,
    if(decided = 0, NULL, longest) AS wait_max_ms
FROM (
    SELECT
        count() AS decided,
        countIf(kind = 'book' AND repeat = 0) AS demand,
        countIf(kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked,
        countIf(kind = 'book' AND repeat = 0 AND outcome = 'rejected') AS rejected,
        countIf(kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
        countIf(repeat = 1) AS repeated,
        ifNull(uniqExactIf(session_id, number, kind = 'book' AND outcome = 'booked'), 0) AS numbers,
        quantilesExactWeighted(0.5, 0.95, 0.99)(wait_ms, 1) AS waits,
        max(wait_ms) AS longest
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
) AS counts
CROSS JOIN (
    SELECT count() AS sessions, ifNull(sum(newest), 0) AS total
    FROM (
        SELECT argMax(capacity, log_offset) AS newest
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND capacity IS NOT NULL
        GROUP BY session_id
    ) AS capacities
) AS totals
