-- Step 1 of 11: makes flight_delay__examples__3b2a5ba8fb0e
-- with as many rows as airline.raw.flights
-- Different in every row: flight_id
-- For the features: delay_week, delay_before, flights, flights_ever, last, ids, carriers,
--    carriers_ever, late, idle, typical, bad, spread, tails, usual, recent, worst, seats, weight,
--    crew
-- @p1 INT64 = 7200000000
--
-- The examples: flights, a row for each, numbered, and what is looked up for them.
-- predict_at = sched_dep - 2h
WITH `step_stored` AS (
  SELECT
    `sched_dep`,
    `Tail Number` AS `tailnum`,
    `origin`,
    `dest`,
    `flight_id`
  FROM `airline.raw.flights`
), `step_grouped` AS (
  SELECT
    `flight_id`,
    UNIX_MICROS(SAFE.TIMESTAMP_MICROS(SAFE_SUBTRACT(UNIX_MICROS(`sched_dep`), @p1))) AS `predict_at`,
    `tailnum`,
    `origin`,
    `dest`,
    FARM_FINGERPRINT(TO_JSON_STRING(STRUCT(`flight_id`))) & 1023 AS `bucket`
  FROM `step_stored`
)
SELECT
  (
    (
      ROW_NUMBER() OVER (PARTITION BY `bucket` ORDER BY `flight_id`)
    ) * 1024
  ) + `bucket` AS `row_id`,
  `flight_id`,
  `predict_at`,
  `tailnum`,
  `origin`,
  `dest`
FROM `step_grouped`
