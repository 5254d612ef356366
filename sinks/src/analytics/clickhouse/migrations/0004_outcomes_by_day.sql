-- How many records had which outcome, by the day (UTC) on which the log took them. What arrived twice counts once: places in the
-- log are counted, not rows.
CREATE VIEW IF NOT EXISTS outcomes_by_day AS
SELECT
    logged_on, department, campus, kind, outcome, reason, repeat,
    uniqExact(partition, log_offset) AS records
FROM decisions
GROUP BY logged_on, department, campus, kind, outcome, reason, repeat
