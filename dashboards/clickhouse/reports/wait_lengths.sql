-- How many bookings waited at most that long, and longer than the bound before; NULL is longer than all bounds.
WITH (
    SELECT count()
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0
) AS waited
SELECT
    nullIf(bound, 0) AS at_most_ms,
    decided,
    booked,
    rejected,
    intDiv(20000 * decided + waited, greatest(2 * waited, 1)) / 10000 AS share
FROM (
    SELECT
        toUInt32(multiIf(
            wait_ms <= 10, 10,
            wait_ms <= 50, 50,
            wait_ms <= 100, 100,
            wait_ms <= 500, 500,
            wait_ms <= 1000, 1000,
            wait_ms <= 5000, 5000,
            wait_ms <= 10000, 10000,
            wait_ms <= 60000, 60000,
            0
        )) AS bound,
        count() AS decided,
        countIf(outcome = 'booked') AS booked,
        countIf(outcome = 'rejected') AS rejected
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0
    GROUP BY bound
)
ORDER BY bound = 0, bound
