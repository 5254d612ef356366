-- Bookings by the hour in UTC in which the log took them; hours without any are left out.
SELECT
    strftime('%Y-%m-%dT%H:00Z', logged_at_ms / 3600000 * 3600, 'unixepoch') AS hour,
    COUNT(*) AS demand,
    COUNT(*) FILTER (WHERE outcome = 'booked') AS booked,
    COUNT(*) FILTER (WHERE outcome = 'rejected') AS rejected
FROM decisions
WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND kind = 'book' AND repeat = 0
GROUP BY logged_at_ms / 3600000
ORDER BY logged_at_ms / 3600000
