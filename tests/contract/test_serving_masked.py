"""That an empty text is not a missing one in `serving_masked`, whatever the operation."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from featurekit.engines.dense import dense
from featurekit.engines.tensorflow import build_module
from featurekit.serving_names import mask_names
from featurekit.transforms.base import Example, polars_dtype
from featurekit.transforms.catalogue import operations
from featurekit.types import BOOL, INT64, STRING, Type
from tests.engines import OneFeature, same, typed_frame, types_of

HELD: dict[Type, list[Any]] = {STRING: ["", None, "a", "12"], INT64: [-(2**63), None, 7, 0]}
"""Values that stand for missing ones in `serving_default`, beside missing ones and others."""
ROWS = 16


def _examples() -> list[Any]:
    found = []
    for name, operation in sorted(operations().items()):
        for number, example in enumerate(operation.examples):
            types = types_of(example.columns, example.types)
            if set(types.values()) & set(HELD):
                found.append(pytest.param(example, id=f"{name}-{number}"))
    return found


def served(feature: OneFeature, signature: str, rows: pl.DataFrame) -> list[Any]:
    """Return what a signature of the feature's SavedModel answers for rows."""
    import tensorflow as tf

    module = build_module(feature.plan, feature.fitted)
    names = feature.plan.input_names
    fed = {name: tf.constant(dense(rows[column])) for column, name in names.items()}
    if signature == "serving_masked":
        masks = mask_names(names.values())
        for column, name in names.items():
            fed[masks[name]] = tf.constant(rows[column].is_null().to_numpy())
    made = module.signatures_[signature](**fed)["f"].numpy()
    return [value.decode() if isinstance(value, bytes) else value for value in made.tolist()]


def differing(feature: OneFeature, signature: str) -> list[str]:
    """Return the rows in which a signature differs from what training computes."""
    cells = {
        name: [HELD[of][(row // 4**place) % 4] for row in range(ROWS)]
        if of in HELD else (feature.frame[name].to_list() * ROWS)[:ROWS]
        for place, (name, of) in enumerate(feature.types.items())
    }  # fmt: skip
    rows = pl.DataFrame(
        {name: pl.Series(cells[name], dtype=polars_dtype(of)) for name, of in feature.types.items()}
    )
    made = feature.on_polars(rows)
    answered, wanted = served(feature, signature, rows), dense(made).tolist()
    found = zip(answered, wanted, rows.to_dicts(), strict=True)
    return [f"{row}: {got!r}, not {other!r}" for got, other, row in found if not same(got, other)]


def fitted(example: Example) -> OneFeature:
    types = types_of(example.columns, example.types)
    frame = typed_frame(example.columns, types)
    made = OneFeature(example.expression, frame, types, example.examples)
    if made.node.type != BOOL:
        return made
    # Truth leaves as a number, as a spec's features do.
    return OneFeature(f"cast({example.expression}, 'int64')", frame, types, example.examples)


@pytest.mark.parametrize("example", _examples())
def test_serving_masked_tells_an_empty_text_and_the_smallest_integer_from_a_missing_one(
    example: Example,
) -> None:
    feature = fitted(example)
    if feature.node.type.kind.value == "string" and feature.node.type.width is not None:
        pytest.skip("a SavedModel has no vector of strings")
    assert differing(feature, "serving_masked") == []


def test_serving_default_takes_an_empty_text_for_a_missing_one_in_these_operations() -> None:
    """So this contract can fail: the other signature breaks it."""
    found = set()
    for name, operation in operations().items():
        for example in operation.examples:
            types = types_of(example.columns, example.types)
            if STRING in types.values() and differing(fitted(example), "serving_default"):
                found.add(name)
    assert {"is_missing", "coalesce", "equal"} <= found
    assert len(found) >= 8, found
