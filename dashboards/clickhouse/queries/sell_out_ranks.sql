-- Doctors by how fast their sessions sell out: the time from the release to the last booking before the first "sold
-- out", the median over the sessions by nearest rank. Doctors that never sell out are left out.
SELECT
    doctor AS doctor_id,
    max(name) AS doctor_name,
    count() AS sessions,
    countIf(sold) AS sold_out,
    minIf(after_ms, sold) AS fastest_ms,
    quantileExactWeightedIf(0.5)(after_ms, 1, sold) AS median_ms,
    maxIf(after_ms, sold) AS slowest_ms
FROM (
    SELECT
        doctor,
        name,
        refused_ms > 0 AND notEmpty(booked_ms) AS sold,
        arrayReduce('max', booked_ms) - released_ms AS after_ms
    FROM (
        SELECT
            session_id,
            any(doctor_id) AS doctor,
            any(doctor_name) AS name,
            argMax(assumeNotNull(release_at_ms), log_offset) AS released_ms,
            minIf(logged_at_ms, kind = 'book' AND ifNull(reason, '') = 'sold_out') AS refused_ms,
            groupArrayIf(logged_at_ms, kind = 'book' AND repeat = 0 AND outcome = 'booked') AS all_booked_ms,
            arrayFilter(at -> at <= refused_ms, all_booked_ms) AS booked_ms
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND doctor_id IS NOT NULL
        GROUP BY session_id
    )
)
GROUP BY doctor
HAVING sold_out > 0
ORDER BY median_ms, doctor_id
