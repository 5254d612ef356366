-- Does trying again help: patients by how many bookings they asked for (8 stands for 8 and more), and how many of
-- them got at least one.
SELECT
    least(asked, 8) AS attempts,
    count() AS patients,
    countIf(got > 0) AS with_a_number,
    intDiv(20000 * with_a_number + patients, 2 * patients) / 10000 AS share
FROM (
    SELECT patient, count() AS asked, countIf(outcome = 'booked') AS got
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0 AND patient IS NOT NULL
    GROUP BY patient
)
GROUP BY attempts
ORDER BY attempts
