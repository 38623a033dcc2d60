"""What a manifest holds, as far as anything reads it: its types are checked when it is opened.

Newer versions may add keys anywhere; those that runs of older versions lack are `NotRequired`.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

__all__ = ["Manifest", "SnapshotManifest", "StoredFile"]


class StoredFile(TypedDict):
    """Size and SHA-256 of a file; without a hash where it never was on the run's own machine."""

    bytes: int
    sha256: NotRequired[str | None]


class Digests(TypedDict):
    """Hashes of what the manifest itself says; see `featurekit.integrity`."""

    numbers: str
    manifest: str


class BadRows(TypedDict):
    """Rows that were set aside."""

    rows: int
    reasons: NotRequired[dict[str, int]]


class Rows(TypedDict):
    """How many rows were read and written."""

    read: int
    written: int
    splits: dict[str, int]
    without_label: NotRequired[int]
    embargoed: NotRequired[int]
    nan_read_as_missing: NotRequired[dict[str, int]]
    bad: NotRequired[BadRows]


class DescribedFeature(TypedDict):
    """A feature: its type, its text, and the range of its codes where it is a code."""

    type: str
    expression: NotRequired[str]
    codes: NotRequired[tuple[int, int]]


class SavedModel(TypedDict):
    """Whether there is a SavedModel."""

    exported: bool
    reason: NotRequired[str]
    serving_examples: NotRequired[Any]


class CostSource(TypedDict):
    """How large a source is, and its columns."""

    bytes: NotRequired[int | None]
    columns: NotRequired[dict[str, int | None] | None]


class CostShare(TypedDict):
    """The time that some features share."""

    features: list[str]
    seconds: float


class ServingInput(TypedDict):
    """An input of the SavedModel."""

    type: str
    name: str
    mask: NotRequired[str]


class Costs(TypedDict):
    """What features cost."""

    sources: NotRequired[dict[str, CostSource]]
    seconds: NotRequired[list[CostShare] | None]


class Parity(TypedDict):
    """The certificate that the SavedModel gives what the examples hold."""

    rows: int
    signatures: NotRequired[dict[str, Any]]


class Use(TypedDict):
    """A column that a feature uses, and when it is known."""

    verdict: str
    column: str
    source: NotRequired[str | None]
    chain: NotRequired[list[str]]
    kind: NotRequired[str]
    reason: NotRequired[str]
    advice: NotRequired[str]
    known_at: NotRequired[str | None]
    used_at: NotRequired[str | None]
    ahead: NotRequired[int | None]


class Waiver(TypedDict):
    """Why a leak may pass, and until when."""

    reason: NotRequired[str | None]
    until: NotRequired[str | None]


class FeatureVerdict(TypedDict):
    """Whether a feature is proven free of leaks."""

    verdict: str
    waiver: NotRequired[Waiver | None]
    fitted_on: NotRequired[str | None]
    uses: NotRequired[list[Use]]


class Finding(TypedDict):
    """What a spec as a whole lets happen."""

    kind: str
    features: list[str]
    message: str
    advice: NotRequired[str]
    severity: NotRequired[str]


class Leakage(TypedDict):
    """What the spec shows of all features."""

    verdicts: NotRequired[dict[str, FeatureVerdict]]
    findings: NotRequired[list[Finding]]


class CacheUse(TypedDict):
    """How many files had statistics that were kept."""

    files: int
    reused: int
    damaged: NotRequired[list[str]]


class BeamUse(TypedDict):
    """How Beam ran."""

    cache: NotRequired[CacheUse]


class Manifest(TypedDict):
    """The manifest of a run."""

    format: int
    semantics: NotRequired[Any]
    name: NotRequired[str]
    created: NotRequired[str]
    spec: dict[str, Any]
    spec_sha256: NotRequired[str]
    base: NotRequired[str]
    columns: dict[str, str]
    past_columns: NotRequired[dict[str, dict[str, str]]]
    versions: NotRequired[dict[str, str]]
    inputs: NotRequired[dict[str, list[dict[str, Any]]]]
    rows: Rows
    features: dict[str, DescribedFeature]
    warnings: NotRequired[list[str]]
    noticed: NotRequired[list[str]]
    leakage: NotRequired[Leakage]
    plan: NotRequired[dict[str, Any]]
    costs: NotRequired[Costs]
    saved_model: SavedModel
    serving_inputs: NotRequired[dict[str, ServingInput]]
    parity: NotRequired[Parity]
    beam: NotRequired[BeamUse]
    bigquery: NotRequired[dict[str, Any]]
    seconds: NotRequired[dict[str, float]]
    files: NotRequired[dict[str, StoredFile]]
    digests: NotRequired[Digests]


class SnapshotManifest(TypedDict):
    """The manifest of a snapshot."""

    format: int
    as_of: str
    keys: dict[str, int]
    files: NotRequired[dict[str, StoredFile]]
    digests: NotRequired[Digests]
