-- The share of retries, by department and what was asked: requests that repeat an earlier one's ticket. Many of them
-- mean clients that wait too short or answers that get lost. by_one_max is the most of one patient.
SELECT
    department,
    kind,
    sum(asked) AS requests,
    sum(again) AS retries,
    intDiv(20000 * retries + requests, 2 * requests) / 10000 AS share,
    countIf(again > 0) AS patients,
    max(again) AS by_one_max
FROM (
    SELECT department, toString(kind) AS kind, patient, count() AS asked, countIf(repeat = 1) AS again
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL AND patient IS NOT NULL
    GROUP BY department, kind, patient
)
GROUP BY department, kind
ORDER BY department, kind
