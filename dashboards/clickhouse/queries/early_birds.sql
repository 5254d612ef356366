-- Bookings that came before the release and were refused for it, by department: by how many patients, how early, and
-- how many of these patients got a number of the same session in the end.
SELECT
    department,
    sum(early) AS refused,
    count() AS patients,
    max(earliest_ms) AS early_max_ms,
    countIf(got > 0) AS booked_later,
    intDiv(20000 * booked_later + patients, 2 * patients) / 10000 AS share
FROM (
    SELECT
        department,
        session_id,
        patient,
        countIf(ifNull(reason, '') = 'not_released') AS early,
        maxIf(assumeNotNull(release_at_ms) - logged_at_ms, ifNull(reason, '') = 'not_released') AS earliest_ms,
        countIf(outcome = 'booked') AS got
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
        AND kind = 'book' AND repeat = 0 AND department IS NOT NULL AND patient IS NOT NULL
    GROUP BY department, session_id, patient
)
WHERE early > 0
GROUP BY department
ORDER BY department
