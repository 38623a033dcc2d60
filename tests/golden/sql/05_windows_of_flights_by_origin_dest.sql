-- Step 5 of 11: makes flight_delay__windows_of_flights_by_origin_dest__ec81b5c1419a
-- with as many rows as airline.staging.flight_delay__examples__3b2a5ba8fb0e
-- Different in every row: row_id
-- For the features: spread
-- @p1 STRING = 'XX'
--
-- windows of flights by origin, dest, for each example.
-- A row counts from the latest of sched_dep and actual_arr.
-- route__spread_30d = stddev(arr_delay) over 30d where carrier != 'XX'
WITH `step_stored` AS (
  SELECT
    `origin`,
    `dest`,
    `sched_dep`,
    `actual_arr`,
    IF(IS_NAN(`arr_delay`), NULL, `arr_delay`) AS `arr_delay`,
    `carrier`
  FROM `airline.raw.flights`
  WHERE
    `sched_dep` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
    AND `actual_arr` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
), `step_past` AS (
  SELECT
    `origin`,
    `dest`,
    UNIX_MICROS(GREATEST(`sched_dep`, `actual_arr`)) AS `effect`,
    IF(`carrier` <> @p1, `arr_delay`, NULL) AS `arr_delay`
  FROM `step_stored`
  WHERE
    NOT `origin` IS NULL AND NOT `dest` IS NULL
), `step_timeline` AS (
  SELECT
    `origin`,
    `dest`,
    `effect`,
    `arr_delay`,
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
    NULL AS `arr_delay`,
    `row_id`
  FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
  WHERE
    NOT `origin` IS NULL AND NOT `dest` IS NULL AND NOT `predict_at` IS NULL
), `step_windows` AS (
  SELECT
    `row_id`,
    `effect`,
    STDDEV_POP(`arr_delay`) OVER `past_30d` AS `route__spread_30d`
  FROM `step_timeline`
  WINDOW `past_30d` AS (
    PARTITION BY `origin`, `dest`
    ORDER BY `effect`
    RANGE BETWEEN 2592000000000 PRECEDING AND 1 PRECEDING
  )
)
SELECT
  `row_id`,
  `route__spread_30d`
FROM `step_windows`
WHERE
  NOT `row_id` IS NULL
UNION ALL
SELECT
  `row_id`,
  NULL AS `route__spread_30d`
FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
WHERE
  `origin` IS NULL OR `dest` IS NULL OR `predict_at` IS NULL
