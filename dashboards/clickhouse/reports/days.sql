-- Demand and what came of it, by the day of the session. fill_rate is the share of the capacity that was booked at
-- least once, over the sessions that were asked for; a session counts where its newest row puts it.
SELECT
    day,
    sessions,
    demand,
    booked,
    rejected,
    sold_out,
    cancelled,
    capacity,
    intDiv(20000 * numbers + capacity, 2 * capacity) / 10000 AS fill_rate
FROM (
    SELECT
        day,
        countIf(kind = 'book' AND repeat = 0) AS demand,
        countIf(kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked,
        countIf(kind = 'book' AND repeat = 0 AND outcome = 'rejected') AS rejected,
        countIf(kind = 'book' AND repeat = 0 AND ifNull(reason, '') = 'sold_out') AS sold_out,
        countIf(kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
        ifNull(uniqExactIf(session_id, number, kind = 'book' AND outcome = 'booked'), 0) AS numbers
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND day IS NOT NULL
    GROUP BY day
) AS counts
INNER JOIN (
    SELECT newest AS day, count() AS sessions, sum(numbers_max) AS capacity
    FROM (
        SELECT argMax(day, log_offset) AS newest, argMax(capacity, log_offset) AS numbers_max
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND day IS NOT NULL
        GROUP BY session_id
    )
    GROUP BY newest
) AS totals USING (day)
ORDER BY day
