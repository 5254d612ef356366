-- From what was offered to what was kept. offered are numbers; the steps after it are requests, each a part of the one
-- before; kept are bookings that nobody gave back in that time and whose session was not closed in it. share is of the
-- requests.
WITH
asked AS (
    SELECT * FROM decisions WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
),
-- The bare column capacity comes from the row that has the maximum: the newest.
capacities AS (
    SELECT session_id, capacity, MAX(log_offset) FROM asked WHERE capacity IS NOT NULL GROUP BY session_id
),
booking AS (
    SELECT outcome, COALESCE(reason, '') AS reason FROM asked WHERE kind = 'book' AND repeat = 0
),
-- What became of each number last, where its session was not closed. The bare column kind comes from the newest row.
lives AS (
    SELECT kind, MAX(log_offset)
    FROM asked
    WHERE repeat = 0 AND (kind = 'book' AND outcome = 'booked' OR kind = 'cancel' AND outcome = 'cancelled')
        AND session_id NOT IN (SELECT session_id FROM asked WHERE kind = 'close_session' AND outcome = 'applied')
    GROUP BY session_id, number
),
counts AS (
    SELECT
        (SELECT COALESCE(SUM(capacity), 0) FROM capacities) AS offered,
        COUNT(*) AS requested,
        COUNT(*) FILTER (WHERE reason NOT IN ('malformed', 'unknown_session', 'duplicate')) AS valid,
        COUNT(*) FILTER (WHERE outcome = 'booked' OR reason IN ('sold_out', 'already_booked')) AS in_time,
        COUNT(*) FILTER (WHERE outcome = 'booked' OR reason = 'sold_out') AS eligible,
        COUNT(*) FILTER (WHERE outcome = 'booked') AS booked,
        (SELECT COUNT(*) FROM lives WHERE kind = 'book') AS kept
    FROM booking
)
SELECT step, count, ROUND(1.0 * count / requested, 4) AS share
FROM (
    SELECT 1 AS place, 'offered' AS step, offered AS count, requested FROM counts
    UNION ALL SELECT 2, 'requested', requested, requested FROM counts
    UNION ALL SELECT 3, 'valid', valid, requested FROM counts
    UNION ALL SELECT 4, 'in_time', in_time, requested FROM counts
    UNION ALL SELECT 5, 'eligible', eligible, requested FROM counts
    UNION ALL SELECT 6, 'booked', booked, requested FROM counts
    UNION ALL SELECT 7, 'kept', kept, requested FROM counts
)
WHERE requested > 0
ORDER BY place
