"""The command `featurekit ablate`: its arguments, and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path

from featurekit.console import as_json, found_ablation, progress_bar
from featurekit.errors import UsageError
from featurekit.help_texts import ROLES
from featurekit.table_options import add_table_arguments, table_of

__all__ = ["add_ablate_arguments", "run_ablate"]

_TIERS = ("linear", "permutation", "retrain")


def add_ablate_arguments(ablate: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    text = "the folder of a run, a spec, or a table: a Parquet or CSV file, or a glob in quotes"
    ablate.add_argument("subject", metavar="RUN|SPEC|TABLE", help=text)
    for role, text in ROLES.items():
        ablate.add_argument(f"--{role}", metavar="COLUMN", help=text)
    option = ablate.add_argument
    text = (
        "the column of the rows' weights; of a spec one of its keys (default: all weigh the same)"
    )
    option("--weights", metavar="COLUMN", help=text)
    text = "a column that is no feature; may be given again (default: the keys of a spec)"
    option("--exclude", metavar="COLUMN", action="append", default=[], help=text)
    text = "a number that names a category; may be given again (default: the codes of a run)"
    option("--categorical", metavar="COLUMN", action="append", default=[], help=text)
    text = "features to leave out together; may be given again (default: those of the spec)"
    option("--group", metavar="NAME=COLUMN,...", action="append", default=[], help=text)
    text = (
        "when a feature was made, to tell what is legacy; may be given again (default: `created` "
    )
    text += "in the spec)"
    option("--created", metavar="COLUMN=DATE", action="append", default=[], help=text)
    text = "binary, multiclass or regression (default: what the label looks like)"
    option("--task", metavar="NAME", help=text)

    group = ablate.add_argument_group("models")
    option = group.add_argument
    text = "linear, permutation or retrain; may be given again (default: linear and retrain)"
    option("--tier", choices=_TIERS, action="append", default=[], metavar="NAME", help=text)
    text = "what is trained: an estimator of scikit-learn's kind, or what makes one (default: "
    text += "gradient boosting by histograms)"
    option("--model", metavar="MODULE:NAME", help=text)
    text = "a scorer of scikit-learn (default: neg_log_loss or neg_mean_squared_error)"
    option("--metric", metavar="NAME", help=text)
    text = "when to end shuffling, retraining and checking the smaller set: so long after the "
    text += "start, such as 90s, 10m or 2h, or none for no limit; reading and linear models are "
    text += "always finished, and so is a training that has begun (default: 10m)"
    option("--budget", metavar="TIME", default="10m", help=text)
    text = "train and shuffle at most so many rows (default: 50000)"
    option("--rows", metavar="N", type=int, default=50_000, help=text)
    option("--folds", metavar="N", type=int, default=5, help="hold out N folds (default: 5)")
    text = "repeat retraining and shuffling with so many seeds (default: 3)"
    option("--seeds", metavar="N", type=int, default=3, help=text)
    text = "what is negligible, as a share of the model's skill (default: 0.005)"
    option("--margin", metavar="X", type=float, default=0.005, help=text)
    text = "the seed of all that is drawn (default: 0)"
    option("--seed", metavar="N", type=int, default=0, help=text)
    text = "so many trainings at a time, with one thread each (default: one for each core)"
    option("--jobs", metavar="N", type=int, help=text)
    text = "keep trainings there, and go on from those that it has (default: beside --out)"
    option("--trials", metavar="FILE", help=text)
    text = "local, or beam to spread trainings over a Beam runner: what follows -- is for Beam "
    text += "(default: local)"
    option("--engine", metavar="NAME", default="local", help=text)

    text = "write the report, and the same as JSON beside it (default: print a summary only)"
    ablate.add_argument("--out", metavar="FILE.html", help=text)
    text = "write the spec without the features that can go (default: none)"
    ablate.add_argument("--write-spec", metavar="FILE.yaml", help=text)
    text = (
        "the file that the run's spec is in, whose comments --write-spec then keeps (default: the "
    )
    text += "spec as the run holds it)"
    ablate.add_argument("--spec", metavar="SPEC", help=text)
    text = "replace files that stand there (default: refuse)"
    ablate.add_argument("--overwrite", action="store_true", help=text)
    text = "print all that was found as JSON (default: text)"
    ablate.add_argument("--json", action="store_true", help=text)
    add_table_arguments(ablate)


def run_ablate(arguments: argparse.Namespace) -> str | list[str]:
    """Carry it out, and return what to print."""
    from featurekit.ablation import DEFAULT_TIERS, ablate
    from featurekit.artifact import check_file_target
    from featurekit.report.page import check_report_target

    out = None if arguments.out is None else Path(arguments.out)
    if out is not None:
        check_report_target(out, arguments.overwrite)
    smaller = None if arguments.write_spec is None else Path(arguments.write_spec)
    if smaller is not None:
        check_file_target(smaller, arguments.overwrite)
        _check_spec(arguments.subject, arguments.spec)
    elif arguments.spec is not None:
        raise UsageError("--spec says what --write-spec begins from, and needs it")
    trials = arguments.trials or (None if out is None else out.with_suffix(".trials"))
    arguments.interrupted = partial(_interrupted, None if trials is None else Path(trials))
    with progress_bar(shown=not arguments.json) as progress:
        found = ablate(
            table_of(arguments), label=arguments.label, split=arguments.split,
            entity=arguments.entity, time=arguments.time, weights=arguments.weights,
            exclude=arguments.exclude, categorical=arguments.categorical, task=arguments.task,
            metric=arguments.metric, model=arguments.model,
            groups={name: text.split(",") for name, text in _named("--group", arguments.group)},
            created={name: _day(text) for name, text in _named("--created", arguments.created)},
            tiers=arguments.tier or DEFAULT_TIERS,
            budget=None if arguments.budget == "none" else arguments.budget,
            rows=arguments.rows, folds=arguments.folds, seeds=arguments.seeds,
            margin=arguments.margin, seed=arguments.seed, jobs=arguments.jobs, trials=trials,
            engine=arguments.engine, beam=getattr(arguments, "beam", ()), progress=progress,
        )  # fmt: skip
        if out is not None:
            found.to_html(out, overwrite=arguments.overwrite)
        if smaller is not None:
            found.write_spec(smaller, arguments.spec, overwrite=arguments.overwrite)
    if arguments.json:
        return as_json(found.to_dict())
    lines = [*found_ablation(found.to_dict(), arguments.out)]
    if smaller is not None:
        lines.append(f"the smaller spec: {smaller}")
    return lines


def _interrupted(trials: Path | None) -> str:
    """Return what is left of an ablation that was interrupted."""
    if trials is None or not trials.exists():
        return "nothing was written"
    return f"trainings that are done are in {trials}"


def _check_spec(subject: str, spec: str | None) -> None:
    """Refuse, before any work is done, a smaller spec that could not be written.

    Raises:
        UsageError: The subject is a table.
        DataError: The spec's file cannot be read.
        SpecErrors: It holds no spec.
    """
    from featurekit.spec.objects import format_of
    from featurekit.spec.yaml import load_spec

    if format_of(Path(subject).name) is not None:
        raise UsageError("the features of a table have no spec", where=subject)
    if spec is not None:
        load_spec(spec)


def _named(option: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return what was given as NAME=VALUE.

    Raises:
        UsageError: A text is something else.
    """
    found = []
    for text in texts:
        name, sign, value = text.partition("=")
        if not (sign and name and value):
            raise UsageError(f"{option} takes NAME=VALUE, got {text!r}")
        found.append((name, value))
    return found


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--created takes a date such as 2024-05-01, got {text!r}") from None
