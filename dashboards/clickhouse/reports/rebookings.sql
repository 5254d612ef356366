-- Numbers that one patient gave back and another had within 10 seconds, by the two of them. gave and took stand for
-- patients; doctor_id is the doctor with whom it happened most often, doctor_times how often. Old servers have no
-- window functions: what became of a number is an array in the order of the log, and each place in it is looked at
-- with the one behind it.
SELECT
    gave,
    took,
    sum(doctor_gone) AS times,
    sum(doctor_sessions) AS sessions,
    count() AS doctors,
    tupleElement(arraySort(groupArray((-toInt64(doctor_gone), doctor)))[1], 2) AS doctor_id,
    max(doctor_gone) AS doctor_times,
    min(doctor_gap_ms) AS gap_min_ms
FROM (
    SELECT
        tupleElement(pair, 1) AS gave,
        tupleElement(pair, 2) AS took,
        tupleElement(pair, 3) AS doctor,
        count() AS doctor_gone,
        uniqExact(session_id) AS doctor_sessions,
        min(tupleElement(pair, 4)) AS doctor_gap_ms
    FROM (
        SELECT
            session_id,
            arrayJoin(arrayFilter(
                found -> tupleElement(found, 5) = 1 AND tupleElement(found, 1) != tupleElement(found, 2)
                    AND tupleElement(found, 4) <= 10000,
                arrayMap(
                    (one, next) -> (
                        tupleElement(one, 3),
                        tupleElement(next, 3),
                        tupleElement(one, 5),
                        tupleElement(next, 4) - tupleElement(one, 4),
                        toUInt8(tupleElement(one, 2) = 'cancel' AND tupleElement(next, 2) = 'book'
                            AND tupleElement(one, 3) != '' AND tupleElement(next, 3) != '')
                    ),
                    arrayPopBack(life), arrayPopFront(life)
                )
            )) AS pair
        FROM (
            SELECT
                session_id,
                number,
                arraySort(groupArray((log_offset, toString(kind), ifNull(patient, ''), logged_at_ms, assumeNotNull(toString(doctor_id))))) AS life
            FROM decisions FINAL
            WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND doctor_id IS NOT NULL AND repeat = 0
                AND (kind = 'book' AND outcome = 'booked' OR kind = 'cancel' AND outcome = 'cancelled')
            GROUP BY session_id, number
        )
    )
    GROUP BY gave, took, doctor
)
GROUP BY gave, took
ORDER BY times DESC, gave, took
LIMIT 1000
