"""What is known of stored columns beyond their types: why one cannot be used, or cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from featurekit.errors import SpecError
from featurekit.spec.expression import shortened
from featurekit.spec.problems import Place, Reported
from featurekit.types import Type

__all__ = ["Absent", "Stored"]


def _nothing(_: str) -> Mapping[str, str]:
    return {}


def _no_hint(*_: object) -> str:
    return ""


def _readable(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Stored:
    """What the data of a spec's sources can be asked; by default nothing.

    Args:
        refuse: Given a source, one of its columns by its name in the spec, and a type: raises a
            SpecError where what is stored can never be read as that, whatever its rows hold.
        left_out: Given a source, returns the columns whose stored types no feature can read.
        time_hint: Given a source and a column of it that a time is asked of, returns the line that
            declares it one, by its first values; nothing where they do not tell.
        unreached: Sources whose columns nobody could be asked about, and why.
    """

    refuse: Callable[[str, str, Type], None] = _readable
    left_out: Callable[[str], Mapping[str, str]] = _nothing
    time_hint: Callable[[str, str], str] = _no_hint
    unreached: Mapping[str, SpecError] = field(default_factory=dict)


@dataclass
class Absent:
    """Says why a name is no column of a source that can be used.

    Args:
        source: The source's name.
        place: Where the spec declares it.
        stored: What the data can be asked.
        known: Whether all columns that can be read are known.
    """

    source: str
    place: Place
    stored: Stored
    known: bool
    _told: bool = False

    def __call__(self, name: str) -> SpecError | None:
        """Return the reason, or `None` where there is no such column."""
        if self.source in self.stored.unreached:
            if not self._told:
                self._told = True
                with self.place.below("table").collect():
                    raise self.stored.unreached[self.source]
            return Reported()
        if not self.known:
            return SpecError(
                f"the type of {name!r} is not known: the spec does not declare it, "
                "and the data has not been read",
                hint=f"declare it under columns: {name}: and its type",
            )
        dtype = self.stored.left_out(self.source).get(name)
        if dtype is None:
            return None
        return SpecError(
            f"{name!r} is stored as {shortened(dtype)}, which no feature can read",
            hint="make columns of numbers, texts or times of it in the data, or in a view",
        )
