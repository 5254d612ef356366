-- Why bookings were refused, day by day (UTC, whole days from the first to before the last): whether a cause grows. share is
-- of the day's bookings, retries left out.
SELECT
    toString(logged_on) AS day,
    why.1 AS reason,
    why.2 AS refused,
    intDiv(20000 * refused + asked, 2 * asked) / 10000 AS share
FROM (
    SELECT
        logged_on,
        sum(records) AS asked,
        arrayJoin(arrayFilter(one -> one.2 > 0, groupArray((ifNull(toString(reason), ''), if(outcome = 'rejected', records, 0))))) AS why
    FROM (
        SELECT logged_on, reason, outcome, sum(records) AS records
        FROM outcomes_by_day
        WHERE logged_on >= toDate(intDiv(:from_ms, 86400000)) AND logged_on < toDate(intDiv(:to_ms, 86400000))
            AND kind = 'book' AND repeat = 0
        GROUP BY logged_on, reason, outcome
    )
    GROUP BY logged_on
)
ORDER BY day, refused DESC, reason
