"""The TensorFlow route: row graphs with frozen statistics as one SavedModel.

The module has one graph, traced once, and three ways into it:

- `serving_default`: dense columns of shape [batch], where NaN, the empty string and the smallest
  int64 stand for null; timestamps are microseconds since 1970, booleans are 0 and 1;
- `serving_examples`: serialised `tf.Example`s, where an absent (or empty) feature is null;
- `transform_fn`: what `tft.TFTransformOutput` calls, with the same inputs as `serving_default`.

Outputs are named like the features; a null leaves as it would enter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from featurekit.engines.stacks import Frozen, Stacks, compute
from featurekit.errors import EngineError
from featurekit.graph import Node, OperationNode, code_domain, fitted_type, topological
from featurekit.planner import Plan
from featurekit.transforms.base import FullPassOperation, Masked, tensorflow_dtype, tf
from featurekit.transforms.statistics import WordCounts
from featurekit.types import BOOL, INT64, Kind, Type

__all__ = ["build_module", "evaluate", "lookup_tables", "output_schema", "save", "serving_name"]

MISSING_INTEGER = -(2**63)
TRANSFORM_FN = "transform_fn"
METADATA = "transformed_metadata"


def serving_name(column: str) -> str:
    """Return a column's name as a signature input: what is not a word character becomes `_`."""
    return re.sub(r"\W", "_", column)


def wire_type(of: Type) -> Type:
    """Return the type that a column travels as: booleans and times are integers."""
    whole = of.kind in (Kind.BOOL, Kind.TIMESTAMP, Kind.DURATION)
    return Type(Kind.INT64, of.width) if whole else of


def refused_examples(inputs: Mapping[str, Type]) -> str | None:
    """Say why `serving_examples` cannot be offered, or `None`: a tf.Example holds no float64."""
    wide = [name for name, of in inputs.items() if of.kind is Kind.FLOAT64]
    if not wide:
        return None
    return f"tf.Example carries float32 only, and {', '.join(wide)} is declared float64"


def build_module(plan: Plan, fitted: Mapping[Any, Any]) -> Any:
    """Return a `tf.Module` with the graph and its signatures.

    Args:
        plan: The plan of the features.
        fitted: The fitted statistics.

    Returns:
        A module with `transform_fn`, and `signatures` by name.
    """
    module = tf.Module(name="featurekit")
    inputs = plan.serving_inputs
    names = {column: serving_name(column) for column in inputs}
    if len(set(names.values())) < len(names):
        raise EngineError(
            f"columns {', '.join(sorted(names))} cannot be told apart as signature inputs",
            hint="rename one: columns: {new_name: {column: 'name in the data'}}",
        )
    tables = lookup_tables(plan.features.values(), fitted)
    module.tables = list(tables.values())
    signature = {
        names[column]: tf.TensorSpec(
            [None] if of.width is None else [None, of.width],
            tensorflow_dtype(wire_type(of)),
            name=names[column],
        )
        for column, of in inputs.items()
    }

    groups = by_type(inputs)

    def graph(stacks: Stacks, batch: Any) -> dict[str, Any]:
        compute(plan.features.values(), stacks, Frozen(fitted, tables), batch)
        return outputs(plan.features, stacks)

    @tf.function(input_signature=[signature], autograph=False)
    def transform_fn(inputs_: Mapping[str, Any]) -> dict[str, Any]:
        stacks = Stacks()
        for of, columns in groups.items():
            stacks.put(columns, from_dense(tf.stack([inputs_[names[c]] for c in columns]), of))
        return graph(stacks, tf.shape(next(iter(inputs_.values())))[0])

    @tf.function(input_signature=[signature], autograph=False)
    def serving_default(inputs_: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = transform_fn(inputs_)
        return made

    module.transform_fn = transform_fn
    module.signatures_ = {"serving_default": serving_default.get_concrete_function()}
    if refused_examples(inputs) is None:
        parsing = {
            column: tf.io.RaggedFeature(tensorflow_dtype(wire_type(of)))
            for column, of in inputs.items()
        }

        examples_signature = [tf.TensorSpec([None], tf.string, name="examples")]

        @tf.function(input_signature=examples_signature, autograph=False)
        def serving_examples(examples: Any) -> dict[str, Any]:
            parsed, stacks = tf.io.parse_example(examples, parsing), Stacks()
            for of, columns in groups.items():
                stacks.put(columns, _from_ragged([parsed[c] for c in columns], of))
            return graph(stacks, tf.shape(examples)[0])

        module.signatures_["serving_examples"] = serving_examples.get_concrete_function()
    return module


def lookup_tables(roots: Iterable[Node], fitted: Mapping[Any, Any]) -> dict[Node, Any]:
    """Return the lookup tables that nodes need; the serving module must track them."""
    nodes = topological(roots)
    return {node: table for node in nodes if (table := _resource(node, fitted)) is not None}


def evaluate(
    outputs: Mapping[str, Node],
    columns: Mapping[str, Masked],
    fitted: Mapping[Any, Any],
    tables: Mapping[Node, Any],
) -> dict[str, Masked]:
    """Compute nodes from columns, eagerly or in a graph.

    Args:
        outputs: The nodes by name.
        columns: The source columns that they read, of shape [batch].
        fitted: The fitted statistics.
        tables: What `lookup_tables` gave for the same nodes.
    """
    stacks = Stacks()
    for name, column in columns.items():
        stacks.put([name], Masked(column.values[tf.newaxis], column.valid[tf.newaxis]))
    batch = tf.shape(next(iter(columns.values())).values)[0]
    compute(outputs.values(), stacks, Frozen(fitted, tables), batch)
    return {name: stacks.one(node) for name, node in outputs.items()}


def save(plan: Plan, fitted: Mapping[Any, Any], folder: Path) -> None:
    """Write `transform_fn/` and `transformed_metadata/` below a folder.

    Raises:
        EngineError: TensorFlow cannot build or write the model; names the feature where it can.
    """
    module = build_module(plan, fitted)
    try:
        tf.saved_model.save(module, str(folder / TRANSFORM_FN), signatures=module.signatures_)
    except (OSError, tf.errors.OpError) as error:
        raise EngineError(f"the SavedModel cannot be written: {error}", where=str(folder)) from None
    _write_vocabularies(plan, fitted, folder / TRANSFORM_FN / "assets")
    from google.protobuf import text_format

    metadata = folder / METADATA
    metadata.mkdir()
    schema = output_schema(plan, fitted)
    (metadata / "schema.pbtxt").write_text(text_format.MessageToString(schema))


def _write_vocabularies(plan: Plan, fitted: Mapping[Any, Any], assets: Path) -> None:
    """Write words where `tft.TFTransformOutput.vocabulary_by_name(feature)` looks for them."""
    for name, node in plan.features.items():
        for request in node.statistics if isinstance(node, OperationNode) else ():
            if isinstance(request.statistic, WordCounts):
                assets.mkdir(exist_ok=True)
                words = fitted[request].words
                if request.statistic.every:  # Not every word fits in a line.
                    with tf.io.TFRecordWriter(str(assets / f"{name}.tfrecord.gz"), "GZIP") as file:
                        for word in words:
                            file.write(word.encode())
                else:
                    lines = "".join(f"{word}\n" for word in words)
                    (assets / name).write_text(lines, "utf-8", newline="")


def output_schema(plan: Plan, fitted: Mapping[Any, Any]) -> Any:
    """Return the features as a TensorFlow Metadata schema: dense, one value or vector each."""
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    for name, node in plan.features.items():
        of = fitted_type(node, fitted)
        feature = schema.feature.add(name=name)
        if of.kind is Kind.STRING:
            feature.type = schema_pb2.BYTES
        else:
            feature.type = schema_pb2.FLOAT if of.is_float else schema_pb2.INT
        if (domain := code_domain(node, fitted)) is not None:
            feature.int_domain.min, feature.int_domain.max = domain
            feature.int_domain.is_categorical = True
        feature.presence.min_fraction = 1.0
        feature.shape.SetInParent()
        if of.width is not None:
            feature.shape.dim.add(size=of.width)
    return schema


def _resource(node: Node, fitted: Mapping[Any, Any]) -> Any:
    if not isinstance(node, OperationNode) or not isinstance(node.operation, FullPassOperation):
        return None
    values = [fitted[request] for request in node.statistics]
    return node.operation.tensorflow_resource([entry.type for entry in node.sources], values)


def missing_value(of: Type) -> Any:
    """Return what stands for a missing value of a type that travels."""
    if of.is_float:
        return tf.constant(float("nan"), tensorflow_dtype(of))
    if of.kind is Kind.STRING:
        return tf.constant("", tf.string)
    return tf.constant(MISSING_INTEGER, tf.int64)


def by_type(columns: Mapping[str, Type]) -> dict[Type, list[str]]:
    """Return the names of columns by their types."""
    found: dict[Type, list[str]] = {}
    for name, of in columns.items():
        found.setdefault(of, []).append(name)
    return found


def from_dense(values: Any, of: Type) -> Masked:
    """Return columns of one type as values and validity.

    Args:
        values: Shape [columns, batch], of vectors [columns, batch, width]. A vector is null where
            all of its elements are missing.
        of: The type.
    """
    wire = wire_type(of)
    if wire.is_float:
        valid = tf.logical_not(tf.math.is_nan(values))
    else:
        valid = tf.not_equal(values, missing_value(wire))
    if of.width is not None:
        valid = tf.reduce_any(valid, axis=-1)
    return Masked(_from_wire(values, of), valid)


def _from_ragged(columns: list[Any], of: Type) -> Masked:
    """The first value of each row; rows without a value are null, NaN is null too.

    Of a vector the first elements, the others being missing.
    """
    wire = wire_type(of)
    missing = missing_value(wire)
    if of.width is not None:
        return from_dense(
            tf.stack([column.to_tensor(missing, shape=[None, of.width]) for column in columns]), of
        )
    filled = tf.concat([*(column.values for column in columns), [missing]], axis=0)
    splits = tf.cast(tf.stack([column.row_splits for column in columns]), tf.int64)
    present = splits[:, 1:] > splits[:, :-1]
    starts = splits[:, :-1] + tf.cumsum(splits[:, -1], exclusive=True)[:, tf.newaxis]
    nothing = tf.reduce_sum(splits[:, -1])
    values = tf.gather(filled, tf.where(present, starts, nothing))
    if wire.is_float:
        present = tf.logical_and(present, tf.logical_not(tf.math.is_nan(values)))
    elif wire == INT64:
        present = tf.logical_and(present, tf.not_equal(values, MISSING_INTEGER))
    return Masked(_from_wire(values, of), present)


def _from_wire(values: Any, of: Type) -> Any:
    return tf.not_equal(values, tf.constant(0, tf.int64)) if of == BOOL else values


def outputs(features: Mapping[str, Node], stacks: Stacks) -> dict[str, Any]:
    """Return features as signatures give them; a missing value is one that stands for it."""
    made: dict[str, Any] = {}
    for of, names in by_type({name: node.type for name, node in features.items()}).items():
        if of.width is not None:
            for name in names:
                values, valid = stacks.one(features[name])
                made[name] = tf.where(valid[:, tf.newaxis], values, missing_value(Type(of.kind)))
            continue
        values, valid = stacks.get([features[name] for name in names])
        filled = tf.where(valid, values, missing_value(of))
        made.update(zip(names, tf.unstack(filled, len(names)), strict=True))
    return {name: made[name] for name in features}
