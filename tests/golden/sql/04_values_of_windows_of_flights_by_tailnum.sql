-- Step 4 of 11: makes flight_delay__values_of_windows_of_flights_by_tailnum__be997dc06530
-- with as many rows as airline.staging.flight_delay__examples__3b2a5ba8fb0e
-- Different in every row: row_id
-- For the features: carriers
--
-- values of windows of flights by tailnum, for each example.
-- A row counts from sched_dep.
-- tail__carriers_7d = count_distinct(carrier) over 7d
WITH `step_stored` AS (
  SELECT
    `Tail Number` AS `tailnum`,
    `sched_dep`,
    `carrier`
  FROM `airline.raw.flights`
  WHERE
    `sched_dep` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
    AND `sched_dep` >= CAST('2012-12-25 00:00:00+00:00' AS TIMESTAMP)
), `step_past` AS (
  SELECT
    `tailnum`,
    UNIX_MICROS(`sched_dep`) AS `effect`,
    `carrier`
  FROM `step_stored`
  WHERE
    NOT `tailnum` IS NULL
), `step_timeline` AS (
  SELECT
    `tailnum`,
    `effect`,
    `carrier`,
    NULL AS `row_id`
  FROM `step_past`
  WHERE
    NOT `effect` IS NULL
    AND `effect` >= 1356393600000000
    AND `effect` < 1388448000000000
  UNION ALL
  SELECT
    `tailnum`,
    `predict_at` AS `effect`,
    NULL AS `carrier`,
    `row_id`
  FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
  WHERE
    NOT `tailnum` IS NULL AND NOT `predict_at` IS NULL
), `step_windows` AS (
  SELECT
    `row_id`,
    `effect`,
    ARRAY_AGG(`carrier`) OVER `past_7d` AS `tail__carriers_7d`
  FROM `step_timeline`
  WINDOW `past_7d` AS (
    PARTITION BY `tailnum`
    ORDER BY `effect`
    RANGE BETWEEN 604800000000 PRECEDING AND 1 PRECEDING
  )
)
SELECT
  `row_id`,
  (
    SELECT
      COUNT(DISTINCT `value`)
    FROM UNNEST(`tail__carriers_7d`) AS `value`
    WHERE
      NOT `value` IS NULL
  ) AS `tail__carriers_7d`
FROM `step_windows`
WHERE
  NOT `row_id` IS NULL
UNION ALL
SELECT
  `row_id`,
  0 AS `tail__carriers_7d`
FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
WHERE
  `tailnum` IS NULL OR `predict_at` IS NULL
