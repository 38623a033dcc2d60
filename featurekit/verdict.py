"""Whether each feature agrees with what a spec declares, and what threatens all of them.

Nothing is read here: everything follows from the spec, once its names and types are found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from featurekit.availability import moment
from featurekit.errors import LeakageError
from featurekit.graph import OperationNode, cross_fitted, topological
from featurekit.leaks import Leaks
from featurekit.resolved import Resolved
from featurekit.spec.objects import UNDECLARED, Spec, Waiver
from featurekit.spec.problems import Problems
from featurekit.summary import Described, Summary, listed
from featurekit.threats import Threat, effects_at_predictions, late_labels
from featurekit.transforms.targets import TargetOperation
from featurekit.uses import Proof, Use

__all__ = ["Threat", "Verdict", "Verdicts", "judge"]

_WORST = (Proof.LEAK, Proof.UNPROVEN, Proof.CONSISTENT)
_TOGETHER = {
    "unknown_availability": "Nothing says when {columns} of {source!r} become known. Declare "
    "available_at of {source!r}, or available_at (or available: true) of its columns.",
    "no_prediction_time": "Nothing says when predictions are made, so {columns} may be known too "
    "late. Declare examples: {{predict_at: ...}}.",
    "lookup_without_time": "{columns} are looked up in {source!r} as that stands today, and "
    "nothing says since when. Declare event_time of {source!r}, or available: true for columns "
    "that never change.",
}
"""What is said of several columns of a source at once."""


@dataclass(frozen=True)
class Verdict:
    """What a spec shows of one feature.

    Args:
        feature: Its name.
        proof: That of the worst of its uses.
        uses: What it uses, the worst first.
        waiver: A waiver that holds.
        fitted_on: The rows that its statistics are fitted on, if it has any.
    """

    feature: str
    proof: Proof
    uses: tuple[Use, ...]
    waiver: Waiver | None = None
    fitted_on: str | None = None

    @property
    def made_of_label(self) -> bool:
        """Whether the label, of this or of past rows, has a part in it."""
        return any(use.made_of_label for use in self.uses)

    @property
    def entities(self) -> tuple[str, ...]:
        """The columns by which it finds other rows."""
        return tuple(dict.fromkeys(column for use in self.uses for column in use.entity))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        waiver = self.waiver
        return {
            "verdict": str(self.proof),
            "waiver": waiver and {"reason": waiver.reason, "until": waiver.until.isoformat()},
            "label": self.made_of_label,
            "fitted_on": self.fitted_on,
            "entities": list(self.entities),
            "uses": [use.to_dict() for use in self.uses],
        }


@dataclass(frozen=True, repr=False)
class Verdicts(Described):
    """What a spec shows of all its features.

    Args:
        features: The verdict on each feature, in the order of the spec.
        threats: What touches several of them.
    """

    features: Mapping[str, Verdict]
    threats: tuple[Threat, ...] = ()

    def _summary(self) -> Summary:
        by_proof = tuple(
            (proof.value, listed(name for name, said in self.features.items()
                                 if said.proof is proof))
            for proof in Proof
        )  # fmt: skip
        threats = tuple(("finding", threat.message) for threat in self.threats)
        return Summary("Verdicts", (*by_proof, *threats))

    def of(self, proof: Proof, waived: bool = False) -> tuple[Verdict, ...]:
        """Return the verdicts of one kind; those under a waiver are apart."""
        return tuple(
            verdict for verdict in self.features.values()
            if verdict.proof is proof and (verdict.waiver is not None) == waived
        )  # fmt: skip

    def require_proven(self, spec: Spec | None = None) -> None:
        """Refuse features of which what is declared does not show that they are known in time.

        Args:
            spec: The spec, which knows in which line each feature stands.

        Raises:
            SpecErrors: Names every feature with every cause; a waiver excuses a feature.
        """
        problems = Problems(None if spec is None else spec.places)
        for verdict in self.of(Proof.UNPROVEN):
            open_uses = (use for use in verdict.uses if use.proof is Proof.UNPROVEN)
            for reason, advice in dict.fromkeys((use.reason, use.advice) for use in open_uses):
                problems.add(
                    LeakageError(f"{reason}, and strict mode refuses that", hint=advice),
                    "features", verdict.feature, label=f"feature {verdict.feature!r}",
                )  # fmt: skip
        problems.check()

    def to_dict(self) -> dict[str, Any]:
        """Return them as plain data."""
        return {
            "verdicts": {name: verdict.to_dict() for name, verdict in self.features.items()},
            "findings": [threat.to_dict() for threat in self.threats],
        }

    def summary(self) -> str:
        """Return how many features agree with what is declared and how many do not, in a line."""
        counts = {
            "consistent with what is declared": len(self.of(Proof.CONSISTENT))
            + len(self.of(Proof.CONSISTENT, waived=True)),
            "unproven": len(self.of(Proof.UNPROVEN)),
            "leak": len(self.of(Proof.LEAK)),
            "waived": sum(len(self.of(proof, waived=True)) for proof in _WORST[:2]),
        }
        said = [f"{number:,} {name}" for name, number in counts.items() if number]
        return ", ".join(said) or "no features"

    def lines(self) -> Iterator[str]:
        """Yield leaks and what is unproven, in groups of one reason, then waivers and threats."""
        groups: dict[tuple[Proof, str, str], list[Use]] = {}
        for verdict in (*self.of(Proof.LEAK), *self.of(Proof.UNPROVEN)):
            worst = verdict.uses[0]
            groups.setdefault((worst.proof, worst.kind, worst.source), []).append(worst)
        for (proof, _, _), uses in groups.items():
            names = tuple(use.feature for use in uses)
            yield f"{proof}  {_some(names)}: {_told(uses)}"
        for verdict in self.features.values():
            if verdict.waiver is not None:
                yield (
                    f"waived until {verdict.waiver.until}  {verdict.feature}: "
                    f"{verdict.waiver.reason} ({verdict.proof}: {verdict.uses[0].reason})"
                )
        for threat in self.threats:
            yield f"{threat.severity}  {_some(threat.features)}: {threat.message} {threat.advice}"


def judge(resolved: Resolved, today: date | None = None) -> Verdicts:
    """Return what a spec shows of its features.

    Args:
        resolved: The spec, its names found.
        today: The day that waivers are held against; by default the current one, in UTC.
    """
    day = today or datetime.now(UTC).date()
    found = {name: _verdict(resolved, name, day) for name in resolved.features}
    return Verdicts(found, tuple(_threats(resolved, found)))


def _verdict(resolved: Resolved, name: str, today: date) -> Verdict:
    uses = [*resolved.uses.get(name, ()), *_of_other_labels(resolved, name)]
    uses.sort(key=lambda use: _WORST.index(use.proof))
    proof = uses[0].proof if uses else Proof.CONSISTENT
    waiver = resolved.spec.features[name].waiver
    if waiver is not None and (today > waiver.until or proof is Proof.CONSISTENT):
        waiver = None
    fits = any(
        isinstance(node, OperationNode) and node.statistics
        for node in topological([resolved.features[name]])
    )
    scope = "all rows" if resolved.spec.examples.split is None else "train rows"
    return Verdict(name, proof, tuple(uses), waiver, scope if fits else None)


def _of_other_labels(resolved: Resolved, name: str) -> Iterator[Use]:
    """Yield what a feature sees of the labels of other rows, cross-fitted."""
    examples = resolved.spec.examples
    for node in cross_fitted([resolved.features[name]]):
        operation = node.operation
        assert isinstance(operation, TargetOperation)
        by = (operation.by,) if isinstance(operation.by, str) else operation.by or ()
        assert examples.label is not None
        sees = "labels that were known before its block of time begins"
        if not node.earlier:
            sees = f"labels of other folds alone, by {', '.join(by or examples.keys)}"
        yield Use(
            name, examples.label.text, examples.source,
            (name, operation.name(), examples.label.text), Proof.CONSISTENT, "cross_fitted",
            f"a row to train on sees {sees}", made_of_label=True, entity=by,
            used_at=None if examples.predict_at is None else examples.predict_at.text,
            **_label_known(resolved.spec),
        )  # fmt: skip


def _label_known(spec: Spec) -> dict[str, Any]:
    """Return when the label of a row is known, as the `known_at` and `ahead` of a use."""
    label, predict_at = spec.examples.label, spec.examples.predict_at
    columns = spec.sources[spec.examples.source].columns
    assert label is not None
    makes = {name for name, _ in Leaks(spec, ()).used(label, (), columns)}
    declared = [columns.get(name, UNDECLARED) for name in sorted(makes)]
    known = [moment(col.available_at, columns) for col in declared if col.available_at is not None]
    if not known:
        return {}
    ahead, used = None, None if predict_at is None else moment(predict_at, columns)
    if used is not None and all(at.base == used.base for at in known):
        ahead = min(used.offset - at.offset for at in known)
    return {"known_at": ", ".join(sorted({str(at) for at in known})), "ahead": ahead}


def _threats(resolved: Resolved, verdicts: Mapping[str, Verdict]) -> Iterator[Threat]:
    spec = resolved.spec
    split, label = spec.examples.split, spec.examples.label
    own = [
        verdict for verdict in verdicts.values()
        if any(use.entity and use.made_of_label for use in verdict.uses)
    ]  # fmt: skip
    if split is not None and split.hash:
        apart = [
            verdict.feature for verdict in own
            if any(
                use.entity and use.made_of_label and not set(split.hash) <= set(use.entity)
                for use in verdict.uses
            )
        ]  # fmt: skip
        if apart:
            keys = ", ".join(split.hash)
            yield Threat(
                "entity_overlap", tuple(apart),
                f"The split by {keys} leaves rows of one entity on both sides, and past labels of "
                "an entity have a part in the feature, so rows to train on see labels of others.",
                "Split by time, or by the entity.", "critical",
            )  # fmt: skip
    if split is not None and split.by is not None and label is not None:
        seeing = tuple(verdict.feature for verdict in verdicts.values() if verdict.made_of_label)
        yield from late_labels(resolved, split.by, split.embargo, seeing)
    yield from effects_at_predictions(resolved)
    if split is None and any(verdict.fitted_on for verdict in verdicts.values()):
        yield Threat(
            "nothing_held_out",
            tuple(name for name, verdict in verdicts.items() if verdict.fitted_on),
            "The examples declare no split, so statistics are fitted on all rows.",
            "Declare a split before a model is compared on rows that it was trained on.",
        )
    for name, source in spec.sources.items():
        if source.written_by is not None and source.written_by == spec.name:
            users = [v.feature for v in verdicts.values() if any(u.source == name for u in v.uses)]
            if users:
                yield Threat(
                    "feedback", tuple(users),
                    f"{name!r} holds what this model said before, and the model learns from it.",
                    "Keep a share of examples that the model had no part in, and train on those.",
                )  # fmt: skip


def _told(uses: Sequence[Use]) -> str:
    """Return the reason and the advice of several uses of one kind, as sentences."""
    first = uses[0]
    columns = tuple(dict.fromkeys(use.column for use in uses))
    if len(columns) == 1 or first.kind not in _TOGETHER:
        return f"{_sentence(first.reason.partition(' (through ')[0])} {_sentence(first.advice)}"
    return _TOGETHER[first.kind].format(columns=_some(columns), source=first.source)


def _sentence(text: str) -> str:
    """Return a clause as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown or "all features"
