-- Step 11 of 11: makes flight_delay__aggregates__29441bc10e71
-- with as many rows as airline.staging.flight_delay__examples__3b2a5ba8fb0e
-- Different in every row: row_id
-- For the features: delay_week, delay_before, flights, flights_ever, last, ids, carriers,
--    carriers_ever, late, idle, typical, bad, spread, tails, usual, recent, worst, seats, weight,
--    crew
--
-- All aggregates and lookups, a row for each example.
SELECT
  `examples`.`row_id` AS `row_id`,
  `examples`.`flight_id` AS `flight_id`,
  `part_1`.`tail__delay_7d` AS `tail__delay_7d`,
  `part_1`.`tail__delay_14d_to_7d` AS `tail__delay_14d_to_7d`,
  `part_2`.`tail__flights_7d` AS `tail__flights_7d`,
  `part_2`.`tail__flights_lifetime` AS `tail__flights_lifetime`,
  `part_1`.`tail__last_lifetime` AS `tail__last_lifetime`,
  `part_2`.`tail__ids_7d` AS `tail__ids_7d`,
  `part_3`.`tail__carriers_7d` AS `tail__carriers_7d`,
  `part_2`.`tail__carriers_lifetime` AS `tail__carriers_lifetime`,
  `part_1`.`tail__late_7d` AS `tail__late_7d`,
  `part_1`.`tail__idle_7d` AS `tail__idle_7d`,
  `part_5`.`route__typical_30d` AS `route__typical_30d`,
  `part_5`.`route__bad_30d` AS `route__bad_30d`,
  `part_4`.`route__spread_30d` AS `route__spread_30d`,
  `part_5`.`route__tails_30d` AS `route__tails_30d`,
  `part_6`.`route__carrier_30d` AS `route__carrier_30d`,
  `part_5`.`route__recent_30d` AS `route__recent_30d`,
  `part_7`.`network__worst_1d` AS `network__worst_1d`,
  `part_8`.`plane__seats` AS `plane__seats`,
  `part_8`.`plane__weight` AS `plane__weight`,
  `part_9`.`crew__size` AS `crew__size`,
  `part_9`.`crew__undecided` AS `crew__undecided`
FROM `airline.staging.flight_delay__examples__3b2a5ba8fb0e` AS `examples`
LEFT JOIN `airline.staging.flight_delay__windows_of_flights_by_tailnum__b0eb90cfe05b` AS `part_1`
  ON `examples`.`row_id` = `part_1`.`row_id`
LEFT JOIN `airline.staging.flight_delay__windows_of_flights_by_tailnum__58868b63c913` AS `part_2`
  ON `examples`.`row_id` = `part_2`.`row_id`
LEFT JOIN `airline.staging.flight_delay__values_of_windows_of_flights_by_tailnum__be997dc06530` AS `part_3`
  ON `examples`.`row_id` = `part_3`.`row_id`
LEFT JOIN `airline.staging.flight_delay__windows_of_flights_by_origin_dest__ec81b5c1419a` AS `part_4`
  ON `examples`.`row_id` = `part_4`.`row_id`
LEFT JOIN `airline.staging.flight_delay__values_of_windows_of_flights_by_origin_dest__42865bc5916f` AS `part_5`
  ON `examples`.`row_id` = `part_5`.`row_id`
LEFT JOIN `airline.staging.flight_delay__values_of_windows_of_flights_by_origin_dest__1f08f4fc1cb3` AS `part_6`
  ON `examples`.`row_id` = `part_6`.`row_id`
LEFT JOIN `airline.staging.flight_delay__windows_of_all_flights__0ceddda2e3ff` AS `part_7`
  ON `examples`.`row_id` = `part_7`.`row_id`
LEFT JOIN `airline.staging.flight_delay__rows_of_planes_by_tailnum__24893d460507` AS `part_8`
  ON `examples`.`tailnum` = `part_8`.`tailnum`
LEFT JOIN `airline.staging.flight_delay__windows_of_crews_by_base__377c6847ab9f` AS `part_9`
  ON `examples`.`row_id` = `part_9`.`row_id`
