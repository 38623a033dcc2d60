"""The features of a run as a layer of a Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurekit.engines.wire import as_column, missing_value, wire_type
from featurekit.errors import UsageError, closest, require
from featurekit.types import BOOL, Type

__all__ = ["features_layer"]


def features_layer(
    model: Path,
    inputs: Mapping[str, Type],
    names: Mapping[str, str],
    masks: Mapping[str, str],
    **settings: Any,
) -> Any:
    """Return a Keras layer from columns to features.

    Args:
        model: The folder of the SavedModel.
        inputs: The columns, and aggregates by their text, with their types.
        names: What the dense signatures call each.
        masks: What `serving_masked` calls the mask of each; empty where the model has none.
        settings: What every Keras layer takes, such as `name`.

    Raises:
        UsageError: Keras is missing, or computes with something else than TensorFlow.
    """
    require("keras", "tensorflow", "a Keras layer")
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"the features are a TensorFlow graph, and Keras computes with "
            f"{keras.backend.backend()}",
            hint="set KERAS_BACKEND=tensorflow before keras is imported",
        )

    def column(given: Mapping[str, Any], name: str) -> Any:
        found = given.get(name, given.get(names[name]))
        if found is None:
            raise UsageError(
                f"the layer is not given {name!r}", where=str(model), hint=closest(name, given)
            )
        try:
            return as_column(found, inputs[name])
        except ValueError:
            shape = "[batch] or [batch, 1]"
            if inputs[name].width is not None:
                shape = f"[batch, {inputs[name].width}]"
            raise UsageError(
                f"the input {name!r} has shape {found.shape}",
                where=str(model),
                hint=f"give it dense, of shape {shape}, or sparse or ragged",
            ) from None

    class FeaturesLayer(keras.layers.Layer):  # type: ignore[misc]
        """Raw columns in, features out; nothing of it is trained."""

        def __init__(self) -> None:
            super().__init__(trainable=False, autocast=False, **settings)
            # Tracked, so that a model that holds the layer is exported with its tables.
            self.loaded = tf.saved_model.load(str(model))
            signature = "serving_masked" if masks else "serving_default"
            self.signature = self.loaded.signatures[signature]
            self.built = True

        def call(self, given: Mapping[str, Any]) -> dict[str, Any]:
            fed = {}
            for name, of in inputs.items():
                values, valid = column(given, name)
                values = tf.cast(values, tf.int64) if of == BOOL else values
                if masks:
                    fed[names[name]], fed[masks[name]] = values, tf.logical_not(valid)
                    continue
                there = valid if of.width is None else valid[:, tf.newaxis]
                fed[names[name]] = tf.where(there, values, missing_value(wire_type(of)))
            return dict(self.signature(**fed))

        def compute_output_spec(self, given: Mapping[str, Any]) -> dict[str, Any]:
            first = next(iter(given.values()))
            rows = first.shape[0]
            return {
                name: keras.KerasTensor([rows, *spec.shape[1:]], spec.dtype.name)
                for name, spec in self.signature.structured_outputs.items()
            }

    return FeaturesLayer()
