-- Demand by weekday (1 is Monday) and hour in the hospital's zone: when people ask, so that releases and staff are
-- spread over the week.
SELECT
    weekday,
    hour,
    count() AS demand,
    countIf(outcome = 'booked') AS booked,
    countIf(ifNull(reason, '') = 'sold_out') AS sold_out
FROM (
    SELECT
        toDayOfWeek(toDateTime(intDiv(logged_at_ms, 1000), ':zone')) AS weekday,
        toHour(toDateTime(intDiv(logged_at_ms, 1000), ':zone')) AS hour,
        outcome,
        reason
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0
)
GROUP BY weekday, hour
ORDER BY weekday, hour
