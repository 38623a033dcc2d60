-- Step 8 of 11: makes flight_delay__windows_of_all_flights__0ceddda2e3ff
-- with as many rows as airline.staging.flight_delay__examples__3b2a5ba8fb0e
-- Different in every row: row_id
-- For the features: worst
--
-- windows of all flights, for each example.
-- A row counts from the latest of sched_dep and actual_arr.
-- network__worst_1d = max(arr_delay) over 1d
WITH `step_stored` AS (
  SELECT
    `sched_dep`,
    `actual_arr`,
    IF(IS_NAN(`arr_delay`), NULL, `arr_delay`) AS `arr_delay`
  FROM `airline.raw.flights`
  WHERE
    `sched_dep` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
    AND `actual_arr` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
), `step_past` AS (
  SELECT
    UNIX_MICROS(GREATEST(`sched_dep`, `actual_arr`)) AS `effect`,
    `arr_delay`
  FROM `step_stored`
), `step_timeline` AS (
  SELECT
    `effect`,
    `arr_delay`,
    NULL AS `row_id`
  FROM `step_past`
  WHERE
    NOT `effect` IS NULL
    AND `effect` >= 1356912000000000
    AND `effect` < 1388448000000000
  UNION ALL
  SELECT
    `predict_at` AS `effect`,
    NULL AS `arr_delay`,
    `row_id`
  FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
  WHERE
    NOT `predict_at` IS NULL
), `step_windows` AS (
  SELECT
    `row_id`,
    `effect`,
    MAX(`arr_delay`) OVER `past_1d` AS `network__worst_1d`
  FROM `step_timeline`
  WINDOW `past_1d` AS (ORDER BY `effect` RANGE BETWEEN 86400000000 PRECEDING AND 1 PRECEDING)
)
SELECT
  `row_id`,
  `network__worst_1d`
FROM `step_windows`
WHERE
  NOT `row_id` IS NULL
UNION ALL
SELECT
  `row_id`,
  NULL AS `network__worst_1d`
FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
WHERE
  `predict_at` IS NULL
