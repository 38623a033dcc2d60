-- Step 10 of 11: makes flight_delay__windows_of_crews_by_base__377c6847ab9f
-- with as many rows as airline.staging.flight_delay__examples__3b2a5ba8fb0e
-- Different in every row: row_id
-- For the features: crew
-- @p1 INT64 = 86400000000
--
-- windows of crews by base, for each example.
-- A row counts from hired + 1d.
-- crew__size = size
-- crew__undecided = whether another row came as late as the one that is taken, and differs
WITH `step_stored` AS (
  SELECT
    `base`,
    `hired`,
    `size`
  FROM `airline.raw.crews`
  WHERE
    `hired` < CAST('2013-12-30 00:00:00+00:00' AS TIMESTAMP)
), `step_past` AS (
  SELECT
    `base`,
    UNIX_MICROS(SAFE.TIMESTAMP_MICROS(SAFE_ADD(UNIX_MICROS(`hired`), @p1))) AS `effect`,
    UNIX_MICROS(`hired`) AS `event_time`,
    `size`
  FROM `step_stored`
  WHERE
    NOT `base` IS NULL
), `step_decided` AS (
  SELECT
    *,
    LAST_VALUE(STRUCT(`size` AS `size`)) OVER (
      PARTITION BY `base`, `effect`
      ORDER BY `event_time`, `size`
      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    ) AS `row`,
    IF(
      COUNT(*) OVER (PARTITION BY `base`, `effect` ORDER BY `event_time`, `size`) = COUNT(*) OVER (PARTITION BY `base`, `effect`),
      RANK() OVER (PARTITION BY `base`, `effect` ORDER BY `event_time`) <> RANK() OVER (PARTITION BY `base`, `effect` ORDER BY `event_time`, `size`),
      NULL
    ) AS `size_2`
  FROM `step_past`
  WHERE
    NOT `effect` IS NULL AND `effect` < 1388448000000000
), `step_timeline` AS (
  SELECT
    `base`,
    `effect`,
    `row`,
    `size_2`,
    NULL AS `row_id`
  FROM `step_decided`
  UNION ALL
  SELECT
    `origin` AS `base`,
    `predict_at` AS `effect`,
    NULL AS `row`,
    NULL AS `size_2`,
    `row_id`
  FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
  WHERE
    NOT `origin` IS NULL AND NOT `predict_at` IS NULL
), `step_windows` AS (
  SELECT
    `row_id`,
    `effect`,
    LAST_VALUE(`row` IGNORE NULLS) OVER `past_lifetime` AS `crew__size`,
    LAST_VALUE(`size_2` IGNORE NULLS) OVER `past_lifetime` AS `crew__undecided`
  FROM `step_timeline`
  WINDOW `past_lifetime` AS (
    PARTITION BY `base`
    ORDER BY `effect`
    RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  )
)
SELECT
  `row_id`,
  `crew__size`.`size` AS `crew__size`,
  `crew__undecided`
FROM `step_windows`
WHERE
  NOT `row_id` IS NULL
UNION ALL
SELECT
  `row_id`,
  NULL AS `crew__size`,
  NULL AS `crew__undecided`
FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e`
WHERE
  `origin` IS NULL OR `predict_at` IS NULL
