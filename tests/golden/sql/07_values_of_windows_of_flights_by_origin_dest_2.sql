-- Step 7 of 11: makes flight_delay__values_of_windows_of_flights_by_origin_dest__1f08f4fc1cb3
-- with as many rows as airline.staging.flight_delay__examples__3b2a5ba8fb0e
-- Different in every row: row_id
-- For the features: usual
-- @p1 STRING = 'XX'
--
-- values of windows of flights by origin, dest, for each example.
-- A row counts from sched_dep.
-- route__carrier_30d = most_frequent(carrier) over 30d where carrier != 'XX'
WITH `step_stored` AS (
  SELECT
    `origin`,
    `dest`,
    `sched_dep`,
    `carrier`
  FROM `airline.raw.flights`
  WHERE
    `sched_dep` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
    AND `sched_dep` >= CAST('2012-12-02 00:00:00+00:00' AS TIMESTAMP)
), `step_past` AS (
  SELECT
    `origin`,
    `dest`,
    UNIX_MICROS(`sched_dep`) AS `effect`,
    IF(`carrier` <> @p1, `carrier`, NULL) AS `carrier`
  FROM `step_stored`
  WHERE
    NOT `origin` IS NULL AND NOT `dest` IS NULL
), `step_timeline` AS (
  SELECT
    `origin`,
    `dest`,
    `effect`,
    `carrier`,
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
    NULL AS `carrier`,
    `row_id`
  FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
  WHERE
    NOT `origin` IS NULL AND NOT `dest` IS NULL AND NOT `predict_at` IS NULL
), `step_windows` AS (
  SELECT
    `row_id`,
    `effect`,
    ARRAY_AGG(`carrier`) OVER `past_30d` AS `route__carrier_30d`
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
      `value`
    FROM UNNEST(`route__carrier_30d`) AS `value`
    WHERE
      NOT `value` IS NULL
    GROUP BY
      `value`
    ORDER BY
      COUNT(*) DESC,
      `value` DESC
    LIMIT 1
  ) AS `route__carrier_30d`
FROM `step_windows`
WHERE
  NOT `row_id` IS NULL
UNION ALL
SELECT
  `row_id`,
  NULL AS `route__carrier_30d`
FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
WHERE
  `origin` IS NULL OR `dest` IS NULL OR `predict_at` IS NULL
