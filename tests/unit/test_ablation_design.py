"""How features become the columns of a linear model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from featurekit.analysis.ablation.design import LEAST_ROWS, Design, fit_design
from featurekit.errors import UsageError


def written(frame: pl.DataFrame, design: Design, order: np.ndarray | None = None) -> np.ndarray:
    """Return the design columns of all rows."""
    out = np.empty((frame.height if order is None else len(order), design.width), order="F")
    design.write(frame, order, out)
    return out


def test_a_number_is_its_distance_from_the_mean_of_all_rows() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 6.0], "n": [10, 20, 30], "yes": [True, False, False]})
    design = fit_design(frame.lazy(), ["n", "x", "yes"])
    assert design.names == ("n", "x", "yes")
    expected = [[-10.0, -2.0, 2 / 3], [0.0, -1.0, -1 / 3], [10.0, 3.0, -1 / 3]]
    np.testing.assert_allclose(written(frame, design), expected)


def test_a_missing_or_infinite_number_is_zero_beside_an_indicator() -> None:
    values = [1.0, None, float("nan"), float("inf"), 3.0]
    frame = pl.DataFrame({"x": values, "n": [1, None, 3, 4, 5]})
    design = fit_design(frame.lazy(), ["x", "n"])
    assert design.imputed.tolist() == [[0, 1], [2, 3]]
    columns = written(frame, design)
    np.testing.assert_allclose(columns[:, 0], [-1.0, 0.0, 0.0, 0.0, 1.0])
    assert columns[:, 1].tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    np.testing.assert_allclose(columns[:, 2], [-2.25, 0.0, -0.25, 0.75, 1.75])
    assert columns[:, 3].tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]


def test_a_vector_has_a_column_for_each_element_and_one_indicator() -> None:
    vectors = pl.Series("v", [[1.0, 2.0], [3.0, None], None, [5.0, 6.0]],
                        dtype=pl.Array(pl.Float32, 2))  # fmt: skip
    frame = pl.DataFrame([vectors])
    design = fit_design(frame.lazy(), ["v"])
    assert (design.width, design.imputed.tolist()) == (3, [[0, 2], [1, 2]])
    columns = written(frame, design)
    np.testing.assert_allclose(columns[:, 0], [-2.0, 0.0, 0.0, 2.0])
    np.testing.assert_allclose(columns[:, 1], [-2.0, 0.0, 0.0, 2.0])
    assert columns[:, 2].tolist() == [0.0, 1.0, 1.0, 0.0]


def test_times_and_durations_are_numbers() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = [start, start + timedelta(microseconds=2), None]
    frame = pl.DataFrame({"at": times, "took": [timedelta(0), None, timedelta(microseconds=4)]})
    columns = written(frame, fit_design(frame.lazy(), ["at", "took"]))
    np.testing.assert_allclose(columns, [[-1, 0, -2, 0], [1, 0, 0, 1], [0, 1, 2, 0]])


def words(counts: dict[str | None, int]) -> pl.DataFrame:
    return pl.DataFrame({"w": [word for word, count in counts.items() for _ in range(count)]})


def test_frequent_values_have_an_indicator_and_the_others_share_one() -> None:
    few = LEAST_ROWS - 1
    frame = words({"usual": 100, "often": 50, "equal b": 30, "equal a": 30, "few": few, None: 7})
    design = fit_design(frame.lazy(), ["w"])
    (encoding,) = design.features
    # Equally frequent values are ordered by themselves, not by their rows.
    assert encoding.levels == ("often", "equal a", "equal b")
    assert (encoding.reference, encoding.rare, encoding.missing) == ("usual", True, True)
    assert written(frame, design).sum(axis=0).tolist() == [50, 30, 30, few, 7]


def test_the_number_of_indicators_is_bounded() -> None:
    frame = words({f"{place:03}": LEAST_ROWS for place in range(200)})
    design = fit_design(frame.lazy(), ["w"], max_levels=10)
    assert design.width == 11
    columns = written(frame, design)
    assert columns.sum(axis=0).tolist() == [LEAST_ROWS] * 10 + [189 * LEAST_ROWS]
    assert columns.sum(axis=1).max() == 1.0


def test_numbers_can_be_declared_categories() -> None:
    frame = pl.DataFrame({"id": [3] * 40 + [-1] * 30 + [7] * 20})
    design = fit_design(frame.lazy(), ["id"], categorical=["id"])
    assert (design.features[0].reference, design.features[0].levels) == ("3", ("-1", "7"))
    assert written(frame, design).sum(axis=0).tolist() == [30, 20]


def test_rows_are_written_in_the_order_that_is_asked_for() -> None:
    frame = pl.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "n": [None, 1, 2, 3], "w": ["a", "b"] * 2})
    design = fit_design(frame.lazy(), ["x", "n", "w"])
    order = np.array([2, 0, 3])
    np.testing.assert_array_equal(written(frame, design, order), written(frame, design)[order])


def test_a_feature_without_values_is_a_column_of_zeros() -> None:
    nothing = pl.DataFrame(
        {
            "x": pl.Series([None, float("nan"), float("inf")], dtype=pl.Float64),
            "w": pl.Series([None] * 3, dtype=pl.String),
            "y": [1.0, 2.0, 3.0],
        }
    )
    columns = written(nothing, fit_design(nothing.lazy(), ["x", "w", "y"]))
    # Behind the zeros the indicator of x, which all rows have: a constant, too.
    assert columns.tolist() == [[0.0, 1.0, 0.0, -1.0], [0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]]


@pytest.mark.parametrize("size", [1e300, 1.7e308, 1e-300, 5e-324])
def test_numbers_whose_squares_are_out_of_range_are_scaled_by_a_power_of_two(size: float) -> None:
    frame = pl.DataFrame({"x": [size, -size, size, None, float("inf")]})
    (encoding,) = (design := fit_design(frame.lazy(), ["x"])).features
    assert np.frexp(encoding.scales[0])[0] == 0.5
    columns = written(frame, design)
    assert np.isfinite(columns**2).all()
    assert columns[3:].tolist() == [[0.0, 1.0], [0.0, 1.0]]
    # Of three values v, -v, v the mean is v / 3.
    np.testing.assert_allclose(columns[:3, 0] / columns[0, 0], [1.0, -2.0, 1.0])


def test_what_no_column_can_be_made_of_is_refused_by_name() -> None:
    nothing = pl.LazyFrame({"y": [[1], []]})
    with pytest.raises(UsageError, match="'y' is List"):
        fit_design(nothing, ["y"])
    with pytest.raises(UsageError, match="no column is called 'xx'"):
        fit_design(nothing, ["xx"])
