-- Both counts must be zero. out_of_order: decided before a record that lies earlier in the same session's line.
-- overtaken: booked after somebody earlier was told "sold out", although no number came free in between.
WITH asked AS (
    SELECT
        department, session_id, log_offset, kind, outcome, reason, repeat, decided_at_ms,
        LAG(decided_at_ms) OVER (PARTITION BY session_id ORDER BY log_offset) AS decided_before_ms
    FROM decisions
    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL
),
lined AS (
    SELECT
        department,
        decided_at_ms < decided_before_ms AS late,
        kind = 'book' AND outcome = 'booked' AND repeat = 0 AS booked,
        MAX(log_offset + 1) FILTER (WHERE kind = 'book' AND repeat = 0 AND reason = 'sold_out') OVER line AS refused_at,
        MAX(log_offset + 1) FILTER (
            WHERE kind IN ('cancel', 'change_capacity', 'open_session') AND outcome <> 'rejected'
        ) OVER line AS freed_at
    FROM asked
    WINDOW line AS (PARTITION BY session_id ORDER BY log_offset)
)
SELECT
    department,
    COUNT(*) AS decided,
    COUNT(*) FILTER (WHERE late) AS out_of_order,
    COUNT(*) FILTER (WHERE booked AND refused_at > COALESCE(freed_at, 0)) AS overtaken
FROM lined
GROUP BY department
ORDER BY department
