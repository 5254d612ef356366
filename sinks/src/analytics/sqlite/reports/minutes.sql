-- arrivals are all records that the log took in that minute; minutes without any are left out.
SELECT
    strftime('%Y-%m-%dT%H:%MZ', logged_at_ms / 60000 * 60, 'unixepoch') AS minute,
    COUNT(*) AS arrivals,
    COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0 AND outcome = 'booked') AS booked,
    COUNT(*) FILTER (WHERE kind = 'book' AND repeat = 0 AND outcome = 'rejected') AS rejected,
    COUNT(*) FILTER (WHERE kind = 'cancel' AND outcome = 'cancelled') AS cancelled,
    COUNT(*) FILTER (WHERE repeat = 1) AS repeated,
    MAX(wait_ms) AS wait_max_ms
FROM decisions
WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
GROUP BY logged_at_ms / 60000
ORDER BY logged_at_ms / 60000
