-- Patients who wanted a department on a day and got nothing there, against all who wanted it. turned_away_share is
-- theirs; only_sold_out are those of them whom nothing but "sold out" kept away.
SELECT
    department,
    day,
    count() AS patients,
    countIf(got = 0) AS turned_away,
    intDiv(20000 * turned_away + patients, 2 * patients) / 10000 AS turned_away_share,
    countIf(got = 0 AND sold_out = asked) AS only_sold_out
FROM (
    SELECT
        department,
        day,
        patient,
        count() AS asked,
        countIf(outcome = 'booked') AS got,
        countIf(ifNull(reason, '') = 'sold_out') AS sold_out
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
        AND kind = 'book' AND repeat = 0 AND department IS NOT NULL AND patient IS NOT NULL
    GROUP BY department, day, patient
)
GROUP BY department, day
ORDER BY turned_away DESC, department, day
