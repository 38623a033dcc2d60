"""A finished run, opened again."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from featurekit import artifact
from featurekit.arguments import path_of, shown
from featurekit.engines.rows import SPLIT
from featurekit.errors import FeatureKitWarning, UsageError
from featurekit.graph import StatisticRequest
from featurekit.integrity import Verification, refuse_other_sizes
from featurekit.planner import Plan
from featurekit.serving_names import serving_name
from featurekit.spec.objects import Spec
from featurekit.summary import Described, Summary, counted, listed
from featurekit.training import ExampleSet

__all__ = ["Run", "open_run"]


def open_run(folder: str | Path) -> Run:
    """Open a finished run.

    A run of a version that wrote no hashes is opened with a warning.

    Raises:
        DataError: There is no run, or it cannot be read.
        UsageError: It is in a bucket.
    """
    path = path_of(folder, "the folder of a run")
    if "://" in str(folder):
        raise _elsewhere(str(folder))
    manifest = artifact.read_manifest(path)
    if "files" not in manifest:
        said = "an older version of FeatureKit wrote this run, and its manifest holds no hashes: "
        said += "its files cannot be verified"
        warnings.warn(f"{path}: {said}", FeatureKitWarning, stacklevel=2)
    return Run(path, manifest)


@dataclass(frozen=True, repr=False)
class Run(Described):
    """A finished run: its examples, its frozen statistics, and its manifest.

    Args:
        path: Its folder.
        manifest: What `manifest.json` says.
        address: Where it is, if that is not a folder of this machine. Its files cannot be read
            through this object, then.
    """

    path: Path
    manifest: Mapping[str, Any]
    address: str | None = None

    def _summary(self) -> Summary:
        said = self.manifest
        rows = said["rows"]["splits"]
        model = "exported" if said["saved_model"]["exported"] else "none"
        return Summary(
            f"Run of {said['name']}",
            (("in", self.address or str(self.path)), ("features", listed(said["features"])),
             ("rows", counted(rows.items())), ("SavedModel", model), ("created", said["created"]),
             ("warnings", f"{len(said.get('warnings', ())):,}")),
        )  # fmt: skip

    @cached_property
    def plan(self) -> Plan:
        """The plan that was carried out."""
        return artifact.read_plan(self.manifest, where=str(self.path / artifact.MANIFEST))

    @cached_property
    def fitted(self) -> Mapping[StatisticRequest, Any]:
        """The fitted statistics, by what the plan asks for: what `apply` works with."""
        return artifact.read_statistics(self.path, self.plan, self.manifest)

    @property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """The fitted statistics as plain data, by readable names; `json.dumps` takes them."""
        return artifact.statistics_to_dict(self.fitted)

    @property
    def spec(self) -> Spec:
        """The spec that was run."""
        return self.plan.resolved.spec

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features, in the order of the spec."""
        return tuple(self.plan.features)

    @property
    def codes(self) -> dict[str, tuple[int, int]]:
        """The smallest and the largest code of each feature whose values are codes."""
        described = self.manifest["features"].items()
        return {name: tuple(entry["codes"]) for name, entry in described if "codes" in entry}

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.manifest["rows"]["splits"])

    @property
    def saved_model(self) -> Path | None:
        """The folder of the SavedModel, or `None` when it was not exported.

        Raises:
            UsageError: The run is not on this machine.
            DataError: Files of it are missing, or have another size.
        """
        if self.address is not None:
            raise _elsewhere(self.address)
        if not self.manifest["saved_model"]["exported"]:
            return None
        refuse_other_sizes(self.path, "transform_fn", self.manifest)
        return self.path / "transform_fn"

    def examples(self, split: str = "train") -> ExampleSet:
        """Return the examples of a split, to be read as pandas, Polars, Arrow or tf.data.

        Raises:
            UsageError: There is no such split, or the run is not on this machine.
            DataError: Files of it are missing, or have another size.
        """
        if self.address is not None:
            raise _elsewhere(self.address)
        if not isinstance(split, str) or split not in self.splits:
            raise UsageError(f"there is no split {shown(split)}", where=str(self.path),
                             hint=f"the splits are {', '.join(self.splits)}")  # fmt: skip
        below = f"{artifact.EXAMPLES}/{SPLIT}={split}"
        refuse_other_sizes(self.path, below, self.manifest)
        folder = self.path / below
        resolved = self.plan.resolved
        return ExampleSet(folder, tuple(resolved.keys), self.features, resolved.label is not None)

    def verify(self) -> Verification:
        """Compare every file of the run with the size and hash that its manifest holds.

        Returns:
            What was compared, and what is not as it was written. Of a run of an older version,
            which has no hashes, that is a problem, too.

        Raises:
            UsageError: The run is not on this machine.
            DataError: Its manifest cannot be read any more.

        Example:
            `fk.open_run("runs/1").verify().whole`
        """
        if self.address is not None:
            raise _elsewhere(self.address)
        return artifact.verify(self.path)

    def keras_layer(self, **settings: Any) -> Any:
        """Return the features as a layer of a Keras model (Keras 3, `import keras`).

        The layer is called with a dictionary of the columns that the features read, under their
        own names or those of the signatures, and gives a dictionary of the features. A column may
        be dense, of shape [batch] or [batch, 1], where NaN, the empty text and the smallest
        integer stand for missing values; or sparse or ragged, of shape [batch, 1], where a row
        without a value is missing. Nothing in the layer is trained.

        Args:
            settings: What every Keras layer takes, such as `name`.

        Raises:
            UsageError: The run has no SavedModel, or is not on this machine; Keras is missing, or
                does not compute with TensorFlow.

        Example:
            ```python
            features = run.keras_layer()({name: keras.Input((1,), name=name) for name in names})
            ```
        """
        from featurekit.engines.keras_layer import features_layer

        model, inputs = self.saved_model, self.plan.serving_inputs
        if model is None:
            reason = self.manifest["saved_model"].get("reason", "not exported")
            raise UsageError(f"the run has no SavedModel: {reason}", where=str(self.path),
                             hint="featurekit run SPEC --out DIR, with TensorFlow")  # fmt: skip
        # Runs of before the names of inputs were made distinct say nothing of them.
        said = self.manifest.get("serving_inputs", {})
        names = {name: said[name]["name"] for name in said} or {
            name: serving_name(name) for name in inputs
        }
        masks = {name: said[name]["mask"] for name in said}
        return features_layer(model, inputs, names, masks, **settings)

    def apply(self, table: Any) -> Any:
        """Transform new rows with the frozen statistics; no TensorFlow is needed.

        Args:
            table: A pandas, Polars or Arrow table with the columns that the features read.

        Returns:
            A table of the same kind: the keys that are there, and all features.

        Raises:
            DataError: A column is missing, or holds what the spec does not allow.
        """
        from featurekit.serving import apply

        return apply(self.plan, self.fitted, table)


def _elsewhere(address: str) -> UsageError:
    return UsageError(
        "the run is not on this machine", where=address,
        hint="copy it here: gcloud storage cp --recursive ADDRESS FOLDER",
    )  # fmt: skip
