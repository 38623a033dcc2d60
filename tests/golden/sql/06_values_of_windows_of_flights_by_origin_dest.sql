-- Step 6 of 11: makes flight_delay__values_of_windows_of_flights_by_origin_dest__42865bc5916f
-- with as many rows as airline.staging.flight_delay__examples__3b2a5ba8fb0e
-- Different in every row: row_id
-- For the features: typical, bad, tails, recent
-- @p1 FLOAT64 = 0.9
-- @p2 INT64 = 3
-- @p3 STRING = 'XX'
--
-- values of windows of flights by origin, dest, for each example.
-- A row counts from the latest of sched_dep and actual_arr.
-- route__typical_30d = median(arr_delay) over 30d where carrier != 'XX'
-- route__bad_30d = quantile(distance / arr_delay, q=0.9) over 30d where carrier != 'XX'
-- route__tails_30d = kurtosis(arr_delay) over 30d where carrier != 'XX'
-- route__recent_30d = last_k(arr_delay, k=3) over 30d where carrier != 'XX'
WITH `step_stored` AS (
  SELECT
    `origin`,
    `dest`,
    `sched_dep`,
    `actual_arr`,
    IF(IS_NAN(`arr_delay`), NULL, `arr_delay`) AS `arr_delay`,
    `carrier`,
    IF(IS_NAN(`distance`), NULL, `distance`) AS `distance`
  FROM `airline.raw.flights`
  WHERE
    `sched_dep` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
    AND `actual_arr` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
), `step_shared` AS (
  SELECT
    *,
    `carrier` <> @p3 AS `shared`,
    IEEE_DIVIDE(`distance`, `arr_delay`) AS `shared_2`
  FROM `step_stored`
), `step_past` AS (
  SELECT
    `origin`,
    `dest`,
    UNIX_MICROS(GREATEST(`sched_dep`, `actual_arr`)) AS `effect`,
    UNIX_MICROS(`sched_dep`) AS `event_time`,
    IF(`shared`, `arr_delay`, NULL) AS `arr_delay`,
    IF(`shared` AND NOT IS_NAN(`shared_2`), `shared_2`, NULL) AS `value`
  FROM `step_shared`
  WHERE
    NOT `origin` IS NULL AND NOT `dest` IS NULL
), `step_timeline` AS (
  SELECT
    `origin`,
    `dest`,
    `effect`,
    `event_time`,
    `arr_delay`,
    `value`,
    NULL AS `row_id`
  FROM `step_past`
  WHERE
    NOT `effect` IS NULL
    AND `effect` >= 1354406400000000
    AND `effect` < 1388448000000000
  UNION ALL
  SELECT
    `origin`,
    `dest`,
    `predict_at` AS `effect`,
    NULL AS `event_time`,
    NULL AS `arr_delay`,
    NULL AS `value`,
    `row_id`
  FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
  WHERE
    NOT `origin` IS NULL AND NOT `dest` IS NULL AND NOT `predict_at` IS NULL
), `step_windows` AS (
  SELECT
    `row_id`,
    `effect`,
    ARRAY_AGG(`arr_delay`) OVER `past_30d` AS `route__typical_30d`,
    ARRAY_AGG(`value`) OVER `past_30d` AS `route__bad_30d`,
    ARRAY_AGG(
      STRUCT(`effect` AS `effect`, `event_time` AS `event_time`, `arr_delay` AS `value`)
    ) OVER `past_30d` AS `route__recent_30d`
  FROM `step_timeline`
  WINDOW `past_30d` AS (
    PARTITION BY `origin`, `dest`
    ORDER BY `effect`
    RANGE BETWEEN 2592000000000 PRECEDING AND 1 PRECEDING
  )
)
SELECT
  `row_id`,
  (
    SELECT
      PERCENTILE_CONT(`value`, 0.5) OVER ()
    FROM UNNEST(`route__typical_30d`) AS `value`
    WHERE
      NOT `value` IS NULL
    LIMIT 1
  ) AS `route__typical_30d`,
  (
    SELECT
      PERCENTILE_CONT(`value`, @p1) OVER ()
    FROM UNNEST(`route__bad_30d`) AS `value`
    WHERE
      NOT `value` IS NULL
    LIMIT 1
  ) AS `route__bad_30d`,
  (
    SELECT
      IEEE_DIVIDE(AVG(POW(`unit`, 4)), POW(AVG(POW(`unit`, 2)), 2)) - 3
    FROM (
      SELECT
        IEEE_DIVIDE(`distance`, MAX(ABS(`distance`)) OVER ()) AS `unit`
      FROM (
        SELECT
          `shifted` - AVG(`shifted`) OVER () AS `distance`
        FROM (
          SELECT
            CAST(`value` AS FLOAT64) - MIN(CAST(`value` AS FLOAT64)) OVER () AS `shifted`
          FROM UNNEST(`route__typical_30d`) AS `value`
          WHERE
            NOT `value` IS NULL
        )
      )
    )
  ) AS `route__tails_30d`,
  ARRAY(
    SELECT
      `past`.`value`
    FROM UNNEST(`route__recent_30d`) AS `past`
    WHERE
      NOT `past`.`value` IS NULL
    ORDER BY
      `past`.`effect` DESC,
      `past`.`event_time` DESC,
      `past`.`value` DESC
    LIMIT @p2
  ) AS `route__recent_30d`
FROM `step_windows`
WHERE
  NOT `row_id` IS NULL
UNION ALL
SELECT
  `row_id`,
  NULL AS `route__typical_30d`,
  NULL AS `route__bad_30d`,
  NULL AS `route__tails_30d`,
  NULL AS `route__recent_30d`
FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
WHERE
  `origin` IS NULL OR `dest` IS NULL OR `predict_at` IS NULL
