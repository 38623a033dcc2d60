"""Contents of ablation reports, as plain data: measured ones of any size, and a made one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featurekit.analysis.ablation.linear import LinearAblation, ablate_linear

__all__ = ["complete_report", "linear_report", "many_features", "renamed"]

SOURCES = ("flights", "weather", "planes", "airports")
AGGREGATIONS = ("mean", "max", "count", "last")
METHOD = """\
A linear model is fitted on four fifths of the rows and scored on the others, with all features \
and without each of them. Nothing is trained again.
A feature matters when the adjusted test says that its worth is above 0. It is negligible when the \
whole interval lies within the margin.
""".splitlines()


def _table(features: int, rows: int, seed: int) -> dict[str, np.ndarray]:
    """Return columns of which a third matter, a third resemble another one, and a third are noise.

    Their names say what they are made of: column, aggregation, and a number.
    """
    draw = np.random.default_rng(seed)
    values: dict[str, np.ndarray] = {}
    label = np.zeros(rows)
    names = [f"{SOURCES[i % 4]}_{AGGREGATIONS[i // 4 % 4]}_{i:03}" for i in range(features)]
    for place, name in enumerate(names):
        column = draw.normal(size=rows)
        if place % 3 == 0:
            label += column * 1.2 / (1 + place / 3) ** 0.7
        elif place % 3 == 1 and place % 2:
            column = values[names[place - 1]] + 0.05 * column
        values[name] = column.astype(np.float32)
    label += draw.normal(size=rows)
    return {**values, "late": label > 0.8}


def families(names: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """Return groups of features: the family and the members of each, by name."""
    groups: dict[str, tuple[str, list[str]]] = {}
    for place, name in enumerate(names):
        source, aggregation, _ = (*name.split("_"), "", "")[:3]
        groups.setdefault(f"source {source}", ("source", []))[1].append(name)
        groups.setdefault(f"{aggregation}()", ("aggregation", []))[1].append(name)
        groups.setdefault(f"{source}.column_{place // 12}", ("column", []))[1].append(name)
        if place % 5 == 0:
            groups.setdefault("everything fifth", ("declared", []))[1].append(name)
    return groups


def linear_report(features: int, rows: int = 4_000, seed: int = 0) -> dict[str, Any]:
    """Return the content of a report whose only tier was measured on a made table."""
    table = _table(features, rows, seed)
    names = [name for name in table if name != "late"]
    groups = families(names)
    found = ablate_linear(
        table,
        "late",
        groups={name: members for name, (_, members) in groups.items()},
        seed=seed,
        pairs=features <= 100,
        relations=features <= 100,
    )
    tier = linear_tier(found, groups)
    verdicts = {
        one["name"]: {"tier": "linear", **{key: one[key] for key in
                      ("verdict", "effect", "low", "high")}}
        for one in tier["features"]
    }  # fmt: skip
    removable = [] if found.joint is None else list(found.joint.removable)
    return {
        "format": 1,
        "kind": "ablation",
        "of": {
            "kind": "table", "name": "flights", "label": "late", "split": "split", "entity": None,
            "time": "departure", "weights": None, "features": features, "rows": rows,
            "confirmation_rows": rows // 4, "says": {"label": "arr_delay > 15"},
            "exclude": ["row_id"],
        },
        "task": "binary",
        "tiers": [tier],
        "verdicts": verdicts,
        "relations": [
            {
                "kind": str(one.kind), "features": list(one.features), "others": list(one.others),
                "group": one.group, "evidence": {k: _bound(b) for k, b in one.evidence.items()},
                "rescue_share": one.rescue_share, "tier": "linear", "confirmed": None,
                "confirmation": None,
            }
            for one in found.relations
        ],
        "joint": None if found.joint is None else {
            "flagged": list(found.joint.flagged), "effect": _bound(found.joint.effect),
            "removable": removable, "removable_effect": _bound(found.joint.removable_effect),
            "tier": "linear",
        },
        "costs": _costs(names),
        "proposal": _proposal(names, removable, found),
        "findings": [],
        "method": list(METHOD),
        "settings": {"seed": seed, "folds": 5, "margin": 0.005},
        "versions": {"featurekit": "0.1.0", "numpy": np.__version__},
    }  # fmt: skip


def linear_tier(found: LinearAblation, groups: Mapping[str, tuple[str, list[str]]]) -> Any:
    """Return what a linear ablation measured, as a tier of a report."""
    interactions = found.interactions
    most = min(40, len(found.features))
    order = sorted(range(len(found.features)), key=lambda j: -found.singles[j].effect)[:most]
    return {
        "tier": "linear", "model": "logistic regression, penalty 1", "loss": str(found.loss),
        "full": found.full_loss, "baseline": found.baseline_loss, "skill": found.skill,
        "margin": found.margin, "rows": found.rows, "clusters": found.clusters,
        "folds": found.folds, "seeds": 1, "ordered": found.ordered, "seconds": 1.25,
        "complete": True, "trials": None,
        "features": [_worth(one, None) for one in found.singles],
        "groups": [_worth(one, groups[one.name][0]) for one in found.groups],
        "pairs": None if interactions is None else {
            "names": [found.features[j] for j in order],
            "interactions": interactions[np.ix_(order, order)].tolist(),
        },
    }  # fmt: skip


def _worth(one: Any, family: str | None) -> dict[str, Any]:
    return {
        "name": one.name, "features": list(one.features), "family": family, "effect": one.effect,
        "standard_error": one.standard_error, "low": one.low, "high": one.high,
        "p_value": one.p_value, "negligible_p_value": one.negligible_p_value,
        "verdict": str(one.verdict),
    }  # fmt: skip


def _bound(bound: Any) -> dict[str, float]:
    return {"effect": bound.effect, "low": bound.low, "high": bound.high}


def _costs(names: Sequence[str]) -> dict[str, Any]:
    return {
        name: {
            "sources": [name.split("_")[0]], "columns": [f"{name.split('_')[0]}.column_{i // 12}"],
            "bytes": None if i % 11 == 10 else 1_500 * (1 + 37 * i % 101) ** 3,
            "own_bytes": 0 if i % 2 else 400 * (1 + 37 * i % 101) ** 3,
            "seconds": 0.02 * (1 + 13 * i % 17) ** 2,
        }
        for i, name in enumerate(names)
    }  # fmt: skip


def _proposal(names: Sequence[str], remove: Sequence[str], found: LinearAblation) -> Any:
    if not remove:
        return None
    smaller = found.full_loss + 0.2 * found.margin
    return {
        "keep": [name for name in names if name not in remove], "remove": list(remove),
        "reasons": dict.fromkeys(remove, "redundant: another feature says the same"),
        "model": "logistic regression, penalty 1", "loss": str(found.loss),
        "full": found.full_loss, "smaller": smaller,
        "difference": {"effect": 0.2 * found.margin, "low": -0.4 * found.margin,
                       "high": 0.8 * found.margin},
        "rows": 1_000, "folds": None, "margin": found.margin,
        "saved": {"bytes": 1_234_567_890, "seconds": 4.2, "sources": ["weather"]},
        "diff": "--- flights.yaml\n+++ flights.yaml (smaller)\n@@ -1,3 +1,2 @@\n features:\n"
        + "".join(f"-  {name}: zscore({name})\n" for name in remove) + "   kept: log(x)\n",
    }  # fmt: skip


def complete_report() -> dict[str, Any]:
    """Return the content of a report that has every part: three tiers, every kind of relation."""
    report = linear_report(12, rows=2_000)
    linear = report["tiers"][0]
    names = [one["name"] for one in linear["features"]]
    permutation = {
        **linear, "tier": "permutation", "model": "the trained model my.module:make",
        "features": [_scaled(one, 1.4) for one in linear["features"]], "groups": [], "pairs": None,
        "seconds": 12.0,
    }  # fmt: skip
    retrain = {
        **linear, "tier": "retrain", "model": "HistGradientBoostingClassifier", "seeds": 3,
        "features": [_scaled(one, 1.1) for one in linear["features"][:8]], "pairs": None,
        "groups": [_scaled(one, 1.2) for one in linear["groups"]], "seconds": 421.0,
        "complete": False, "trials": {"done": 96, "planned": 150, "spared": 24},
    }  # fmt: skip
    report["tiers"] = [linear, permutation, retrain]
    verdicts = report["verdicts"]
    for tier in (permutation, retrain):
        for one in tier["features"]:
            verdicts[one["name"]] = {"tier": tier["tier"], **{
                key: one[key] for key in ("verdict", "effect", "low", "high")}}  # fmt: skip
    bound = {"effect": 0.021, "low": 0.017, "high": 0.025}
    small = {"effect": 0.0001, "low": -0.0004, "high": 0.0006}
    kinds: list[tuple[str, dict[str, Any], list[str], list[str], bool | None]] = [
        ("legacy", {"effect": small, "without the others": bound, "the others": bound,
                    "the others less the effect": bound}, names[1:2], names[:1], True),
        ("redundant", {"effect": small, "without the others": bound, "the others": bound,
                       "the others less the effect": bound}, names[4:5], names[3:4], None),
        ("duplicate", {"together": bound}, names[5:8], [], False),
        ("substitutes", {"member 0": small, "member 1": small, "together": bound},
         names[6:8], [], True),
        ("complements", {"interaction": bound, "together": bound, "first without second": small,
                         "second without first": small}, names[8:10], [], True),
        ("free riders", {"group": bound, "effect": small, "without the others": small},
         names[10:11], names[9:10], None),
    ]  # fmt: skip
    report["relations"] = [
        {
            "kind": kind, "features": features, "others": others,
            "group": "everything fifth" if kind == "free riders" else "", "evidence": evidence,
            "rescue_share": 0.97 if kind in ("legacy", "redundant") else None,
            "tier": "retrain" if confirmed is not None else "linear", "confirmed": confirmed,
            "confirmation": None if confirmed is None else evidence,
        }
        for kind, evidence, features, others, confirmed in kinds
    ]  # fmt: skip
    remove = [names[1], names[4], names[11]]
    report["joint"] = {
        "flagged": [*remove, names[10]], "effect": bound, "removable": remove,
        "removable_effect": small, "tier": "retrain",
    }  # fmt: skip
    full, margin = retrain["full"], retrain["margin"]
    report["proposal"] = {
        **(report["proposal"] or {}), "keep": [name for name in names if name not in remove],
        "remove": remove,
        "reasons": {
            names[1]: f"legacy: superseded by {names[0]}",
            names[4]: f"redundant: {names[3]} says the same",
            names[11]: "negligible",
        },
        "model": retrain["model"], "loss": retrain["loss"], "full": full,
        "smaller": full + 0.2 * margin,
        "difference": {"effect": 0.2 * margin, "low": -0.3 * margin, "high": 0.7 * margin},
        "rows": 500, "folds": 5, "margin": margin,
        "saved": {"bytes": 1_234_567_890, "seconds": 4.2, "sources": ["weather"]},
        "diff": "--- flights.yaml\n+++ flights.yaml (smaller)\n@@ -10,4 +10,2 @@\n features:\n"
        + "".join(f"-  {name}: zscore({name})\n" for name in remove) + "   hour: hour(departure)\n",
    }  # fmt: skip
    report["findings"] = [
        {
            "features": names[1:2], "kind": "legacy", "severity": "warning",
            "message": f"{names[1]} is superseded by {names[0]}.", "effect": None, "evidence": {},
            "advice": "Remove it.",
        },
        {
            "features": [], "kind": "few_rows", "severity": "warning",
            "message": "Few rows stand behind each fold.", "effect": None, "evidence": {},
            "advice": "Take more.",
        },
    ]  # fmt: skip
    return report


def many_features(count: int) -> dict[str, Any]:
    """Return the content of a report on many features, made from one on a few of them."""
    report = linear_report(40, rows=1_000)
    (tier,) = report["tiers"]
    tier["features"] = [
        {**tier["features"][place % 40], "name": f"feature_{place:03}",
         "features": [f"feature_{place:03}"],
         "effect": tier["features"][place % 40]["effect"] / (1 + place // 40)}
        for place in range(count)
    ]  # fmt: skip
    names = [one["name"] for one in tier["features"]]
    groups = families([f"{SOURCES[place % 4]}_mean_{name}" for place, name in enumerate(names)])
    tier["groups"] = [
        {**tier["groups"][0], "name": name, "family": family,
         "features": [member.split("_", 2)[2] for member in members]}
        for name, (family, members) in groups.items()
    ]  # fmt: skip
    report["costs"] = _costs(names)
    report["of"]["features"] = count
    report["verdicts"] = {
        one["name"]: {"tier": "linear", **{key: one[key] for key in
                      ("verdict", "effect", "low", "high")}}
        for one in tier["features"]
    }  # fmt: skip
    return report


def _scaled(one: Mapping[str, Any], factor: float) -> dict[str, Any]:
    numbers = {key: one[key] * factor for key in ("effect", "standard_error", "low", "high")}
    return {**one, **numbers}


def renamed(report: Any, names: Mapping[str, str]) -> Any:
    """Return a report in which every text that is a name, key or value, is another one."""
    if isinstance(report, str):
        return names.get(report, report)
    if isinstance(report, Mapping):
        return {renamed(key, names): renamed(value, names) for key, value in report.items()}
    if isinstance(report, (list, tuple)):
        return [renamed(value, names) for value in report]
    return report
