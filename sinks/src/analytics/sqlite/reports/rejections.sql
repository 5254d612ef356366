-- share is of all refused bookings.
SELECT
    reason,
    COUNT(*) AS rejected,
    ROUND(1.0 * COUNT(*) / SUM(COUNT(*)) OVER (), 4) AS share,
    COUNT(DISTINCT session_id) AS sessions
FROM decisions
WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0 AND outcome = 'rejected'
GROUP BY reason
ORDER BY rejected DESC, reason
