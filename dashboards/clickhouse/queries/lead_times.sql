-- How many days ahead people book: bookings by the days between them and the session's day in the hospital's zone,
-- with the share of all bookings up to there.
SELECT
    one.1 AS lead_days,
    one.2 AS booked,
    intDiv(20000 * one.3 + total, 2 * total) / 10000 AS share_so_far
FROM (
    SELECT
        groupArray(days) AS all_days,
        groupArray(got) AS all_got,
        arraySum(all_got) AS total,
        arrayJoin(arrayMap((days, got, so_far) -> (days, got, so_far), all_days, all_got, arrayCumSum(all_got))) AS one
    FROM (
        SELECT
            toInt32(assumeNotNull(clinic_day))
                - toInt32(toDate(toDateTime(intDiv(logged_at_ms, 1000), ':zone'), ':zone')) AS days,
            count() AS got
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
            AND kind = 'book' AND repeat = 0 AND outcome = 'booked' AND clinic_day IS NOT NULL
        GROUP BY days
        ORDER BY days
    )
)
ORDER BY lead_days
