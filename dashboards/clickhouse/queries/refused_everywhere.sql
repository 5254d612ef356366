-- The hundred patients who tried most and never got anything, by what stands for them: whom a hospital may want to
-- call.
SELECT
    assumeNotNull(patient) AS who,
    count() AS attempts,
    ifNull(uniqExact(session_id), 0) AS sessions,
    ifNull(uniqExactIf(department, department IS NOT NULL), 0) AS departments,
    countIf(ifNull(reason, '') = 'sold_out') AS sold_out,
    formatDateTime(toDateTime(intDiv(min(logged_at_ms), 1000), 'UTC'), '%F %T', ':zone') AS first_at,
    formatDateTime(toDateTime(intDiv(max(logged_at_ms), 1000), 'UTC'), '%F %T', ':zone') AS last_at
FROM decisions FINAL
WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0 AND patient IS NOT NULL
GROUP BY patient
HAVING countIf(outcome = 'booked') = 0
ORDER BY attempts DESC, who
LIMIT 100
