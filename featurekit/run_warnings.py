"""What a run says beside its numbers: what it left out, and what may not be what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from featurekit.engines.fitting import Census
from featurekit.planner import Plan
from featurekit.spec.expression import shortened
from featurekit.stand_ins import said
from featurekit.threats import effects_at_predictions
from featurekit.transforms.statistics import WordCountsValue

__all__ = ["constant_features", "run_warnings"]

FIRST_ROWS = 1_000
"""A feature that changes within so many rows is not looked at in the others."""


def run_warnings(
    plan: Plan, fitted: Mapping[Any, Any], census: Census,
    undecided: Mapping[str, int] | None = None,
    stand_ins: Mapping[str, int] | None = None,
) -> list[str]:  # fmt: skip
    """Return what the manifest, the command line and `fit` warn of, a sentence each.

    Args:
        plan: The plan.
        fitted: The fitted statistics.
        census: What was counted while the rows were read.
        undecided: For how many examples each lookup chose between rows that differ by their values
            alone, by its name.
        stand_ins: How many rows of each input hold a value that stands for a missing one in a
            dense tensor.
    """
    return [
        *(f"{each.message} {each.advice}" for each in effects_at_predictions(plan.resolved)),
        *_excluded_words(plan, fitted),
        *_lost_numbers(plan, census),
        *_undecided_lookups(undecided or {}),
        *_stand_ins(plan, stand_ins or {}),
        *_lost_by_casts(census),
    ]


def _stand_ins(plan: Plan, counts: Mapping[str, int]) -> Iterator[str]:
    """Yield the inputs that hold values which one signature of the SavedModel takes for missing."""
    for name, number in counts.items():
        yield (
            f"column {name!r} holds {said(plan.serving_inputs[name])} in "
            f"{_counted(number, 'row')}: serving_default reads it as missing, the other "
            "signatures do not"
        )


def _lost_by_casts(census: Census) -> Iterator[str]:
    """Yield the casts that made values missing."""
    for text, number in census.lost.items():
        example = census.lost_examples.get(text)
        shown = "" if example is None else f", such as {example}"
        yield (
            f"{shortened(text)} makes {_counted(number, 'value')} missing that "
            f"{'has' if number == 1 else 'have'} no such number{shown}"
        )


def _undecided_lookups(undecided: Mapping[str, int]) -> Iterator[str]:
    """Yield the lookups that found several rows in effect at once, and took one by its values."""
    for name, number in undecided.items():
        yield (
            f"lookup {name!r}: for {_counted(number, 'example')}, rows that took effect at once "
            "differ, and the one with the greatest values was taken; order_by in the lookup says "
            "which comes last"
        )


def _excluded_words(plan: Plan, fitted: Mapping[Any, Any]) -> Iterator[str]:
    """Yield the words that vocabularies leave out, because a line of text cannot hold them."""
    for request in plan.statistics:
        value = fitted[request]
        if isinstance(value, WordCountsValue) and value.excluded_rows:
            named = ", ".join(repr(shortened(word)) for word in value.excluded)
            named += ", ..." if value.excluded_words > len(value.excluded) else ""
            of = shortened(request.node.text)
            yield (
                f"feature {plan.users(request)}: the vocabulary of {of} leaves out "
                f"{_counted(value.excluded_words, 'word')} in "
                f"{_counted(value.excluded_rows, 'training row')}, for a line of a text file "
                f'cannot hold them: {named}; file_format="tfrecord_gzip" can'
            )


def constant_features(rows: pl.LazyFrame, names: Iterable[str]) -> list[str]:
    """Return a sentence for each feature that is the same in all training rows.

    Args:
        rows: The training rows, with a column for each feature. They are read again only for
            features that are the same in the first thousand of them.
        names: The features.
    """
    first = rows.select(list(names)).head(FIRST_ROWS).collect()
    same = [series.name for series in first if series.n_unique() == 1]
    if first.height < 2 or not same:
        return []
    changes = [pl.col(name).ne_missing(pl.lit(first[name].head(1))).any() for name in same]
    found = rows.select(pl.len().alias("~rows"), *changes).collect(engine="streaming")
    number = found["~rows"].item()
    return [
        f"feature {name!r} is {_value(first[name])} in each of the {number:,} training rows: "
        "a model learns nothing from it"
        for name in same
        if not found[name].item()
    ]


def _value(series: pl.Series) -> str:
    value = series[0]
    if isinstance(value, pl.Series):
        value = value.to_list()
    return "missing" if value is None else shortened(repr(value))


def _lost_numbers(plan: Plan, census: Census) -> Iterator[str]:
    """Yield the columns and aggregates with numbers that float32 cannot hold."""
    for counts, what, read in (
        (census.beyond, "beyond float32 (3.4e38)", "infinite"),
        (census.below, "too small for float32 (1.2e-38)", "0"),
    ):
        for name, count in counts.items():
            column = name in plan.resolved.types
            hint = f"to keep them, declare {name}: {{type: float64}}" if column else (
                "aggregates enter features as float32: aggregate other units, such as x / 1e9"
            )  # fmt: skip
            unless = ", or infinite," if read == "infinite" and not column else ""
            yield (
                f"{'column' if column else 'aggregate'} {name!r}: {_counted(count, 'value')} "
                f"{what}{unless} {'was' if count == 1 else 'were'} read as {read}; {hint}"
            )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
