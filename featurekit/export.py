"""Building and verifying the SavedModel, each in a process of its own; TFRecord beside them.

The process that verifies has never seen the model before it loads it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import polars as pl

from featurekit.engines.workers import Worker, serve
from featurekit.errors import ParityError
from featurekit.serving_names import mask_names
from featurekit.stand_ins import stand_ins
from featurekit.types import BOOL, Kind, Type, parse_type

__all__ = ["build", "require_parity", "worker"]

TOLERANCE = 1e-6
"""Floats of the SavedModel and of the examples may differ by so much, relative."""


def worker(scratch: Path) -> Worker:
    """Return a process that has TensorFlow ready, to build or to verify.

    Args:
        scratch: A folder for its temporary files.
    """
    hint = "--no-tensorflow leaves the SavedModel out"
    return Worker("featurekit.export", "TensorFlow", hint, scratch)


def main() -> None:
    """Do jobs until no more come: the body of a worker process."""
    tasks = {"build": build, "verify": _verify, "write_tfrecords": _write_tfrecords}
    serve(tasks, _prepare)


def _prepare() -> None:
    # TensorFlow imports Keras, and that all of scikit-learn, half of the time for nothing here: a
    # module that is None is not found.
    gc.disable()
    sys.modules.update(dict.fromkeys(("keras", "tf_keras"), cast(ModuleType, None)))
    import tensorflow  # noqa: F401

    gc.enable()


def _write_tfrecords(job: Mapping[str, Any]) -> dict[str, Any]:
    from featurekit.engines.tfrecord import write_tfrecords

    write_tfrecords(Path(job["folder"]))
    return {}


def build(job: Mapping[str, Any]) -> dict[str, Any]:
    """Write the SavedModel of a run whose statistics are written."""
    from featurekit.artifact import read_plan, read_statistics
    from featurekit.engines.tensorflow import refused_examples, save

    folder = Path(job["folder"])
    plan = read_plan(job["manifest"])
    save(plan, read_statistics(folder, plan), folder)
    refused = refused_examples(plan.serving_inputs)
    return {"serving_examples": refused or "exported", "raw_schema": refused or "exported"}


def _verify(job: Mapping[str, Any]) -> dict[str, Any]:
    """Load the SavedModel and compare what it gives for sampled rows with the written examples."""
    import tensorflow as tf

    inputs = pl.read_parquet(job["inputs"])
    expected = pl.read_parquet(job["expected"])
    types = {name: parse_type(text) for name, text in job["columns"].items()}
    loaded = tf.saved_model.load(job["model"])
    certificate: dict[str, Any] = {"rows": inputs.height, "tolerance": TOLERANCE, "signatures": {}}
    names = job["names"]
    ways: dict[str, Callable[[pl.DataFrame], Any]] = {
        "serving_default": lambda rows: _dense(rows, names),
        "serving_masked": lambda rows: _dense(rows, names) | _masks(rows, names),
        "serving_examples": lambda rows: {"examples": tf.constant(_examples(rows, types))},
    }
    # An empty text stands for null there, so such rows say nothing about it.
    stands_in = pl.any_horizontal(pl.lit(False), *stand_ins(types).values())
    alike = inputs.select(~stands_in).to_series()
    for name, signature in sorted(loaded.signatures.items()):
        rows, wanted, left_out = inputs, expected, {}
        if name == "serving_default":
            rows, wanted = inputs.filter(alike), expected.filter(alike)
            left_out = {"not_compared": inputs.height - rows.height}
        answer = signature(**ways[name](rows)) if rows.height else {}
        found = _compare(answer, wanted) if rows.height else {"rows": 0}
        certificate["signatures"][name] = found | left_out
    answer = loaded.transform_fn(_parsed(inputs, loaded.transform_fn))
    certificate["signatures"]["transform_fn"] = _compare(answer, expected)
    return certificate


def _dense(rows: pl.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    import tensorflow as tf

    from featurekit.engines.dense import dense

    return {name: tf.constant(dense(rows[column])) for column, name in names.items()}


def _masks(rows: pl.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    import tensorflow as tf

    masks = mask_names(names.values())
    return {
        masks[name]: tf.constant(rows[column].is_null().to_numpy())
        for column, name in names.items()
    }


def _parsed(rows: pl.DataFrame, function: Any) -> dict[str, Any]:
    """Return rows as `transform_fn` takes them; columns of the label have no values."""
    import tensorflow as tf

    from featurekit.engines.dense import dense

    (signature,) = function.concrete_functions[0].structured_input_signature[0]
    made = {}
    for name, spec in signature.items():
        column = rows[name] if name in rows.columns else None
        if not isinstance(spec, tf.SparseTensorSpec):
            made[name] = tf.constant(dense(rows[name]))
            continue
        there = [] if column is None else column.is_not_null().arg_true().to_list()
        values = tf.constant([], spec.dtype) if column is None else dense(column)[there]
        width = values.shape[1] if len(values.shape) > 1 else 1
        places = [[row, place] for row in there for place in range(width)]
        made[name] = tf.SparseTensor(
            tf.reshape(tf.constant(places, tf.int64), [-1, 2]),
            tf.reshape(values, [-1]),
            [rows.height, width],
        )
    return made


def _examples(rows: pl.DataFrame, types: Mapping[str, Type]) -> list[bytes]:
    import tensorflow as tf

    from featurekit.engines.dense import dense

    columns = {
        # The missing elements of a vector are there, as those of a dense input are.
        name: dense(rows[name]).tolist() if of.width is not None
        else (rows[name].cast(pl.Int64) if of == BOOL else rows[name].to_physical()).to_list()
        for name, of in types.items()
    }  # fmt: skip
    out = []
    for position in range(rows.height):
        example = tf.train.Example()
        for name, of in types.items():
            value = columns[name][position]
            if value is None:
                continue
            feature = example.features.feature[name]
            values = [value] if of.width is None else value
            if of.kind is Kind.STRING:
                feature.bytes_list.value.extend(text.encode() for text in values)
            elif of.is_float:
                feature.float_list.value.extend(values)
            else:
                feature.int64_list.value.extend(values)
        out.append(example.SerializeToString())
    return out


def _compare(answer: Mapping[str, Any], expected: pl.DataFrame) -> dict[str, Any]:
    """Compare cell by cell: integers and texts exactly, floats within the tolerance."""
    import numpy as np

    from featurekit.engines.dense import dense

    largest = 0.0
    mismatches: list[dict[str, Any]] = []
    for name in expected.columns:
        got, wanted = answer[name].numpy(), dense(expected[name])
        if wanted.dtype.kind in "OTU":
            texts = [text.encode() for text in wanted.reshape(-1)]
            wrong = got.astype(object) != np.array(texts, dtype=object).reshape(wanted.shape)
        elif wanted.dtype.kind == "i":
            wrong = got != wanted
        else:
            values = wanted.astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                close = np.isclose(got, values, rtol=TOLERANCE, atol=1e-30, equal_nan=True)
                apart = np.abs(got - values) / np.maximum(np.abs(values), 1e-30)
            finite = np.isfinite(got) & np.isfinite(values)
            if finite.any():
                largest = max(largest, float(apart[finite].max()))
            wrong = ~close
        if wrong.ndim == 2:
            wrong = wrong.any(axis=1)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            shown = (
                got[row].decode("utf-8", "replace")
                if isinstance(got[row], bytes)
                else got[row].tolist()
            )
            mismatches.append({"feature": name, "rows": int(wrong.sum()), "model": repr(shown),
                               "examples": repr(expected[name][row])})  # fmt: skip
    return {
        "rows": expected.height,
        "largest_relative_difference": largest,
        "mismatches": mismatches,
    }


def require_parity(certificate: Mapping[str, Any]) -> None:
    """Refuse a SavedModel that does not give what the examples hold.

    Raises:
        ParityError: Names the features, with a value of each side.
    """
    found = [
        f"feature {entry['feature']!r} in {entry['rows']} of {result['rows']} rows of {signature} "
        f"(model {entry['model']}, examples {entry['examples']})"
        for signature, result in certificate["signatures"].items()
        for entry in result.get("mismatches", ())
    ]
    if found:
        raise ParityError(
            "the SavedModel does not give what the examples hold: " + "; ".join(found),
            hint="nothing was written; please report this with the spec",
        )
