-- Cancellations by the days between them and the session's day in the hospital's zone, and how many of these numbers
-- found another patient: how late a number can come back and still be of use.
SELECT
    notice_days,
    count() AS given_back,
    countIf(again) AS taken_again,
    intDiv(20000 * taken_again + given_back, 2 * given_back) / 10000 AS share
FROM (
    SELECT
        arrayJoin(arrayFilter(at -> kinds[at] = 'cancel', arrayEnumerate(kinds))) AS place,
        place < length(kinds) AS again,
        toDate(toDateTime(intDiv(times[place], 1000), ':zone'), ':zone') AS asked_on,
        toInt32(assumeNotNull(clinic_day)) - toInt32(asked_on) AS notice_days
    FROM (
        SELECT
            department,
            clinic_day,
            session_id,
            number,
            arraySort(groupArray((log_offset, toString(kind), logged_at_ms))) AS life,
            arrayMap(one -> one.2, life) AS kinds,
            arrayMap(one -> one.3, life) AS times
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL AND repeat = 0
            AND (kind = 'book' AND outcome = 'booked' OR kind = 'cancel' AND outcome = 'cancelled')
        GROUP BY department, clinic_day, session_id, number
    )
)
GROUP BY notice_days
ORDER BY notice_days
