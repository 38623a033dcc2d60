"""What follows from an ablation: findings, with what to do, and the paragraphs that say how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from featurekit.analysis.ablation.inference import (
    CONFIDENCE,
    FALSE_DISCOVERIES,
    LEVEL,
)
from featurekit.analysis.findings import Effect, Finding, Severity, by_severity

__all__ = ["KINDS", "findings_of", "method_of"]

KINDS = (
    "legacy", "duplicate", "redundant", "free_riders", "harmful", "constant", "substitutes",
    "complements", "negligible",
)  # fmt: skip
"""Kinds of findings, those that a team can act on first."""

_LARGEST = 8
"""A sentence names so many features."""


def findings_of(
    relations: Sequence[Mapping[str, Any]],
    verdicts: Mapping[str, Mapping[str, Any]],
    constant: Sequence[str],
    loss: str,
) -> tuple[Finding, ...]:
    """Return what was found, what can be acted on first.

    Args:
        relations: As plain data; what retraining has refuted is left out.
        verdicts: Of each feature, as plain data.
        constant: Columns with one value.
        loss: What effects are in units of.
    """
    found = [_of_relation(each, loss) for each in relations if each["confirmed"] is not False]
    settled = {name for each in found if each.severity > Severity.NOTE for name in each.features}
    for name in constant:
        text = f"{_quoted([name])} has one value in all rows."
        found.append(Finding((name,), "constant", Severity.WARNING, text, advice="Leave it out."))
    for name, said in verdicts.items():
        if said["verdict"] == "harmful" and name not in settled:
            found.append(
                Finding(
                    (name,), "harmful", Severity.WARNING,
                    f"{_quoted([name])} is harmful: the model is better without it, for it learns "
                    "noise from it.",
                    Effect(loss, said["effect"], said["low"], said["high"]),
                    {"tier": said["tier"]},
                    "Leave it out.",
                )
            )  # fmt: skip
        elif said["verdict"] == "negligible" and name not in settled:
            found.append(
                Finding(
                    (name,), "negligible", Severity.NOTE,
                    f"Beside the others, {_quoted([name])} is negligible: its effect is within the "
                    "margin.",
                    Effect(loss, said["effect"], said["low"], said["high"]),
                    {"tier": said["tier"]},
                    "It can go, as long as what stands in for it stays.",
                )
            )  # fmt: skip
    return by_severity(found, KINDS)


def _of_relation(relation: Mapping[str, Any], loss: str) -> Finding:
    kind = relation["kind"]
    message, advice, severity, key = _SAYS[kind]
    names, others = relation["features"], relation["others"]
    evidence = relation["confirmation"] or relation["evidence"]
    bound = evidence.get(key)
    share = relation["rescue_share"]
    return Finding(
        tuple(names),
        kind.replace(" ", "_"),
        severity,
        message.format(
            names=_quoted(names),
            others=_quoted(others),
            have="has" if len(others) == 1 else "have",
            group=relation["group"],
            share="" if share is None else f"{share:.0%}",
        ),
        None if bound is None else Effect(loss, bound["effect"], bound["low"], bound["high"]),
        {**evidence, "others": others, "group": relation["group"], "rescue_share": share,
         "tier": relation["tier"], "confirmed": relation["confirmed"]},
        advice.format(names=_quoted(names), others=_quoted(others)),
    )  # fmt: skip


_SAYS: Mapping[str, tuple[str, str, Severity, str]] = {
    "legacy": (
        "{names} is legacy: {others}, which is newer, {have} taken over {share} of its worth.",
        "Leave {names} out, and keep {others}.",
        Severity.WARNING,
        "effect",
    ),
    "redundant": (
        "{names} is redundant: {others} {have} taken over {share} of its worth.",
        "Leave {names} out as long as {others} stays.",
        Severity.WARNING,
        "effect",
    ),
    "duplicate": (
        "{names} are the same, up to a factor.",
        "Keep one of them.",
        Severity.WARNING,
        "together",
    ),
    "free riders": (
        "In the group {group}, {names} is idle: {others} does all of its work.",
        "Leave {names} out of the group.",
        Severity.WARNING,
        "effect",
    ),
    "substitutes": (
        "{names} stand in for each other: none costs more than the margin alone, all together do.",
        "Keep one of them; which one is your choice.",
        Severity.NOTE,
        "together",
    ),
    "complements": (
        "{names} are worth something only together.",
        "Keep both, or neither.",
        Severity.NOTE,
        "interaction",
    ),
}
"""For each kind of relation: message, advice, how much it weighs, and which number is its size."""


def _quoted(names: Sequence[str]) -> str:
    """Return names for a sentence.

    Example:
        >>> _quoted(["a", "b", "c"])
        "'a', 'b' and 'c'"
    """
    shown = [f"'{name}'" for name in names[:_LARGEST]]
    if len(names) > _LARGEST:
        shown.append(f"{len(names) - _LARGEST} more")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def method_of(
    tiers: Iterable[Mapping[str, Any]],
    *,
    share: float,
    by: str,
    sampled: int | None,
    embargo: str | None,
    checked: int,
    split: Sequence[str],
) -> list[str]:
    """Return the paragraphs that say how numbers came about, from what ran.

    Args:
        tiers: As plain data.
        share: The margin as a share of the skill.
        by: What clusters are: `entity`, `time` or nothing.
        sampled: How many rows models were trained and shuffled on, where not on all.
        embargo: How long before a fold rows are left out.
        checked: How many rows were kept apart.
        split: The parts of the split, the one that was kept apart last.
    """
    found = list(tiers)
    return [*_folds(found, by, embargo), *_of_tiers(found, sampled), *_inference(found, share, by),
            *_apart(checked, split)]  # fmt: skip


def _folds(tiers: Sequence[Mapping[str, Any]], by: str, embargo: str | None) -> Iterator[str]:
    trained = [tier for tier in tiers if not tier.get("given")]
    if not trained:
        return
    first = trained[0]
    if first["ordered"]:
        gap = f", and rows within {embargo} before it were left out" if embargo else ""
        yield (
            f"Rows were cut into {first['folds'] + 1} blocks that follow each other in time. Each "
            f"block but the first was predicted by models of the earlier ones{gap}."
        )
    else:
        kept = "; rows of one entity stayed together" if by == "entity" else ""
        yield (
            f"Rows were dealt into {first['folds']} folds{kept}. Each fold was predicted by models "
            "of the others."
        )


def _of_tiers(tiers: Sequence[Mapping[str, Any]], sampled: int | None) -> Iterator[str]:
    some = f" (a sample of about {sampled:,} rows)" if sampled is not None else ""
    for tier in tiers:
        if tier["tier"] == "linear":
            yield (
                f"Linear surrogate: {tier['model']}, on {tier['rows']:,} rows. All models without "
                "a feature, a pair or a group follow in closed form from the products of the "
                "columns, and equal training again. It sees no interaction that is not linear."
            )
        elif tier["tier"] == "permutation":
            yield (
                f"Permutation: {tier['model']}, on {tier['rows']:,} {_rows_of(tier)}{some}. A "
                f"feature was shuffled {_times(tier['seeds'])} among rows that look alike in all "
                "other features, by a tree that predicts it from them. The model was not trained "
                "again: one trained without the feature may make up for it."
            )
        else:
            trials = tier["trials"]
            spared = f"; {trials['spared']:,} were not needed" if trials["spared"] else ""
            ended = "" if tier["complete"] else " The budget ended before all were done."
            yield (
                f"Retraining: {tier['model']}, on {tier['rows']:,} rows{some}, without each "
                f"feature and group, {tier['folds']} folds with up to {tier['seeds']} seeds: "
                f"{trials['done']:,} trainings{spared}, since what was decided was not tried "
                f"again.{ended}"
            )


def _rows_of(tier: Mapping[str, Any]) -> str:
    return "rows, by the model that was given" if tier.get("given") else "held-out rows"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _inference(tiers: Sequence[Mapping[str, Any]], share: float, by: str) -> Iterator[str]:
    if not tiers:
        return
    loss = tiers[-1]["loss"]
    clusters = {"entity": "entities", "time": "blocks of time"}.get(by, "rows, each for itself")
    yield (
        f"An effect is the {loss} of held-out rows without a feature less the {loss} with all. Its "
        f"standard error is the larger one of two: over {clusters}, and over folds and seeds"
        f"{_shrunk(tiers)}. "
        f"Intervals of all features hold together with {CONFIDENCE:.0%} (Bonferroni), those of "
        "each kind of group as well."
    )
    yield (
        f"A feature matters if its effect is above 0 (Holm's adjustment, level {LEVEL:.0%}). It is "
        f"negligible if its effect is surely within {share:.2%} of the skill around 0, the skill "
        "being what the full model loses less than a constant (two one-sided tests, adjusted by "
        f"Benjamini and Hochberg, {FALSE_DISCOVERIES:.0%}). It is harmful if its whole interval is "
        "below 0, and it is not negligible. Otherwise it is undecided, which does "
        "not mean that it can go. If a feature is worth nothing, p-values are not uniform but "
        "larger, because models learn noise from it."
    )


def _shrunk(tiers: Sequence[Mapping[str, Any]]) -> str:
    if all(tier["tier"] == "linear" for tier in tiers):
        return ""
    return " (of trained models, whose folds are few, shrunk towards what all features share)"


def _apart(checked: int, split: Sequence[str]) -> Iterator[str]:
    which = f"the split {split[-1]}" if split else "a fifth"
    yield (
        f"Nothing was decided on {checked:,} rows, {which}. They say what the smaller set is worth."
    )
