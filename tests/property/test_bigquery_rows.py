"""Row operations as GoogleSQL on random values: arithmetic, hashing, calendars."""

from __future__ import annotations

import random
from datetime import timedelta

import farmhash
import numpy as np
import polars as pl
import pytest

from featurekit.transforms.calendar_parts import transitions
from featurekit.transforms.sql import exp, float32
from featurekit.transforms.subnormal import flushed_number
from featurekit.types import FLOAT32, FLOAT64, INT64, STRING, TIMESTAMP, Type
from tests.bigquery_rows import EPOCH, differences_of, moment
from tests.zetasql import evaluate


def test_float32_rounds_as_the_hardware_does_that_flushes_subnormal_numbers() -> None:
    chance = np.random.default_rng(1)
    bits = chance.integers(0, 2**64, 2000, dtype=np.uint64).view(np.float64)
    # Numbers in the range of float32, its middles, and what lies just beside them.
    near = chance.integers(0, 2**32, 2000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = near[np.isfinite(near)].astype(np.float64)
    with np.errstate(over="ignore"):
        above = np.nextafter(near.astype(np.float32), np.float32(np.inf)).astype(np.float64)
    middles = (near + above) / 2
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 2.0**-149, 2.0**-150, -(2.0**-150), 5e-324,
               1.7976931348623157e308, 2.0**128 - 2.0**103, 2.0**128 - 2.0**103 - 2.0**75,
               2.0**128, 3 * 2.0**-150, 2.0**-126 - 2.0**-150, 1e-40]  # fmt: skip
    sides = [np.nextafter(middles, -np.inf), middles, np.nextafter(middles, np.inf)]
    numbers = np.concatenate([bits, near, *sides, special, np.negative(special)])
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = numbers.astype(np.float32).astype(np.float64)
    wanted = np.where(np.abs(wanted) < np.finfo(np.float32).tiny, np.copysign(0, wanted), wanted)
    frame = pl.DataFrame({"row": range(len(numbers)), "x": numbers})
    rounded = float32(exp.column("x", table="t", quoted=True))
    query = exp.select("row", exp.alias_(rounded, "y")).from_("t").order_by("row")
    got = evaluate(query.sql(dialect="bigquery"), {"t": frame})["y"].to_numpy()
    differs = (got != wanted) | (np.signbit(got) != np.signbit(wanted))
    assert not numbers[differs & ~(np.isnan(got) & np.isnan(wanted))].tolist()


def test_hash_buckets_are_those_of_the_unsigned_hash() -> None:
    chance = random.Random(2)
    words = ["".join(chance.choices("aé日👍\x00 '", k=chance.randrange(90))) for _ in range(500)]
    sizes = [1, 2, 3, 10, 1000, 2**31, 2**32 + 1, 2**62, 2**63 - 1]
    problems = differences_of(
        [f"hash_bucket(x, {size})" for size in sizes], {"x": words}, {"x": STRING}
    )
    assert not problems, "\n".join(problems)
    assert any(farmhash.fingerprint64(word) >= 2**63 for word in words)


def test_integers_divide_and_wrap_around_alike() -> None:
    chance = random.Random(3)

    def integers() -> list[int]:
        sizes = [chance.choice([3, 8, 31, 33, 62, 64]) for _ in range(1000)]
        return [chance.randrange(2**64) % 2**bits - 2 ** (bits - 1) for bits in sizes]

    columns = {"x": integers(), "y": integers()}
    problems = differences_of(
        ["x // y", "x % y", "x + y", "x - y", "x * y", "-x", "abs(x)", "cast(x, 'float32')",
         "x * 1.0", "x < y", "minimum(x, y)"],
        columns, {"x": INT64, "y": INT64},
    )  # fmt: skip
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("of", [FLOAT32, FLOAT64], ids=str)
def test_floats_compute_alike(of: Type) -> None:
    chance = random.Random(4)
    most = 38 if of == FLOAT32 else 308

    def floats() -> list[float]:
        wide = [chance.uniform(-1, 1) * 10 ** chance.uniform(-most, most) for _ in range(500)]
        numbers = wide + [chance.uniform(-100, 100) for _ in range(500)]
        # Where a float32 is read, subnormal numbers become 0.
        return [flushed_number(number) for number in numbers] if of == FLOAT32 else numbers

    problems = differences_of(
        ["x // y", "x % y", "x + y", "x - y", "x * y", "x / y", "round(x)", "round(x, 2)",
         "sqrt(x)", "log(x)", "log1p(x)", "exp(x)", "x ** y", "cast(x, 'int64')",
         "cast(x, 'float32')", "cyclic_sine(x, 7)", "great_circle_distance(x, y, y, x)"],
        {"x": floats(), "y": floats()}, {"x": of, "y": of},
    )  # fmt: skip
    assert not problems, "\n".join(problems)


PARTS = ("year", "quarter", "month", "week", "day_of_year", "day_of_month", "day_of_week",
         "is_weekend", "hour", "minute")  # fmt: skip
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")


@pytest.mark.parametrize("zone", ZONES)
def test_calendars_and_clocks_agree(zone: str) -> None:
    chance = random.Random(5)
    years = (1, 9999) if zone == "UTC" else (1900, 2099)
    first, last = (moment(year, 1, 1) for year in years)
    span = int((last - first).total_seconds())
    times = [first + timedelta(seconds=chance.randrange(span)) for _ in range(1000)]
    turns = [moment(year, 1, 1) + timedelta(days=day) for year in (1999, 2000, 2020, 2024, 2026)
             for day in range(-7, 8)]  # fmt: skip
    changes = [] if zone == "UTC" else np.random.default_rng(6).choice(
        transitions(zone).instants[-200:], 40).tolist()  # fmt: skip
    changed = [EPOCH + timedelta(microseconds=at + shift) for at in changes for shift in (-1, 0)]
    problems = differences_of(
        [f"{part}(t, zone={zone!r})" for part in PARTS],
        {"t": times + turns + changed},
        {"t": TIMESTAMP},
    )
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("zone", ZONES)
def test_times_are_made_alike_where_clocks_change(zone: str) -> None:
    chance = random.Random(7)
    first = moment(1900, 1, 1)
    moments = [first + timedelta(minutes=chance.randrange(200 * 525_600)) for _ in range(300)]
    if zone != "UTC":
        zoned = transitions(zone)
        moments += [
            EPOCH + timedelta(microseconds=int(at + offset) + minutes * 60_000_000)
            for at, offset in zip(zoned.instants[-60:], zoned.offsets[-61:-1], strict=True)
            for minutes in (-61, -31, -1, 0, 1, 29, 30, 59, 60, 61)
        ]
    rows = [[at.year, at.month, at.day, at.hour, at.minute] for at in moments]
    rows += [[2023, 2, 29, 0, 0], [2024, 2, 30, 0, 0], [2024, 2**32 + 1, 1, 0, 0], [0, 1, 1, 0, 0],
             [10_000, 1, 1, 0, 0], [2024, 1, 1, 24, 0], [2024, 1, 1, 0, 60], [2024, 0, 1, 0, 0],
             [1, 1, 1, 0, 0], [9999, 12, 31, 23, 59]]  # fmt: skip
    columns = dict(zip("ymdhn", map(list, zip(*rows, strict=True)), strict=True))
    problems = differences_of(
        [f"make_timestamp(y, m, d, h, n, zone={zone!r})"], columns, dict.fromkeys("ymdhn", INT64)
    )
    assert not problems, "\n".join(problems)
