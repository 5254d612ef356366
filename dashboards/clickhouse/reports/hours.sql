-- Bookings by the hour in UTC in which the log took them; hours without any are left out.
SELECT
    formatDateTime(toDateTime(since_epoch * 3600, 'UTC'), '%FT%H:00Z') AS hour,
    demand,
    booked,
    rejected
FROM (
    SELECT
        intDiv(logged_at_ms, 3600000) AS since_epoch,
        count() AS demand,
        countIf(outcome = 'booked') AS booked,
        countIf(outcome = 'rejected') AS rejected
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0
    GROUP BY since_epoch
)
ORDER BY since_epoch
