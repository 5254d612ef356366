-- Whether anybody was decided out of order or overtaken, by department: both must be zero. out_of_order: decided
-- before a record that lies earlier in the same session's line. overtaken: booked after somebody earlier was told
-- "sold out", although no number came free in between. Each session's line is spelled, refused (r), freed (f) and
-- booked (b), so that who was overtaken is a b that follows an r without an f.
SELECT
    home AS department,
    sum(records) AS decided,
    sum(late) AS out_of_order,
    sum(length(replaceAll(arrayStringConcat(extractAll(line, 'r[rb]*')), 'r', ''))) AS overtaken
FROM (
    SELECT
        any(department) AS home,
        count() AS records,
        arrayMap(one -> one.2, arraySort(groupArray((log_offset, decided_at_ms)))) AS decided_at,
        arrayCount((now, before) -> now < before, decided_at, arrayPushFront(arrayPopBack(decided_at), decided_at[1])) AS late,
        arrayStringConcat(arrayMap(one -> one.2, arraySort(groupArray((log_offset, letter))))) AS line
    FROM (
        SELECT
            session_id,
            department,
            log_offset,
            decided_at_ms,
            multiIf(
                kind = 'book' AND repeat = 0 AND ifNull(reason, '') = 'sold_out', 'r',
                kind IN ('cancel', 'change_capacity', 'open_session') AND outcome != 'rejected', 'f',
                kind = 'book' AND repeat = 0 AND outcome = 'booked', 'b',
                ''
            ) AS letter
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms AND department IS NOT NULL
    )
    GROUP BY session_id
)
GROUP BY home
ORDER BY department
