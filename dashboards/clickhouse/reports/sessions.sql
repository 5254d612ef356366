-- Demand against capacity of each session. sold_out_after_ms is the time from the session's release to the last
-- booking before the first "sold out"; NULL when nobody was refused for that.
SELECT
    session_id,
    newest_doctor_id AS doctor_id,
    newest_department AS department,
    newest_campus AS campus,
    newest_day AS day,
    newest_capacity AS capacity,
    demand,
    booked,
    sold_out,
    cancelled,
    intDiv(200 * demand + newest_capacity, 2 * newest_capacity) / 100 AS demand_per_number,
    if(empty(sold_at), NULL, arrayReduce('max', sold_at) - newest_release_at_ms) AS sold_out_after_ms
FROM (
    SELECT
        session_id,
        argMax(doctor_id, log_offset) AS newest_doctor_id,
        argMax(department, log_offset) AS newest_department,
        argMax(campus, log_offset) AS newest_campus,
        argMax(day, log_offset) AS newest_day,
        argMax(capacity, log_offset) AS newest_capacity,
        argMax(release_at_ms, log_offset) AS newest_release_at_ms,
        countIf(kind = 'book' AND repeat = 0) AS demand,
        countIf(kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked,
        countIf(kind = 'book' AND repeat = 0 AND ifNull(reason, '') = 'sold_out') AS sold_out,
        countIf(kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
        minIf(logged_at_ms, kind = 'book' AND ifNull(reason, '') = 'sold_out') AS refused_at,
        groupArrayIf(logged_at_ms, kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked_at,
        arrayFilter(at -> at <= refused_at, booked_at) AS sold_at
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL
    GROUP BY session_id
)
ORDER BY demand_per_number DESC, session_id
