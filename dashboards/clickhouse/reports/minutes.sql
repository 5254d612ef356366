-- Arrivals and what came of them, minute by minute in UTC. arrivals are all records that the log took in that
-- minute; minutes without any are left out.
SELECT
    formatDateTime(toDateTime(since_epoch * 60, 'UTC'), '%FT%RZ') AS minute,
    arrivals,
    booked,
    rejected,
    cancelled,
    repeated,
    wait_max_ms
FROM (
    SELECT
        intDiv(logged_at_ms, 60000) AS since_epoch,
        count() AS arrivals,
        countIf(kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked,
        countIf(kind = 'book' AND repeat = 0 AND outcome = 'rejected') AS rejected,
        countIf(kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
        countIf(repeat = 1) AS repeated,
        max(wait_ms) AS wait_max_ms
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
    GROUP BY since_epoch
)
ORDER BY since_epoch
