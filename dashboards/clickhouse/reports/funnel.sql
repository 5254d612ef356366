-- From what was offered to what was kept. offered are numbers; the steps after it are requests, each a part of the
-- one before; kept are bookings that nobody gave back in that time and whose session was not closed in it. share is
-- of the requests.
SELECT
    one.2 AS step,
    one.3 AS count,
    intDiv(20000 * one.3 + requested, greatest(2 * requested, 1)) / 10000 AS share
FROM (
    SELECT
        requested,
        arrayJoin([
            (1, 'offered', offered),
            (2, 'requested', requested),
            (3, 'valid', valid),
            (4, 'in_time', in_time),
            (5, 'eligible', eligible),
            (6, 'booked', booked),
            (7, 'kept', toUInt64(kept))
        ]) AS one
    FROM (
        SELECT
            countIf(booking) AS requested,
            countIf(booking AND NOT (cause IN ('malformed', 'unknown_session', 'duplicate'))) AS valid,
            countIf(booking AND (outcome = 'booked' OR cause IN ('sold_out', 'already_booked'))) AS in_time,
            countIf(booking AND (outcome = 'booked' OR cause = 'sold_out')) AS eligible,
            countIf(booking AND outcome = 'booked') AS booked,
            (
                SELECT countIf(last = 'book')
                FROM (
                    SELECT argMax(toString(kind), log_offset) AS last
                    FROM decisions FINAL
                    WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND repeat = 0
                        AND (kind = 'book' AND outcome = 'booked' OR kind = 'cancel' AND outcome = 'cancelled')
                        AND NOT (session_id IN (
                            SELECT session_id
                            FROM decisions FINAL
                            WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
                                AND kind = 'close_session' AND outcome = 'applied'
                        ))
                    GROUP BY session_id, number
                )
            ) AS kept
        FROM (
            SELECT outcome, ifNull(reason, '') AS cause, kind = 'book' AND repeat = 0 AS booking
            FROM decisions FINAL
            WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
        )
    ) AS counts
    CROSS JOIN (
        SELECT toUInt64(ifNull(sum(newest), 0)) AS offered
        FROM (
            SELECT argMax(capacity, log_offset) AS newest
            FROM decisions FINAL
            WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND capacity IS NOT NULL
            GROUP BY session_id
        )
    ) AS totals
    WHERE requested > 0
)
ORDER BY one.1
