-- Doctors whose capacity should grow: patients who were told "sold out" by a doctor and never got a number of that
-- doctor, against those who did. per_session is how many numbers more each sold-out session would have needed.
SELECT
    doctor_id,
    name AS doctor_name,
    unserved,
    served,
    intDiv(20000 * unserved + people, 2 * people) / 10000 AS unserved_share,
    sessions AS sold_out_sessions,
    intDiv(unserved + sessions - 1, sessions) AS per_session
FROM (
    SELECT
        doctor_id,
        max(doctor) AS name,
        countIf(got > 0) AS served,
        countIf(got = 0 AND notEmpty(refused_in)) AS unserved,
        served + unserved AS people,
        length(groupUniqArrayArray(refused_in)) AS sessions
    FROM (
        SELECT
            doctor_id,
            patient,
            max(doctor_name) AS doctor,
            countIf(outcome = 'booked') AS got,
            groupUniqArrayIf(assumeNotNull(session_id), ifNull(reason, '') = 'sold_out') AS refused_in
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
            AND kind = 'book' AND repeat = 0 AND doctor_id IS NOT NULL AND patient IS NOT NULL
        GROUP BY doctor_id, patient
    )
    GROUP BY doctor_id
)
WHERE unserved > 0
ORDER BY unserved DESC, doctor_id
