"""Collects the problems of one spec, each with its place, so that all are raised together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featurekit.errors import FeatureKitError, LeakageError, SpecError, SpecErrors

if TYPE_CHECKING:
    from featurekit.spec.objects import Spec

__all__ = ["Place", "Problems", "Reported", "nearest"]

MOST = 100
"""So many problems are told; a file with more is not the spec that was meant."""

Places = Mapping[tuple[str, ...], str]


class Reported(SpecError):
    """Something cannot be done because of a problem that has been collected already."""

    def __init__(self) -> None:
        super().__init__("this uses something that has a problem of its own")


def nearest(places: Places, path: tuple[str, ...]) -> str:
    """Return `file:line` of the nearest known part at or above a path, or nothing."""
    for end in range(len(path), -1, -1):
        if path[:end] in places:
            return places[path[:end]]
    return ""


class Problems:
    """The problems found so far.

    Args:
        places: `file:line` of each part of the spec, by its path.
    """

    def __init__(self, places: Places | None = None) -> None:
        self.places: Places = {} if places is None else places
        self._found: list[tuple[int, FeatureKitError]] = []
        self._unreadable: set[tuple[str, ...]] = set()
        self._count = 0
        self.paths: set[tuple[str, ...]] = set()
        """The parts that have problems."""

    def __len__(self) -> int:
        return self._count

    def add(
        self, error: FeatureKitError, *path: str, label: str = "", place: str | None = None
    ) -> None:
        """Add a problem, unless it only follows from one that has been added.

        Args:
            error: The problem.
            path: The part of the spec that it is about.
            label: What messages call that part.
            place: Its `file:line`, when that is not the one of the part.
        """
        if isinstance(error, SpecErrors):
            for problem in error.problems:
                self.add(problem, *path, label=label, place=place)
        elif not isinstance(error, Reported):
            self._count += 1
            self.paths.add(path)
            if any(path[:end] in self._unreadable for end in range(1, len(path) + 1)):
                return
            place = nearest(self.places, path) if place is None else place
            where = ": ".join(filter(None, (place, label, error.where)))
            line = int(place.rpartition(":")[2]) if place else 0
            self._found.append((line, type(error)(error.message, where=where, hint=error.hint)))

    @property
    def found(self) -> list[FeatureKitError]:
        """What was collected, in the order of the file."""
        return [error for _, error in sorted(self._found, key=lambda entry: entry[0])]

    def unreadable(self, path: tuple[str, ...]) -> None:
        """Add no more problems of a part whose text could not be read."""
        self._unreadable.add(path)

    @contextmanager
    def at(self, *path: str, label: str = "") -> Iterator[None]:
        """Collect what the block raises, as a problem of the part at a path."""
        try:
            yield
        except (SpecError, LeakageError) as error:
            self.add(error, *path, label=label)

    def check(self, rest: Spec | None = None) -> None:
        """Raise what was collected, if anything was, in the order of the file.

        Args:
            rest: What the spec is without the parts that have problems.

        Raises:
            SpecErrors: All problems.
        """
        found = self.found
        if not found:
            return
        if len(found) > MOST:
            more = len(found) - MOST
            found[MOST:] = [SpecError(f"and {more:,} more problems")]
        raise SpecErrors(found, rest)


@dataclass(frozen=True)
class Place:
    """A part of a spec that is being read.

    Args:
        problems: Where its problems go.
        path: Where it stands in the spec.
        label: What messages call it: `source 'flights': column 'dep_delay'`.
    """

    problems: Problems
    path: tuple[str, ...] = ()
    label: str = ""

    def below(self, key: str, label: str = "") -> Place:
        """Return the place of a part of this part."""
        label = ": ".join(filter(None, (self.label, label)))
        return Place(self.problems, (*self.path, key), label)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Collect what the block raises as a problem of this place."""
        with self.problems.at(*self.path, label=self.label):
            yield
