"""What rows lose without sets of features, as far as it was measured: trials run once, and kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from featurekit.analysis.ablation.inference import Estimates
from featurekit.analysis.ablation.paired import Cells, Term, mean_loss, paired_estimates
from featurekit.analysis.ablation.parallel import Runner
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.scores import PartLosses
from featurekit.analysis.ablation.store import Store
from featurekit.analysis.ablation.trials import Outcome, Trial

__all__ = ["NOTHING", "Dropped", "Measurements", "Progress"]

Dropped = frozenset[str]
"""Features that are left out together."""

NOTHING: Dropped = frozenset()


@dataclass(frozen=True)
class Progress:
    """How far the trials are.

    Args:
        done: Trials that are done, those that were kept from earlier included.
        planned: Those and all that may still be needed; it falls when sets are decided early.
        seconds_left: What these are expected to take, or what is left of the budget, if that is
            less; `None` before the first trial is done.
    """

    done: int
    planned: int
    seconds_left: float | None


class Measurements:
    """Runs the trials that are not known yet.

    A round of a set of features is one training in each fold, all with seeds of their own, which
    are the same for every set. It counts when it is complete.

    Where another seed changes nothing about the full model in the first fold, down to the last bit,
    the model is taken not to depend on seeds: then one round is all there is.

    Args:
        problem: What is learnt.
        looks: How many rounds there are at most.
        runner: What runs trials.
        store: Where they are kept; `None` for in memory only.
        budget: Seconds until no more trials are begun; `None` for no end.
        report: Is told of the progress after every trial, and once for those that were kept.
    """

    def __init__(
        self,
        problem: Problem,
        looks: int,
        runner: Runner,
        store: Store | None = None,
        budget: float | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> None:
        self.folds = problem.held_out
        self.looks = looks
        """How many rounds there are at most, as far as is known."""
        self.seedless = False
        """Whether seeds are known to change nothing."""
        self.everything: Dropped = frozenset(problem.features)
        self.parts = int(problem.parts.max()) + 1
        self.late = False
        """Whether time ran out."""
        self.trained = 0
        """How many trials were run, and not found in the store."""
        self._first_seed = problem.seed
        self._runner, self._store, self._report = runner, store, report
        self._deadline = math.inf if budget is None else time.monotonic() + budget
        self._known: dict[Trial, PartLosses] = {}
        self._seconds: list[float] = []
        self._planned: set[Trial] = set()
        self._ever: set[Trial] = set()
        self._used: set[Trial] = set()
        self._stored = {} if store is None else {one.trial: one for one in store.read()}

    @property
    def done(self) -> int:
        """How many trials were needed and are there."""
        return len(self._used)

    @property
    def left(self) -> int:
        """How many trials are not done that may still be needed."""
        return len(self._planned - self._used)

    @property
    def spared(self) -> int:
        """How many trials were planned once and are not needed any more."""
        return len(self._ever - self._planned - self._used)

    def trials(self, sets: Iterable[Dropped], rounds: Iterable[int]) -> list[Trial]:
        """Return the trials of some rounds of some sets, each once, set by set."""
        places = tuple(rounds)
        found = (
            Trial(tuple(sorted(some)), fold, self._seed(place, number))
            for some in sets for place in places for number, fold in enumerate(self.folds)
        )  # fmt: skip
        return list(dict.fromkeys(found))

    def plan(self, trials: Iterable[Trial]) -> None:
        """Say which trials may be needed from now on."""
        self._planned = set(trials)
        self._ever |= self._planned

    def _probe(self) -> list[Trial]:
        """Return the trials that show whether seeds change anything."""
        return [
            Trial((), self.folds[0], self._seed(place, 0))
            for place in (0, 1) if self.looks > 1
        ]  # fmt: skip

    def measure(self, sets: Sequence[Dropped], rounds: Sequence[int]) -> None:
        """Run what is not known of some rounds of some sets, the first ones first.

        Beside them, the full model and the constant are measured; `late` says whether time ran out.
        """
        wanted = [*self._probe(), *self.trials([NOTHING], rounds)]
        wanted += [*self.trials([self.everything], [0]), *self.trials(sets, rounds)]
        wanted = list(dict.fromkeys(wanted))
        self.plan(self._planned.union(wanted))
        missing: list[Trial] = []
        found = False
        for trial in wanted:
            kept = self._stored.get(trial)
            if trial in self._known:
                self._used.add(trial)
            elif kept is not None:
                self._take(kept)
                found = True
            else:
                missing.append(trial)
        if found and self._report is not None:
            self._report(self.progress())
        if missing and not self.late:
            for outcome in self._runner.run(self._in_time(missing)):
                if self._store is not None:
                    self._store.write(outcome)
                self.trained += 1
                self._take(outcome)
                if self._report is not None:
                    self._report(self.progress())

    def rounds(self, dropped: Dropped) -> int:
        """Return how many rounds of a set are complete, from the first on."""
        for place in range(self.looks):
            needed = self.trials([NOTHING, dropped], [place])
            if not all(trial in self._known for trial in needed):
                return place
        return self.looks

    def cells(self, dropped: Dropped, rounds: int) -> Cells:
        """Return what rows lose without a set, in so many rounds, which must be complete."""
        return {
            (trial.fold, trial.seed): self._known[trial]
            for trial in self.trials([dropped], range(rounds))
        }

    def full(self) -> Cells:
        """Return what rows lose with all features, in the rounds that are complete."""
        return self.cells(NOTHING, self.rounds(NOTHING))

    def estimates(self, sums: Sequence[Sequence[tuple[float, Dropped, int]]]) -> Estimates:
        """Return sums of effects.

        Args:
            sums: For each one, factors, the sets whose effects they are of, and how many of their
                rounds count.
        """
        terms = [
            [Term(factor, self.cells(some, rounds)) for factor, some, rounds in each]
            for each in sums
        ]
        return paired_estimates(self.full(), terms, self.parts)

    def losses(self, rounds: int) -> tuple[float, float]:
        """Return the mean loss of the full model, and of a constant; NaN where it is not known."""
        constant = self.trials([self.everything], [0])
        if not self.rounds(NOTHING) or not all(trial in self._known for trial in constant):
            return math.nan, math.nan
        full = self.cells(NOTHING, min(rounds, self.rounds(NOTHING)))
        return mean_loss(full), mean_loss(self.cells(self.everything, 1))

    def progress(self) -> Progress:
        """Return how far the trials are."""
        left, seconds = self.left, None
        if self._seconds:
            seconds = left * self._mean_seconds() / self._runner.jobs
            seconds = max(0.0, min(seconds, self._deadline - time.monotonic()))
        return Progress(len(self._used), len(self._used) + left, seconds)

    def _take(self, outcome: Outcome) -> None:
        self._known[outcome.trial] = outcome.losses
        self._used.add(outcome.trial)
        if set(outcome.trial.dropped) != self.everything:
            # A constant takes no time.
            self._seconds.append(outcome.seconds)
        probe = self._probe()
        if outcome.trial in probe and all(trial in self._known for trial in probe):
            one, other = (self._known[trial] for trial in probe)
            if np.array_equal(one.sums, other.sums):
                self.looks, self.seedless = 1, True
                first = {self._seed(0, number) for number in range(len(self.folds))}
                self._planned = {trial for trial in self._planned if trial.seed in first}

    def _seed(self, place: int, number: int) -> int:
        return self._first_seed + place * len(self.folds) + number

    def _mean_seconds(self) -> float:
        return float(np.mean(self._seconds))

    def _in_time(self, trials: Collection[Trial]) -> Iterator[Trial]:
        """Yield trials as long as another one is expected to end in time."""
        for trial in trials:
            expected = self._mean_seconds() if self._seconds else 0.0
            if time.monotonic() + expected >= self._deadline:
                self.late = True
                return
            yield trial
