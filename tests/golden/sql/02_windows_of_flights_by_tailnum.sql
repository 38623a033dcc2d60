-- Step 2 of 11: makes flight_delay__windows_of_flights_by_tailnum__b0eb90cfe05b
-- with as many rows as airline.staging.flight_delay__examples__3b2a5ba8fb0e
-- Different in every row: row_id
-- For the features: delay_week, delay_before, last, late, idle
-- @p1 FLOAT64 = 15.0
--
-- windows of flights by tailnum, for each example.
-- A row counts from the latest of sched_dep and actual_arr.
-- tail__delay_7d = mean(arr_delay) over 7d
-- tail__delay_14d_to_7d = mean(arr_delay) over 14d..7d
-- tail__last_lifetime = last(arr_delay) over lifetime
-- tail__late_7d = count() over 7d where arr_delay > 15.0
-- tail__idle_7d = time_since_last(arr_delay) over 7d
WITH `step_stored` AS (
  SELECT
    `Tail Number` AS `tailnum`,
    `sched_dep`,
    `actual_arr`,
    IF(IS_NAN(`arr_delay`), NULL, `arr_delay`) AS `arr_delay`
  FROM `airline.raw.flights`
  WHERE
    `sched_dep` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
    AND `actual_arr` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
), `step_past` AS (
  SELECT
    `tailnum`,
    UNIX_MICROS(GREATEST(`sched_dep`, `actual_arr`)) AS `effect`,
    UNIX_MICROS(`sched_dep`) AS `event_time`,
    `arr_delay`,
    IF(`arr_delay` > @p1, TRUE, NULL) AS `counted`
  FROM `step_stored`
  WHERE
    NOT `tailnum` IS NULL
), `step_decided` AS (
  SELECT
    *,
    LAST_VALUE(`arr_delay` IGNORE NULLS) OVER (
      PARTITION BY `tailnum`, `effect`
      ORDER BY `event_time`, `arr_delay`
      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    ) AS `arr_delay_2`
  FROM `step_past`
  WHERE
    NOT `effect` IS NULL AND `effect` < 1388448000000000
), `step_timeline` AS (
  SELECT
    `tailnum`,
    `effect`,
    `arr_delay`,
    `counted`,
    `arr_delay_2`,
    NULL AS `row_id`
  FROM `step_decided`
  UNION ALL
  SELECT
    `tailnum`,
    `predict_at` AS `effect`,
    NULL AS `arr_delay`,
    NULL AS `counted`,
    NULL AS `arr_delay_2`,
    `row_id`
  FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
  WHERE
    NOT `tailnum` IS NULL AND NOT `predict_at` IS NULL
), `step_windows` AS (
  SELECT
    `row_id`,
    `effect`,
    COUNT(`arr_delay`) OVER `past_7d` AS `tail__delay_7d`,
    SUM(`arr_delay`) OVER `past_7d` AS `tail__delay_7d_2`,
    COUNT(`arr_delay`) OVER `past_14d_to_7d` AS `tail__delay_14d_to_7d`,
    SUM(`arr_delay`) OVER `past_14d_to_7d` AS `tail__delay_14d_to_7d_2`,
    LAST_VALUE(`arr_delay_2` IGNORE NULLS) OVER `past_lifetime` AS `tail__last_lifetime`,
    COUNT(`counted`) OVER `past_7d` AS `tail__late_7d`,
    MAX(IF(`arr_delay` IS NULL, NULL, `effect`)) OVER `past_7d` AS `tail__idle_7d`
  FROM `step_timeline`
  WINDOW `past_7d` AS (
    PARTITION BY `tailnum`
    ORDER BY `effect`
    RANGE BETWEEN 604800000000 PRECEDING AND 1 PRECEDING
  ), `past_14d_to_7d` AS (
    PARTITION BY `tailnum`
    ORDER BY `effect`
    RANGE BETWEEN 1209600000000 PRECEDING AND 604800000001 PRECEDING
  ), `past_lifetime` AS (
    PARTITION BY `tailnum`
    ORDER BY `effect`
    RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  )
)
SELECT
  `row_id`,
  IEEE_DIVIDE(`tail__delay_7d_2`, `tail__delay_7d`) AS `tail__delay_7d`,
  IEEE_DIVIDE(`tail__delay_14d_to_7d_2`, `tail__delay_14d_to_7d`) AS `tail__delay_14d_to_7d`,
  `tail__last_lifetime`,
  `tail__late_7d`,
  (
    `effect` - `tail__idle_7d`
  ) / 1000000.0 AS `tail__idle_7d`
FROM `step_windows`
WHERE
  NOT `row_id` IS NULL
UNION ALL
SELECT
  `row_id`,
  NULL AS `tail__delay_7d`,
  NULL AS `tail__delay_14d_to_7d`,
  NULL AS `tail__last_lifetime`,
  0 AS `tail__late_7d`,
  NULL AS `tail__idle_7d`
FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
WHERE
  `tailnum` IS NULL OR `predict_at` IS NULL
