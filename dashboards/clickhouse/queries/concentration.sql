-- How demand gathers on few doctors: each doctor's share, and the share of all up to there, the most wanted first.
SELECT
    one.1 AS doctor_id,
    one.2 AS demand,
    intDiv(20000 * one.2 + total, 2 * total) / 10000 AS share,
    intDiv(20000 * one.3 + total, 2 * total) / 10000 AS share_so_far
FROM (
    SELECT
        groupArray(doctor) AS doctors,
        groupArray(asked) AS all_asked,
        arraySum(all_asked) AS total,
        arrayJoin(arrayMap(
            (doctor, asked, so_far) -> (doctor, asked, so_far),
            doctors, all_asked, arrayCumSum(all_asked)
        )) AS one
    FROM (
        SELECT assumeNotNull(toString(doctor_id)) AS doctor, count() AS asked
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
            AND kind = 'book' AND repeat = 0 AND doctor_id IS NOT NULL
        GROUP BY doctor
        ORDER BY asked DESC, doctor
    )
)
ORDER BY demand DESC, doctor_id
