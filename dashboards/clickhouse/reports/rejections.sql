-- Why bookings were refused; share is of all refused bookings.
WITH (
    SELECT count()
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0 AND outcome = 'rejected'
) AS refused
SELECT
    reason,
    count() AS rejected,
    intDiv(20000 * rejected + refused, greatest(2 * refused, 1)) / 10000 AS share,
    ifNull(uniqExact(session_id), 0) AS sessions
FROM decisions FINAL
WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0 AND outcome = 'rejected'
GROUP BY reason
ORDER BY rejected DESC, reason
