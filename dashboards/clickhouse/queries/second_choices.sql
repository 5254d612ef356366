-- What patients did who were told "sold out", by department and the campus that refused them: another doctor of that
-- campus, another campus, the same session later (a number came free), or nothing that day.
SELECT
    department,
    campus,
    count() AS refused,
    countIf(again) AS same_session,
    countIf(NOT again AND has(booked_at, campus)) AS same_campus,
    countIf(NOT again AND NOT has(booked_at, campus) AND notEmpty(booked_at)) AS other_campus,
    countIf(empty(booked_at)) AS nothing
FROM (
    SELECT
        department,
        arrayJoin(arrayDistinct(refused_at)) AS campus,
        booked_at,
        length(arrayDistinct(arrayConcat(refused_in, booked_in))) < length(refused_in) + length(booked_in) AS again
    FROM (
        SELECT
            department,
            day,
            patient,
            groupArrayIf(assumeNotNull(toString(campus)), ifNull(reason, '') = 'sold_out') AS refused_at,
            groupUniqArrayIf(assumeNotNull(session_id), ifNull(reason, '') = 'sold_out') AS refused_in,
            groupArrayIf(assumeNotNull(toString(campus)), outcome = 'booked') AS booked_at,
            groupUniqArrayIf(assumeNotNull(session_id), outcome = 'booked') AS booked_in
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
            AND kind = 'book' AND repeat = 0 AND department IS NOT NULL AND patient IS NOT NULL
        GROUP BY department, day, patient
    )
)
GROUP BY department, campus
ORDER BY refused DESC, department, campus
