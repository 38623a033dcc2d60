"""The serving function of TFX's templates, over a run: a program that knows nothing of FeatureKit.

`save` writes a model as `run_fn` of TFX's Trainer does; `serve` loads it in another process.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft


class Served(tf.Module):  # type: ignore[misc]
    """A model with a transform layer, as in TFX's taxi and penguin templates."""

    def __init__(self, output: tft.TFTransformOutput, label: str) -> None:
        super().__init__()
        self.output, self.label = output, label
        self.tft_layer = output.transform_features_layer()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])  # type: ignore[untyped-decorator]
    def serve(self, serialized: Any) -> Any:
        """Parse, drop the label, transform."""
        feature_spec = self.output.raw_feature_spec()
        feature_spec.pop(self.label)
        parsed_features = tf.io.parse_example(serialized, feature_spec)
        return self.tft_layer(parsed_features)


def example(row: dict[str, Any]) -> bytes:
    """Return a row as a `tf.Example`; what is missing is absent."""
    made = tf.train.Example()
    for name, value in row.items():
        feature = made.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        elif value is not None:
            feature.int64_list.value.append(value)
    return bytes(made.SerializeToString())


def plain(made: Any) -> dict[str, list[Any]]:
    """Return tensors as JSON has them, NaN as null."""
    return {
        name: [
            value.decode() if isinstance(value, bytes) else None if value != value else value
            for value in values.numpy().tolist()
        ]
        for name, values in made.items()
    }


def main(task: str) -> None:
    """Save, or serve what was saved and what `transform_raw_features` gives."""
    job = json.load(sys.stdin)
    output = tft.TFTransformOutput(job["run"])
    if task == "save":
        model = Served(output, job["label"])
        tf.saved_model.save(model, job["out"], signatures={"serving_default": model.serve})
        return
    rows = [example(row) for row in job["rows"]]
    serve = tf.saved_model.load(job["out"]).signatures["serving_default"]
    without = output.raw_feature_spec()
    without.pop(job["label"])
    labelled = [example({**row, job["label"]: 1}) for row in job["rows"]]
    each = [plain(serve(examples=tf.constant([row]))) for row in rows]
    answers = {
        "layer": plain(serve(examples=tf.constant(rows))),
        "raw_features": plain(output.transform_raw_features(tf.io.parse_example(rows, without))),
        "with_label": plain(
            output.transform_raw_features(tf.io.parse_example(labelled, output.raw_feature_spec()))
        ),
        "one_by_one": {name: [one[name][0] for one in each] for name in each[0]},
    }
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
