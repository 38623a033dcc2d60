"""Bad past rows: one clear error each, exit code 3 or 4, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurekit.engines import history
from featurekit.errors import DataError, EngineError, FeatureKitError, SpecError, SpecErrors
from featurekit.job import run
from featurekit.spec.objects import Column, Examples, Source, Spec

Refuse = Callable[..., FeatureKitError]

DAY = datetime(2020, 1, 2, tzinfo=UTC)
EVENTS = pl.DataFrame({"k": [1, 2], "t": [DAY, DAY], "x": [1.5, None], "word": ["a", None]})
SPINE = pl.DataFrame({"k": [1, 2], "at": [DAY.replace(day=3)] * 2})
MEAN = {"source": "past", "by": "k", "windows": "7d", "features": {"f": "mean(x)"}}
LOOK = {"source": "past", "by": "k", "features": ["x"]}


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """Run a spec with one aggregate, expect an error, and check that nothing was left behind."""

    def refuse(
        past: pl.DataFrame | None = EVENTS,
        spine: pl.DataFrame = SPINE,
        *,
        kind: type[FeatureKitError] = DataError,
        aggregation: dict[str, Any] | None = None,
        lookup: dict[str, Any] | None = None,
        **source: Any,
    ) -> FeatureKitError:
        before = sorted(tmp_path.rglob("*"))
        declared = {"event_time": None if lookup else "t", "data": past, **source}
        spec = Spec(
            sources={"past": Source(**declared), "spine": Source(data=spine)},
            examples=Examples("spine", predict_at="at"),
            aggregations={} if lookup else {"a": aggregation or MEAN},
            lookups={"b": lookup} if lookup else {},
            features={"f": "b.x" if lookup else "a.f_7d"},
            base=tmp_path,
        )
        with pytest.raises(kind) as caught:
            run(spec, tmp_path / "out", tensorflow=False)
        assert sorted(tmp_path.rglob("*")) == before, "nothing was written"
        return caught.value

    return refuse


def test_past_rows_in_a_file_that_is_not_there(refuse: Refuse) -> None:
    error = refuse(None, path="past.parquet")
    assert "source 'past': there is no file" in str(error)
    assert error.exit_code == 3


def test_past_rows_that_are_declared_but_not_there(refuse: Refuse) -> None:
    types = {"k": "int64", "t": "timestamp", "x": "float64"}
    assert "there is no file" in str(refuse(None, path="past.parquet", columns=types))


def test_past_rows_in_a_truncated_file(refuse: Refuse, tmp_path: Path) -> None:
    path = tmp_path / "past.parquet"
    EVENTS.write_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])
    error = refuse(None, path="past.parquet")
    assert str(error).startswith(f"{path}: the file is truncated or not Parquet")


def test_past_rows_whose_data_is_damaged_behind_a_good_footer(
    refuse: Refuse, tmp_path: Path
) -> None:
    path = tmp_path / "past.parquet"
    pl.concat([EVENTS] * 1000).write_parquet(path, compression="snappy")
    damaged = bytearray(path.read_bytes())
    damaged[4:200] = b"\xff" * 196
    path.write_bytes(bytes(damaged))
    error = refuse(None, path="past.parquet")
    assert "source 'past'" in str(error)
    assert "cannot be read" in str(error)


def test_ragged_past_rows_in_a_csv_file(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "past.csv").write_text("k,t,x\n1,2020-01-02T00:00:00Z,1.5\n2,2020-01-02\n")
    error = refuse(None, path="past.csv", columns={"t": "timestamp"})
    assert "source 'past'" in str(error)
    assert "as many fields as the header" in str(error)


def test_text_among_past_numbers(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "past.csv").write_text("k,t,x\n1,2020-01-02T00:00:00Z,abc\n")
    columns = {"t": "timestamp", "x": "float64", "k": "int64"}
    error = refuse(None, path="past.csv", columns=columns)
    assert "source 'past'" in str(error)
    assert "abc" in str(error)


def test_past_times_without_a_zone(refuse: Refuse) -> None:
    naive = EVENTS.with_columns(pl.col("t").dt.replace_time_zone(None))
    error = refuse(naive, kind=SpecError)
    assert str(error).startswith("source 'past': column 't' holds times without a zone")


def test_past_times_that_the_clock_skipped(refuse: Refuse) -> None:
    skipped = EVENTS.with_columns(pl.lit(datetime(2013, 3, 10, 2, 30)).alias("t"))  # noqa: DTZ001
    zone = {"t": Column(type="timestamp", zone="America/New_York")}
    error = refuse(skipped, columns=zone)
    assert str(error).startswith(
        "source 'past': column 't': times that do not exist in the zone America/New_York in 2 rows"
    )


def test_past_times_in_milliseconds_taken_for_seconds(refuse: Refuse) -> None:
    stored = EVENTS.with_columns(pl.lit(1_700_000_000_000).alias("t"))
    error = refuse(stored, columns={"t": Column(type="timestamp", unit="s")})
    assert "milliseconds taken for seconds" in str(error)


def test_missing_past_values_where_none_are_allowed(refuse: Refuse) -> None:
    error = refuse(columns={"x": Column(nullable=False)})
    assert str(error).startswith(
        "source 'past': column 'x': missing values, although it is declared nullable: false"
    )


def test_missing_keys_where_none_are_allowed_are_found_although_they_match_nothing(
    refuse: Refuse,
) -> None:
    missing = EVENTS.with_columns(k=pl.Series([1, None]))
    error = refuse(missing, columns={"k": Column(type="int64", nullable=False)})
    assert "column 'k': missing values" in str(error)


def test_past_keys_beyond_two_to_the_53_in_a_float_column(refuse: Refuse) -> None:
    rounded = EVENTS.with_columns(k=pl.Series([float(2**55), 2.0]))
    error = refuse(rounded, columns={"k": "int64"})
    assert "9007199254740992" in str(error)


def test_the_smallest_integer_among_past_values(refuse: Refuse) -> None:
    lowest = EVENTS.with_columns(x=pl.Series([-(2**63), 1]))
    assert "the smallest 64-bit integer" in str(refuse(lowest, columns={"x": "int64"}))


def test_keys_stored_as_another_type(refuse: Refuse) -> None:
    error = refuse(EVENTS.cast({"k": pl.String}), kind=SpecErrors)
    assert "'k' of 'spine' is an integer, and 'k' of 'past' is a string" in str(error)


@pytest.mark.parametrize("part", [1, 2, 10**6])
def test_a_key_with_several_rows_in_a_lookup_is_named(
    part: int, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_PART", part)
    error = refuse(pl.concat([EVENTS, EVENTS.tail(1)]), lookup=LOOK)
    assert str(error).startswith("source 'past': a lookup needs one row for each key; k=2 has")


def test_a_key_of_two_columns_with_several_rows_is_named(refuse: Refuse) -> None:
    twice = pl.DataFrame({"a": [1, 12, 1], "b": ["23", "3", "23"], "x": [1.0, 2.0, 3.0]})
    spine = SPINE.with_columns(a=pl.lit(1), b=pl.lit("23"))
    error = refuse(twice, spine, lookup={"source": "past", "by": ["a", "b"], "features": "x"})
    assert "a=1, b='23' has several" in str(error)


def test_a_key_with_several_rows_is_told_although_no_example_asks_for_it(refuse: Refuse) -> None:
    error = refuse(pl.concat([EVENTS, EVENTS.tail(1)]), SPINE.head(1), lookup=LOOK)
    assert "k=2 has several" in str(error)


def test_a_full_disk_while_results_are_put_aside(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(history, "_RESULTS", 1)
    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    both = {**MEAN, "features": {"f": "mean(x)", "n": "count()"}, "windows": ["7d", "1d"]}
    spec = {"aggregation": both, "kind": EngineError}
    error = refuse(**spec)
    assert "the disk is full" in str(error)
    assert error.exit_code == 4
