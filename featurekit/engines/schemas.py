"""The schemas of a SavedModel's inputs and outputs, as tf.Transform's programs read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurekit.engines.wire import wire_type
from featurekit.graph import code_domain, fitted_type
from featurekit.planner import Plan
from featurekit.spec.objects import UNDECLARED
from featurekit.types import FLOAT32, Kind, Type

__all__ = ["input_schema", "is_dense", "output_schema", "read_beside"]


def is_dense(plan: Plan, column: str) -> bool:
    """Whether an input is one dense value a row: the spec says that it is never missing."""
    if plan.serving_inputs[column].width is not None:
        return False
    resolved = plan.resolved
    declared = resolved.spec.sources[resolved.spec.examples.source].columns
    return column in resolved.inputs() and not declared.get(column, UNDECLARED).nullable


def read_beside(plan: Plan) -> dict[str, Type]:
    """Return the columns that the label reads and no feature does, as `tf.Example`s carry them.

    Whoever trains parses them with the inputs, and whoever serves leaves them out.
    """
    resolved = plan.resolved
    label = {} if resolved.label is None else resolved.inputs(resolved.label)
    return {
        name: FLOAT32 if of.is_float else wire_type(of)
        for name, of in label.items()
        if name not in plan.serving_inputs
    }


def input_schema(plan: Plan) -> Any:
    """Return the inputs and the label's columns as a schema that parses `tf.Example`s.

    An input that may be missing has no shape, and is parsed as a sparse tensor (`VarLenFeature`);
    one that may not is one value (`FixedLenFeature`).
    """
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    for name, of in plan.serving_inputs.items():
        feature = schema.feature.add(name=name, type=_type(of))
        if is_dense(plan, name):
            feature.presence.min_fraction = 1.0
            feature.shape.SetInParent()
    for name, of in read_beside(plan).items():
        schema.feature.add(name=name, type=_type(of))
    return schema


def output_schema(plan: Plan, fitted: Mapping[Any, Any]) -> Any:
    """Return the features as a TensorFlow Metadata schema: dense, one value or vector each."""
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    for name, node in plan.features.items():
        of = fitted_type(node, fitted)
        feature = schema.feature.add(name=name, type=_type(of))
        if (domain := code_domain(node, fitted)) is not None:
            feature.int_domain.min, feature.int_domain.max = domain
            feature.int_domain.is_categorical = True
        feature.presence.min_fraction = 1.0
        feature.shape.SetInParent()
        if of.width is not None:
            feature.shape.dim.add(size=of.width)
    return schema


def _type(of: Type) -> Any:
    from tensorflow_metadata.proto.v0 import schema_pb2

    if of.kind is Kind.STRING:
        return schema_pb2.BYTES
    return schema_pb2.FLOAT if of.is_float else schema_pb2.INT
