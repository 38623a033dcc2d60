"""Ablation: one call that says what every feature of a run or a table is worth, and what can go."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from featurekit.analysis.findings import summarised
from featurekit.arguments import expect, names_of, number_of, one_of, path_of
from featurekit.artifact import versions
from featurekit.errors import UsageError
from featurekit.job import Progress
from featurekit.report.page import write_report
from featurekit.smaller import write_smaller
from featurekit.spec.yaml import load_spec
from featurekit.summary import Described, Summary
from featurekit.types import parse_duration

if TYPE_CHECKING:
    from featurekit.analysis.findings import Finding
    from featurekit.spec.objects import Spec

__all__ = ["TIERS", "AblationReport", "ablate"]

FORMAT = 1
TIERS = ("linear", "permutation", "retrain")
"""Kinds of models that say what features are worth, the strongest last."""
DEFAULT_TIERS = ("linear", "retrain")
ENGINES = ("local", "beam")
ROWS = 50_000
BUDGET = "10m"
_MODELS = ("numpy", "scipy", "scikit-learn")


@dataclass(frozen=True, repr=False)
class AblationReport(Described):
    """What features are worth, which of them are redundant or bundled, and what can go.

    Args:
        data: All of it as plain data: what `to_dict` gives, `--json` prints and a report shows.
        findings: What can be acted on, the most useful first.
        spec: The spec that the features are from, if they are.
        columns: The columns of its examples' source.
    """

    data: Mapping[str, Any] = field(repr=False)
    findings: tuple[Finding, ...]
    spec: Spec | None = field(default=None, repr=False)
    columns: tuple[str, ...] = field(default=(), repr=False)

    def _summary(self) -> Summary:
        return Summary(
            f"Ablation report of {self.data['of']['name']}",
            (("found", self.verdict), *summarised(self.findings)),
        )

    @property
    def verdict(self) -> str:
        """One line: how many features matter, and how many can go."""
        from featurekit.report.ablation import ablation_verdict

        return ablation_verdict(self.data)

    @property
    def verdicts(self) -> dict[str, str]:
        """`matters`, `negligible`, `harmful` or `undecided`, as the strongest models say."""
        return {name: said["verdict"] for name, said in self.data["verdicts"].items()}

    @property
    def smaller(self) -> tuple[str, ...]:
        """The features of the proposed smaller set; all of them where nothing can go."""
        proposal = self.data["proposal"]
        return tuple(proposal["keep"] if proposal else self.data["verdicts"])

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return dict(self.data)

    def to_html(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the report as one HTML file, and the same content as JSON beside it.

        Args:
            path: An `.html` file; the JSON has the same name with `.json`.
            overwrite: Whether files that stand there may be replaced.

        Raises:
            UsageError: A file cannot be written.
            EngineError: The disk is full or fails.
            MissingExtra: Altair, which draws, is not installed.
        """
        from featurekit.report.ablation import ablation_page

        write_report(self.data, ablation_page, path_of(path, "a report"), overwrite)

    def write_spec(
        self, path: str | Path, file: str | Path | None = None, *, overwrite: bool = False
    ) -> None:
        """Write the spec without the features that can go, and without what only they needed.

        Where none can go, it is the spec as it is.

        Args:
            path: The file to write.
            file: The file that the spec is in, whose comments and layout are kept; by default the
                file that was analysed, if that was a spec, and otherwise the spec is written anew.
            overwrite: Whether a file that stands there may be replaced.

        Raises:
            UsageError: There is no spec, or the file holds another one.
        """
        if self.spec is None:
            raise UsageError("the features of a table have no spec", where=self.data["of"]["name"])
        path = path_of(path, "the spec to write")
        subject = self.data["of"]
        if file is None and subject["kind"] == "spec" and Path(subject["name"]).is_file():
            file = subject["name"]
        if file is not None:
            written = load_spec(file)
            if set(written.features) != set(self.spec.features):
                raise UsageError(
                    "the file holds other features than the run", where=str(file),
                    hint="leave it out: the spec is then written as the run holds it",
                )  # fmt: skip
        proposal = self.data["proposal"]
        remove = proposal["remove"] if proposal else ()
        source = self.spec if file is None else file
        write_smaller(source, remove, path, overwrite, self.columns)

    def _repr_html_(self) -> str:
        """Return the report for a notebook, in a frame of its own."""
        from featurekit.report.ablation import ablation_page

        page = html.escape(ablation_page(self.data), quote=True)
        return f'<iframe srcdoc="{page}" title="ablation" width="100%" height="800"></iframe>'


def ablate(
    of: Any,
    *,
    label: str | None = None,
    split: str | None = None,
    entity: str | None = None,
    time: str | None = None,
    weights: str | None = None,
    exclude: Sequence[str] = (),
    categorical: Sequence[str] = (),
    task: str | None = None,
    metric: str | None = None,
    model: Any = None,
    groups: Mapping[str, Sequence[str]] = MappingProxyType({}),
    created: Mapping[str, Any] = MappingProxyType({}),
    tiers: Sequence[str] = DEFAULT_TIERS,
    budget: str | float | None = BUDGET,
    rows: int = ROWS,
    folds: int = 5,
    seeds: int = 3,
    margin: float = 0.005,
    seed: int = 0,
    jobs: int | None = None,
    trials: str | Path | None = None,
    engine: str = "local",
    beam: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
) -> AblationReport:
    """Say what features are worth: what a model loses without each, each group and each pair.

    Args:
        of: A finished run or its folder; a spec or its file, whose features are computed and not
            kept; or a table: pandas, Polars, Arrow, or the path of a Parquet or CSV file, or a
            glob; or a `Source` that says how CSV is written.
        label: The column of the label; needed for a table, and only there.
        split: The column of the split, of a table. The last part (test, or by name) is kept apart
            to check the smaller set; without a split, a fifth of the rows.
        entity: The column that names whose row it is; its rows are held out together. Of a run one
            of the keys.
        time: The column of the prediction's time; folds then follow each other. Of a run one of the
            keys, and what `predict_at` or the split goes by without it.
        weights: The column of the rows' weights; of a run one of the keys.
        exclude: Columns that are no features.
        categorical: Features that hold categories although they are numbers; of a run those of
            codes are known.
        task: `binary`, `multiclass` or `regression`; by default what the label looks like.
        metric: The name of a scorer of scikit-learn, for permutation and retraining; by default
            the log loss of classes and the squared error of numbers.
        model: What is trained: an estimator of scikit-learn's kind, something that makes one, or
            the name of either, `module:name`; by default gradient boosting by histograms. One that
            is fitted is asked as it is when features are shuffled: no row may be one that it was
            trained on.
        groups: Names of features by the name of a group, to be left out together; beside those of
            a run's spec.
        created: When features were made, by name, to tell legacy from what supersedes it; of a run
            the spec says so.
        tiers: Which models to ask: `linear`, all rows and no training; `permutation`, your model
            while features are shuffled; `retrain`, your model, trained again without each. By
            default the first and the last.
        budget: Wall time, such as `10m` or seconds; `None` for as long as it takes. Shuffling,
            retraining and checking the smaller set end with it, and a training that has begun by
            then. Before them the rows are read and the linear models computed, which always takes
            its time; where no time is left for checking the smaller set with your model, linear
            models do. What is finished by then is reported.
        rows: So many rows at most are trained on and shuffled, a sample by a hash of their values.
        folds: How many folds are held out.
        seeds: How often retraining is repeated with another seed, and shuffling.
        margin: What is negligible, as a share of the skill: of what the model loses less than a
            constant does.
        seed: Of all that is drawn.
        jobs: How many trainings at a time, each with one thread; by default one for each core.
        trials: A file that keeps trainings: a run that was interrupted, or ended by its budget,
            goes on from there.
        engine: `local`, or `beam` to spread trainings over a Beam runner.
        beam: Options for Beam, such as `--runner=DataflowRunner`.
        progress: Told when a stage begins.

    Returns:
        What was found.

    Raises:
        SpecErrors: The spec has problems.
        DataError: The data cannot be read, or its label says nothing.
        UsageError: A column has to be named, or is not there; the model cannot be trained.
        MissingExtra: scikit-learn or SciPy is not installed.

    Example:
        >>> import numpy as np, polars as pl
        >>> x, z, noise = np.random.default_rng(7).normal(size=(3, 2000))
        >>> table = pl.DataFrame({"x": x, "z": z, "y": x + noise})
        >>> ablate(table, label="y", tiers=["linear"]).verdicts
        {'x': 'matters', 'z': 'negligible'}
    """
    from featurekit.analysis.ablation.study import Settings, run_study

    tiers, beam = names_of(tiers, "tiers"), names_of(beam, "options for Beam")
    exclude = names_of(exclude, "columns to exclude")
    categorical = names_of(categorical, "categorical columns")
    roles = {"label": label, "split": split, "entity": entity, "time": time}
    for name, column in {**roles, "weights": weights}.items():
        expect(column, (str, type(None)), name, "the name of a column")
    number_of(margin, "the margin")
    number_of(seed, "the seed", whole=True, least=0)
    unknown = [tier for tier in tiers if tier not in TIERS]
    if unknown or not tiers:
        raise UsageError(
            f"there is no tier {unknown[0]!r}" if unknown else "no tier is asked for",
            hint=f"the tiers are {', '.join(TIERS)}",
        )
    if not 0.0 < margin < 1.0:
        raise UsageError(f"the margin is a share of the skill, above 0 and below 1, got {margin}")
    one_of(engine, ENGINES, "engine")
    least_of = (("rows", 100, rows), ("folds", 2, folds), ("seeds", 1, seeds), ("jobs", 1, jobs))
    for name, least, given in least_of:
        if given is not None and number_of(given, name, whole=True) < least:
            raise UsageError(f"{name} must be at least {least}, got {given}")
    settings = Settings(
        roles=roles,
        weights=weights, exclude=tuple(exclude), categorical=tuple(categorical), task=task,
        metric=metric, model=model, groups=groups, created=created,
        tiers=tuple(tier for tier in TIERS if tier in tiers), budget=_seconds(budget),
        rows=rows, folds=folds, seeds=seeds, margin=margin, seed=seed, jobs=jobs,
        trials=None if trials is None else path_of(trials, "trials"), engine=engine, beam=beam,
    )  # fmt: skip
    found, data, spec, columns = run_study(of, settings, progress)
    content = {"format": FORMAT, "kind": "ablation", **data, "versions": versions(more=_MODELS)}
    return AblationReport(content, found, spec, columns)


def _seconds(budget: str | float | None) -> float | None:
    """Return a budget in seconds.

    Raises:
        UsageError: It is no duration.
    """
    if budget is not None and not isinstance(budget, str):
        number_of(budget, "a budget, a duration such as 10m or seconds,")
    if budget is None or isinstance(budget, (int, float)):
        if budget is not None and not budget >= 0:
            raise UsageError(f"a budget is not negative, got {budget}")
        return None if budget == float("inf") else budget
    try:
        return parse_duration(budget) / 1e6
    except ValueError:
        raise UsageError(f"a budget is a duration such as 10m or 2h, got {budget!r}") from None
