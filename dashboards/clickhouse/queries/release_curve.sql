-- How soon after the release bookings are made, by department: how many of them within a second, ten seconds, a
-- minute, an hour, and later. A release that is over within a second is a lottery of connections, not a queue.
SELECT
    department,
    count() AS booked,
    countIf(after_ms < 1000) AS within_1_s,
    countIf(after_ms < 10000) AS within_10_s,
    countIf(after_ms < 60000) AS within_1_min,
    countIf(after_ms < 3600000) AS within_1_h,
    countIf(after_ms >= 3600000) AS later,
    intDiv(20000 * within_1_min + booked, 2 * booked) / 10000 AS first_minute_share
FROM (
    SELECT department, logged_at_ms - assumeNotNull(release_at_ms) AS after_ms
    FROM decisions FINAL
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
        AND kind = 'book' AND repeat = 0 AND outcome = 'booked' AND release_at_ms IS NOT NULL
)
GROUP BY department
ORDER BY department
