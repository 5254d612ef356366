-- Numbers given back, by department. booked_again are bookings of a number that had been booked before; cancel_rate
-- is of the bookings of that time, and passes 1 when older ones are given back.
SELECT
    department,
    countIf(kind = 'book' AND outcome = 'booked') AS booked,
    countIf(kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
    if(booked = 0, NULL, intDiv(20000 * cancelled + booked, greatest(2 * booked, 1)) / 10000) AS cancel_rate,
    booked - ifNull(uniqExactIf(session_id, number, kind = 'book' AND outcome = 'booked'), 0) AS booked_again,
    countIf(kind = 'cancel' AND outcome = 'rejected') AS refused,
    countIf(kind = 'close_session' AND outcome = 'applied') AS sessions_closed
FROM decisions FINAL
WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL AND repeat = 0
GROUP BY department
ORDER BY department
