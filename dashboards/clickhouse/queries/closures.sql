-- Sessions that were closed and when, how many patients lost their number by it, and how many of these have booked
-- another session of the department since.
SELECT
    session_id,
    any(doctor) AS doctor_id,
    any(clinic) AS day,
    formatDateTime(toDateTime(intDiv(any(closed_ms), 1000), 'UTC'), '%F %R', ':zone') AS closed_at,
    countIf(holds > 0) AS lost,
    countIf(holds > 0 AND last_booked_ms > closed_ms) AS booked_elsewhere
FROM (
    SELECT session_id, doctor, clinic, closed_ms, holds, home, who
    FROM (
        SELECT
            session_id,
            any(doctor_id) AS doctor,
            any(day) AS clinic,
            max(logged_at_ms) AS closed_ms
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
            AND kind = 'close_session' AND outcome = 'applied' AND department IS NOT NULL
        GROUP BY session_id
    ) AS closed
    INNER JOIN (
        SELECT
            session_id,
            assumeNotNull(toString(department)) AS home,
            ifNull(patient, '') AS who,
            toInt64(countIf(outcome = 'booked')) - toInt64(countIf(outcome = 'cancelled')) AS holds
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND repeat = 0 AND department IS NOT NULL
        GROUP BY session_id, home, who
    ) AS holders USING (session_id)
) AS affected
LEFT JOIN (
    SELECT
        assumeNotNull(toString(department)) AS home,
        assumeNotNull(patient) AS who,
        max(logged_at_ms) AS last_booked_ms
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
        AND kind = 'book' AND repeat = 0 AND outcome = 'booked' AND department IS NOT NULL AND patient IS NOT NULL
    GROUP BY home, who
) AS later USING (home, who)
GROUP BY session_id
ORDER BY day, session_id
