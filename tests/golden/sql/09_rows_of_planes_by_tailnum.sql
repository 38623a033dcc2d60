-- Step 9 of 11: makes flight_delay__rows_of_planes_by_tailnum__24893d460507
-- Different in every row: tailnum
-- For the features: seats, weight
--
-- rows of planes by tailnum, one for each key.
-- plane__seats = seats
-- plane__weight = weight
WITH `step_stored` AS (
  SELECT
    `tailnum`,
    `seats`,
    (
      SELECT
        CASE
          WHEN ABS(`v2`) < 1.1754942807573643e-38
          THEN `v2` * 0.0
          WHEN ABS(`v2`) >= 3.4028235677973366e+38
          THEN `v2` * CAST('inf' AS FLOAT64)
          ELSE SIGN(`v2`) * (
            SELECT
              (
                ABS(`v2`) + `v1`
              ) - `v1`
            FROM (
              SELECT
                (
                  (
                    LEAST(GREATEST(ABS(`v2`), 1.1754943508222875e-38), 3.402823669209385e+38) * 4503599627370497.0
                  ) - (
                    (
                      LEAST(GREATEST(ABS(`v2`), 1.1754943508222875e-38), 3.402823669209385e+38) * 4503599627370497.0
                    ) * 0.9999999999999999
                  )
                ) * 805306368.0 AS `v1`
            )
          )
        END
      FROM (
        SELECT
          IF(IS_NAN(`weight`), NULL, `weight`) AS `v2`
      )
    ) AS `weight`
  FROM `airline.raw.planes`
)
SELECT
  `tailnum`,
  `seats` AS `plane__seats`,
  `weight` AS `plane__weight`
FROM `step_stored`
WHERE
  NOT `tailnum` IS NULL
