-- Step 3 of 11: makes flight_delay__windows_of_flights_by_tailnum__58868b63c913
-- with as many rows as airline.staging.flight_delay__examples__3b2a5ba8fb0e
-- Different in every row: row_id
-- For the features: flights, flights_ever, ids, carriers_ever
--
-- windows of flights by tailnum, for each example.
-- A row counts from sched_dep.
-- tail__flights_7d = count() over 7d
-- tail__flights_lifetime = count() over lifetime
-- tail__ids_7d = sum(flight_id) over 7d
-- tail__carriers_lifetime = count_distinct(carrier) over lifetime
WITH `step_stored` AS (
  SELECT
    `Tail Number` AS `tailnum`,
    `sched_dep`,
    `flight_id`,
    `carrier`
  FROM `airline.raw.flights`
  WHERE
    `sched_dep` < CAST('2013-12-31 00:00:00+00:00' AS TIMESTAMP)
), `step_past` AS (
  SELECT
    `tailnum`,
    UNIX_MICROS(`sched_dep`) AS `effect`,
    TRUE AS `counted`,
    `flight_id`,
    `carrier`
  FROM `step_stored`
  WHERE
    NOT `tailnum` IS NULL
), `step_decided` AS (
  SELECT
    *,
    NOT `carrier` IS NULL
    AND ROW_NUMBER() OVER (PARTITION BY `tailnum`, `carrier` ORDER BY `effect`) = 1 AS `carrier_2`
  FROM `step_past`
  WHERE
    NOT `effect` IS NULL AND `effect` < 1388448000000000
), `step_timeline` AS (
  SELECT
    `tailnum`,
    `effect`,
    `counted`,
    `flight_id`,
    `carrier_2`,
    NULL AS `row_id`
  FROM `step_decided`
  UNION ALL
  SELECT
    `tailnum`,
    `predict_at` AS `effect`,
    NULL AS `counted`,
    NULL AS `flight_id`,
    NULL AS `carrier_2`,
    `row_id`
  FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
  WHERE
    NOT `tailnum` IS NULL AND NOT `predict_at` IS NULL
), `step_windows` AS (
  SELECT
    `row_id`,
    `effect`,
    COUNT(`counted`) OVER `past_7d` AS `tail__flights_7d`,
    COUNT(`counted`) OVER `past_lifetime` AS `tail__flights_lifetime`,
    SUM(CAST(`flight_id` AS NUMERIC)) OVER `past_7d` AS `tail__ids_7d`,
    COUNTIF(`carrier_2`) OVER `past_lifetime` AS `tail__carriers_lifetime`
  FROM `step_timeline`
  WINDOW `past_7d` AS (
    PARTITION BY `tailnum`
    ORDER BY `effect`
    RANGE BETWEEN 604800000000 PRECEDING AND 1 PRECEDING
  ), `past_lifetime` AS (
    PARTITION BY `tailnum`
    ORDER BY `effect`
    RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  )
)
SELECT
  `row_id`,
  `tail__flights_7d`,
  `tail__flights_lifetime`,
  CAST((
    SELECT
      CASE
        WHEN `v1` >= CAST('9223372036854775808' AS BIGNUMERIC)
        THEN `v1` - CAST('18446744073709551616' AS BIGNUMERIC)
        WHEN `v1` < (
          -CAST('9223372036854775808' AS BIGNUMERIC)
        )
        THEN `v1` + CAST('18446744073709551616' AS BIGNUMERIC)
        ELSE `v1`
      END
    FROM (
      SELECT
        MOD(CAST(`tail__ids_7d` AS BIGNUMERIC), CAST('18446744073709551616' AS BIGNUMERIC)) AS `v1`
    )
  ) AS INT64) AS `tail__ids_7d`,
  `tail__carriers_lifetime`
FROM `step_windows`
WHERE
  NOT `row_id` IS NULL
UNION ALL
SELECT
  `row_id`,
  0 AS `tail__flights_7d`,
  0 AS `tail__flights_lifetime`,
  NULL AS `tail__ids_7d`,
  0 AS `tail__carriers_lifetime`
FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
WHERE
  `tailnum` IS NULL OR `predict_at` IS NULL
