-- Numbers that were given back, by department: how many found another patient, and how long they lay free until
-- then, the median by nearest rank. A number is followed through its bookings and cancellations in the order of the
-- log.
SELECT
    department,
    count() AS given_back,
    countIf(gap_ms >= 0) AS taken_again,
    intDiv(20000 * taken_again + given_back, 2 * given_back) / 10000 AS share,
    if(taken_again = 0, NULL, quantileExactWeightedIf(0.5)(gap_ms, 1, gap_ms >= 0)) AS free_p50_ms,
    if(taken_again = 0, NULL, maxIf(gap_ms, gap_ms >= 0)) AS free_max_ms
FROM (
    SELECT
        department,
        arrayJoin(arrayFilter(at -> kinds[at] = 'cancel', arrayEnumerate(kinds))) AS place,
        if(place < length(kinds), times[place + 1] - times[place], -1) AS gap_ms
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
GROUP BY department
ORDER BY department
