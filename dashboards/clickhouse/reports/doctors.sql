-- Demand and what came of it, by doctor, the most wanted first. fill_rate is the share of the capacity that was
-- booked at least once, over the sessions that were asked for; a session counts where its newest row puts it.
SELECT
    doctor_id,
    name AS doctor_name,
    home AS department,
    sessions,
    demand,
    booked,
    rejected,
    sold_out,
    cancelled,
    capacity,
    intDiv(20000 * numbers + capacity, 2 * capacity) / 10000 AS fill_rate
FROM (
    SELECT
        doctor_id,
        max(doctor_name) AS name,
        max(department) AS home,
        countIf(kind = 'book' AND repeat = 0) AS demand,
        countIf(kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked,
        countIf(kind = 'book' AND repeat = 0 AND outcome = 'rejected') AS rejected,
        countIf(kind = 'book' AND repeat = 0 AND ifNull(reason, '') = 'sold_out') AS sold_out,
        countIf(kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
        ifNull(uniqExactIf(session_id, number, kind = 'book' AND outcome = 'booked'), 0) AS numbers
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND doctor_id IS NOT NULL
    GROUP BY doctor_id
) AS counts
INNER JOIN (
    SELECT newest AS doctor_id, count() AS sessions, sum(numbers_max) AS capacity
    FROM (
        SELECT argMax(doctor_id, log_offset) AS newest, argMax(capacity, log_offset) AS numbers_max
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND doctor_id IS NOT NULL
        GROUP BY session_id
    )
    GROUP BY newest
) AS totals USING (doctor_id)
ORDER BY demand DESC, doctor_id
