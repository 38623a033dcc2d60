"""The TensorFlow route: row graphs with frozen statistics as one SavedModel.

The module has one graph, traced once, and four ways into it:

- `serving_default`: dense columns of shape [batch], where NaN, the empty string and the smallest
  int64 stand for null; timestamps are microseconds since 1970, booleans are 0 and 1;
- `serving_masked`: each of them with a mask `x__missing`, bool of shape [batch], which alone says
  what is null (and NaN);
- `serving_examples`: serialised `tf.Example`s, where an absent (or empty) feature is null;
- `transform_fn`: what `tft.TFTransformOutput` calls, with what its `raw_feature_spec()` parses.

The first two call inputs by `Plan.input_names`, the others as the spec does. Outputs are named like
the features; a null leaves as it would enter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from featurekit.engines.schemas import input_schema, is_dense, output_schema, read_beside
from featurekit.engines.stacks import Frozen, Stacks, compute
from featurekit.engines.wire import (
    by_type,
    from_dense,
    from_masked,
    from_ragged,
    from_sparse,
    outputs,
    wire_type,
)
from featurekit.errors import EngineError
from featurekit.graph import Node, OperationNode, topological
from featurekit.planner import Plan
from featurekit.serving_names import mask_names, serving_name
from featurekit.transforms.base import FullPassOperation, Masked, tensorflow_dtype, tf
from featurekit.transforms.statistics import WordCounts
from featurekit.types import BOOL, Kind, Type

__all__ = ["build_module", "evaluate", "lookup_tables", "refused_examples", "save", "serving_name"]

TRANSFORM_FN = "transform_fn"
METADATA = "transformed_metadata"
RAW_METADATA = "metadata"
"""Where `tft.TFTransformOutput` looks for the schema of the inputs."""


def refused_examples(inputs: Mapping[str, Type]) -> str | None:
    """Say why no signature can take `tf.Example`s, or `None`: they hold no float64."""
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
        A module with `transform_fn`, and `signatures_` by name.
    """
    module = tf.Module(name="featurekit")
    tables = lookup_tables(plan.features.values(), fitted)
    module.tables = list(tables.values())
    ways = _Ways(plan, _graph(plan, Frozen(fitted, tables)))
    module.transform_fn = ways.transform_fn()
    functions = {"serving_default": ways.default(), "serving_masked": ways.masked()}
    if refused_examples(plan.serving_inputs) is None:
        functions["serving_examples"] = ways.examples()
    module.signatures_ = {
        name: function.get_concrete_function() for name, function in functions.items()
    }
    return module


def _graph(plan: Plan, frozen: Frozen) -> Any:
    """Return the features as a function of stacks of columns, by the text of their type."""
    groups = {str(of): (of, names) for of, names in by_type(plan.serving_inputs).items()}
    signature = {}
    for text, (of, names) in groups.items():
        dtype = tf.bool if of == BOOL else tensorflow_dtype(wire_type(of))
        shape = [len(names), None]
        values = tf.TensorSpec(shape if of.width is None else [*shape, of.width], dtype)
        signature[text] = (values, tf.TensorSpec(shape, tf.bool))

    @tf.function(input_signature=[signature], autograph=False)
    def graph(columns: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
        stacks = Stacks()
        for text, (_, names) in groups.items():
            stacks.put(names, Masked(*columns[text]))
        _, valid = next(iter(columns.values()))
        compute(plan.features.values(), stacks, frozen, tf.shape(valid)[1])
        return outputs(plan.features, stacks)

    return graph


class _Ways:
    """The ways into the graph: each takes what callers give, and calls it with stacks of columns.

    Args:
        plan: The plan.
        graph: What `_graph` gave.
    """

    def __init__(self, plan: Plan, graph: Any) -> None:
        self.plan, self.graph = plan, graph
        self.inputs, self.names = plan.serving_inputs, plan.input_names
        self.masks = mask_names(self.names.values())
        self.groups = by_type(self.inputs)

    def default(self) -> Any:
        """Return the signature of dense columns, in which a value stands for null."""

        @tf.function(input_signature=[self._dense()], autograph=False)
        def serving_default(inputs: Mapping[str, Any]) -> Any:
            return self.graph({
                str(of): tuple(from_dense(self._stacked(columns, inputs), of))
                for of, columns in self.groups.items()
            })  # fmt: skip

        return serving_default

    def masked(self) -> Any:
        """Return the signature of dense columns, each with a mask."""
        signature = self._dense()
        for mask in self.masks.values():
            signature[mask] = tf.TensorSpec([None], tf.bool, name=mask)

        @tf.function(input_signature=[signature], autograph=False)
        def serving_masked(inputs: Mapping[str, Any]) -> Any:
            made = {}
            for of, columns in self.groups.items():
                missing = tf.stack([inputs[self.masks[self.names[c]]] for c in columns])
                made[str(of)] = tuple(from_masked(self._stacked(columns, inputs), missing, of))
            return self.graph(made)

        return serving_masked

    def examples(self) -> Any:
        """Return the signature of serialised `tf.Example`s."""
        parsing = {
            column: tf.io.RaggedFeature(tensorflow_dtype(wire_type(of)))
            for column, of in self.inputs.items()
        }

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False
        )
        def serving_examples(examples: Any) -> Any:
            parsed = tf.io.parse_example(examples, parsing)
            return self.graph({
                str(of): tuple(from_ragged([parsed[c] for c in columns], of))
                for of, columns in self.groups.items()
            })  # fmt: skip

        return serving_examples

    def transform_fn(self) -> Any:
        """Return the function of what the raw schema parses: sparse, but for what must be there.

        What else that schema holds, the label's columns, is taken and not looked at.
        """
        dense = [column for column in self.inputs if is_dense(self.plan, column)]
        signature: dict[str, Any] = {
            column: tf.TensorSpec([None], tensorflow_dtype(wire_type(self.inputs[column])))
            if column in dense
            else tf.SparseTensorSpec([None, None], tensorflow_dtype(wire_type(self.inputs[column])))
            for column in self.inputs
        }
        for column, of in read_beside(self.plan).items():
            signature[column] = tf.SparseTensorSpec([None, None], tensorflow_dtype(of))

        @tf.function(input_signature=[signature], autograph=False)
        def transform_fn(inputs: Mapping[str, Any]) -> Any:
            made = {}
            for of, columns in self.groups.items():
                sparse = [column for column in columns if column not in dense]
                stacks = [from_sparse([inputs[c] for c in sparse], of)] if sparse else []
                if len(sparse) < len(columns):
                    values = tf.stack([inputs[c] for c in columns if c in dense])
                    stacks.append(from_masked(values, tf.zeros_like(values, tf.bool), of))
                places = [*sparse, *(column for column in columns if column in dense)]
                order = [places.index(column) for column in columns]
                made[str(of)] = tuple(
                    tf.gather(tf.concat(parts, 0), order) if len(stacks) > 1 else parts[0]
                    for parts in zip(*stacks, strict=True)
                )
            return self.graph(made)

        return transform_fn

    def _dense(self) -> dict[str, Any]:
        """Return the specifications of dense columns, by their names as inputs."""
        return {
            self.names[column]: tf.TensorSpec(
                [None] if of.width is None else [None, of.width],
                tensorflow_dtype(wire_type(of)),
                name=self.names[column],
            )
            for column, of in self.inputs.items()
        }

    def _stacked(self, columns: Iterable[str], inputs: Mapping[str, Any]) -> Any:
        return tf.stack([inputs[self.names[column]] for column in columns])


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
    """Write `transform_fn/`, `transformed_metadata/` and `metadata/` below a folder.

    The last is the schema of the inputs, and left out where no `tf.Example` can carry them.

    Raises:
        EngineError: TensorFlow cannot build or write the model; names the feature where it can.
    """
    module = build_module(plan, fitted)
    try:
        tf.saved_model.save(module, str(folder / TRANSFORM_FN), signatures=module.signatures_)
    except (OSError, tf.errors.OpError) as error:
        raise EngineError(f"the SavedModel cannot be written: {error}", where=str(folder)) from None
    _write_vocabularies(plan, fitted, folder / TRANSFORM_FN / "assets")
    _write_schema(output_schema(plan, fitted), folder / METADATA)
    if refused_examples(plan.serving_inputs) is None:
        _write_schema(input_schema(plan), folder / RAW_METADATA)


def _write_schema(schema: Any, folder: Path) -> None:
    from google.protobuf import text_format

    folder.mkdir()
    (folder / "schema.pbtxt").write_text(text_format.MessageToString(schema), "utf-8")


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


def _resource(node: Node, fitted: Mapping[Any, Any]) -> Any:
    if not isinstance(node, OperationNode) or not isinstance(node.operation, FullPassOperation):
        return None
    values = [fitted[request] for request in node.statistics]
    return node.operation.tensorflow_resource([entry.type for entry in node.sources], values)
