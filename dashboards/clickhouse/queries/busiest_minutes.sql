-- The ten minutes in which most was asked, in the hospital's zone, and how long their decisions took: what the next
-- release has to bear. per_patient is how often one asked, retries included.
SELECT
    formatDateTime(toDateTime(since_epoch * 60, 'UTC'), '%F %R', ':zone') AS minute,
    arrivals,
    patients,
    if(patients = 0, NULL, intDiv(200 * of_patients + patients, greatest(2 * patients, 1)) / 100) AS per_patient,
    busiest_second,
    longest AS wait_max_ms
FROM (
    SELECT
        intDiv(second, 60) AS since_epoch,
        sum(asked) AS arrivals,
        max(asked) AS busiest_second,
        sum(asked_by_patients) AS of_patients,
        uniqExactMerge(who) AS patients,
        max(wait_max) AS longest
    FROM (
        SELECT
            intDiv(logged_at_ms, 1000) AS second,
            count() AS asked,
            countIf(patient IS NOT NULL) AS asked_by_patients,
            uniqExactStateIf(ifNull(patient, ''), patient IS NOT NULL) AS who,
            max(wait_ms) AS wait_max
        FROM decisions FINAL
        WHERE logged_at_ms >= :from_ms AND logged_at_ms < :to_ms
        GROUP BY second
    )
    GROUP BY since_epoch
)
ORDER BY arrivals DESC, minute
LIMIT 10
