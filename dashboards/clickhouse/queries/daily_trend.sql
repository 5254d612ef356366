-- Demand day by day in the hospital's zone, with the change to the day before on which anything was asked, and the
-- running total of bookings since the first day.
SELECT
    toString(one.1) AS day,
    one.2 AS demand,
    one.3 AS change,
    one.4 AS booked,
    one.5 AS booked_so_far,
    one.6 AS patients
FROM (
    SELECT arrayJoin(arrayMap(
        (day, demand, change, booked, total, patients) -> (day, demand, change, booked, total, patients),
        groupArray(day),
        groupArray(asked) AS all_asked,
        arrayMap(
            (now, before) -> toInt64(now) - toInt64(before),
            all_asked, arrayPushFront(arrayPopBack(all_asked), all_asked[1])
        ),
        groupArray(got) AS all_got,
        arrayCumSum(all_got),
        groupArray(people)
    )) AS one
    FROM (
        SELECT
            toDate(toDateTime(intDiv(logged_at_ms, 1000), ':zone'), ':zone') AS day,
            count() AS asked,
            countIf(outcome = 'booked') AS got,
            ifNull(uniqExact(patient), 0) AS people
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0
        GROUP BY day
        ORDER BY day
    )
)
ORDER BY day
