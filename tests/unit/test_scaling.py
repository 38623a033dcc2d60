"""The work of a check is proportional to the size of a spec, on each axis that it can grow on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

import featurekit as fk

START = datetime(2024, 1, 1, tzinfo=UTC)
Make = Callable[[int], dict[str, Any]]


def table(columns: int = 0) -> pl.DataFrame:
    wide = {f"c{n}": [n] for n in range(columns)}
    return pl.DataFrame({"id": [1], "x": [1.0], "y": [2.0], "s": ["a"], "t": [START], **wide})


def spec(columns: int = 0, source: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """Return a spec of one feature over a row of data, with other parts."""
    rows = fk.Source(data=table(columns), event_time="t", available_at="t", **(source or {}))
    examples = {"source": "rows", "keys": ["id"], "predict_at": "t", **parts.pop("examples", {})}
    return {
        "sources": {"rows": rows}, "examples": examples, "features": {"z": "zscore(x)"}, **parts,
    }  # fmt: skip


def numbered(size: int, text: str) -> dict[str, str]:
    return {f"f{n}": text.format(n=n, before=n - 1) for n in range(size)}


def chain(size: int, text: str = "f{before} + 1") -> dict[str, Any]:
    return {"f0": "x + 1", **dict(list(numbered(size, text).items())[1:])}


def aggregation(features: dict[str, str], windows: int = 1, **others: Any) -> dict[str, Any]:
    lengths = [f"{n + 1}d" for n in range(windows)]
    return {"source": "rows", "by": "id", "windows": lengths, "features": features, **others}


def looked_up(size: int) -> dict[str, Any]:
    lookup = {"source": "rows", "by": "id", "features": [f"c{n}" for n in range(size)]}
    return spec(size, lookups={"a": lookup}, features=numbered(size, "a.c{n}"))


def many_keys(size: int) -> dict[str, Any]:
    names = [f"c{n}" for n in range(size)]
    return spec(size, examples={"keys": names}, features=numbered(size, "x + {n}"))


def many_sources(size: int) -> dict[str, Any]:
    made = spec(features=numbered(size, "a{n}.x"))
    made["sources"] |= {f"s{n}": made["sources"]["rows"] for n in range(size)}
    made["lookups"] = {
        f"a{n}": {"source": f"s{n}", "by": "id", "features": ["x"]} for n in range(size)
    }
    return made


def derived(size: int, text: str) -> dict[str, Any]:
    columns = {"d0": {"expr": "x + 1"}}
    columns |= {f"d{n}": {"expr": text.format(n=n, before=n - 1)} for n in range(1, size)}
    return spec(source={"columns": columns}, features={"f": f"d{size - 1}", "g": "d1"})


def by_many(size: int) -> dict[str, Any]:
    names = [f"c{n}" for n in range(size)]
    return spec(
        size, aggregations={"a": aggregation({"m": "mean(x)"}, by=names)}, features={"m": "a.m_1d"}
    )


ACCEPTED: dict[str, Make] = {
    "features": lambda size: spec(features=numbered(size, "zscore(x + {n})")),
    "features over one another": lambda size: spec(
        features={**numbered(size, "x + {n}"),
                  **{f"g{n}": f"f{n} + f{(n * 7) % size} + f{n // 2}" for n in range(size)}}
    ),
    "keys": many_keys,
    "sources": many_sources,
    "columns": lambda size: spec(
        size, source={"columns": {f"c{n}": {"available_at": "t - 1h"} for n in range(size)}},
        features=numbered(size, "c{n} + 1"),
    ),
    "derived columns": lambda size: derived(size, "x + {n}"),
    "windows": lambda size: spec(
        aggregations={"a": aggregation({"m": "mean(x)", "n": "count()"}, size)},
        features={f"f{n}": f"a.m_{n + 1}d" for n in range(size)},
    ),
    "outputs": lambda size: spec(
        aggregations={"a": aggregation(numbered(size, "mean(x + {n})"))},
        features=numbered(size, "a.f{n}_1d"),
    ),
    "aggregations": lambda size: spec(
        aggregations={f"a{n}": aggregation({"m": "mean(x)"}) for n in range(size)},
        features=numbered(size, "a{n}.m_1d"),
    ),
    "values of a lookup": looked_up,
    "a key of many columns": by_many,
    "names for names": lambda size: spec(features=chain(size, "f{before}")),
    "columns that are names for columns": lambda size: derived(size, "d{before}"),
    "inputs": lambda size: spec(features={"f": f"coalesce({', '.join(['x'] * size)})"}),
}  # fmt: skip

REFUSED: dict[str, Make] = {
    "a chain": lambda size: spec(features=chain(size)),
    "a chain upside down": lambda size: spec(
        features=dict(reversed(chain(size).items()))
    ),
    "what doubles": lambda size: spec(features=chain(size, "f{before} + f{before}")),
    "a chain of columns": lambda size: derived(size, "d{before} + 1"),
    "unknown names": lambda size: spec(size, features=numbered(size, "nosuch{n} + 1")),
    "unknown outputs": lambda size: spec(
        aggregations={"a": aggregation(numbered(size, "mean(x)"))},
        features=numbered(size, "a.q{n}_1d"),
    ),
    "unknown aggregations": lambda size: spec(features=numbered(size, "a{n}.m_1d")),
    "unknown columns of an aggregation": lambda size: spec(
        aggregations={"a": aggregation(numbered(size, "mean(q{n})"))},
        features=numbered(size, "a.f{n}_1d"),
    ),
    "unknown keys": lambda size: spec(examples={"keys": [f"q{n}" for n in range(size)]}),
}  # fmt: skip


def checked(made: dict[str, Any]) -> Exception | None:
    try:
        fk.check(fk.Spec.from_dict(made))
    except fk.SpecErrors as errors:
        return errors
    return None


def calls(made: dict[str, Any]) -> int:
    """Return how many functions a check calls, those written in C among them."""
    count = 0

    def seen(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        checked(made)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("axis", [*ACCEPTED, *REFUSED])
def test_four_times_the_spec_is_no_more_than_about_four_times_the_calls(axis: str) -> None:
    # Large enough that a guess at each of many wrong names is no longer made.
    refused = axis in REFUSED
    make, small = (REFUSED if refused else ACCEPTED)[axis], 150 if "unknown" in axis else 125
    assert (checked(make(small)) is not None) == refused
    assert calls(make(4 * small)) < 5 * calls(make(small))


@pytest.mark.parametrize("axis", ["windows", "keys"])
def test_four_times_the_spec_takes_far_less_than_sixteen_times_as_long(axis: str) -> None:
    # What one call does to a long list is no more calls.
    def seconds(size: int) -> float:
        made = ACCEPTED[axis](size)
        found = []
        for _ in range(3):
            since = time.process_time()
            checked(made)
            found.append(time.process_time() - since)
        return min(found)

    assert seconds(4_000) < 9 * seconds(1_000)


def test_a_chain_that_is_too_long_is_one_problem_that_names_the_first_of_them() -> None:
    errors = checked(spec(features=chain(400)))
    assert isinstance(errors, fk.SpecErrors)
    (problem,) = errors.problems
    assert problem.where == "feature 'f100'"
    assert "nested 101 deep" in problem.message


@pytest.mark.parametrize("size", [3, 90, 700])
def test_a_leak_is_found_through_however_many_names_for_names(size: int) -> None:
    columns = {"d0": {"expr": "y + 1"}, "y": {"available": False}}
    columns |= {f"d{n}": {"expr": f"d{n - 1}"} for n in range(1, size)}
    features = {**chain(size, "f{before}"), "f0": f"d{size - 1}", "fine": "x + 1"}
    errors = checked(spec(source={"columns": columns}, features=features))
    assert isinstance(errors, fk.SpecErrors)
    assert {type(problem) for problem in errors.problems} <= {fk.LeakageError, fk.SpecError}
    assert "'y' is not available at prediction time" in errors.problems[0].message
    found = fk.verdicts(fk.Spec.from_dict(spec(source={"columns": columns}, features=features)))
    leaks = {name for name, each in found.features.items() if str(each.proof) == "leak"}
    assert leaks == {f"f{n}" for n in range(size)}


def test_a_wrong_name_among_few_is_guessed() -> None:
    errors = checked(spec(features={**numbered(500, "x + {n}"), "bad": "f499x + 1"}))
    assert isinstance(errors, fk.SpecErrors)
    assert errors.problems[0].hint == "did you mean 'f499'?"
