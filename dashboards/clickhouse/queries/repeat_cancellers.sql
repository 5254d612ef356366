-- Patients who gave back two numbers or more, by what stands for them: the shorter the notice, the likelier a place
-- stays empty. A notice is from the cancellation to the session's day in the hospital's zone.
SELECT
    assumeNotNull(patient) AS who,
    countIf(kind = 'book') AS booked,
    countIf(kind = 'cancel') AS cancelled,
    ifNull(uniqExactIf(doctor_id, kind = 'cancel'), 0) AS doctors,
    minIf(notice_days, kind = 'cancel') AS notice_min_days,
    maxIf(notice_days, kind = 'cancel') AS notice_max_days
FROM (
    SELECT
        patient,
        kind,
        doctor_id,
        toDate(toDateTime(intDiv(logged_at_ms, 1000), ':zone'), ':zone') AS asked_on,
        toInt32(assumeNotNull(clinic_day)) - toInt32(asked_on) AS notice_days
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
        AND repeat = 0 AND patient IS NOT NULL AND clinic_day IS NOT NULL
        AND (kind = 'book' AND outcome = 'booked' OR kind = 'cancel' AND outcome = 'cancelled')
)
GROUP BY patient
HAVING cancelled >= 2
ORDER BY cancelled DESC, who
LIMIT 1000
