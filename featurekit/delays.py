"""Which columns delay the rows of a lookup: the row counts once all that is read of it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featurekit.leaks import Leaks
from featurekit.resolved import Resolved
from featurekit.spec.expression import Name

__all__ = ["Delay", "delayed_lookups"]


@dataclass(frozen=True)
class Delay:
    """A lookup over time some of whose values would be known earlier without the others.

    Args:
        lookup: Its name.
        counts_from: The times the latest of which is when a row counts from.
        by: What brings them: features, and columns of `order_by`.
        earlier: The features that alone would count from earlier times, and these.
    """

    lookup: str
    counts_from: tuple[str, ...]
    by: tuple[str, ...]
    earlier: Mapping[str, tuple[str, ...]]

    @property
    def text(self) -> str:
        """The same in a sentence."""
        known = " and ".join(self.counts_from)
        latest = "the latest of " if len(self.counts_from) > 1 else ""
        alone = "; ".join(
            f"{' and '.join(names)} alone would count from {' and '.join(times)}"
            for times, names in self._alike().items()
        )
        return (
            f"{self.lookup} counts from {latest}{known}, delayed by {' and '.join(self.by)}; "
            f"{alone}: columns with another delay go into another lookup"
        )

    def _alike(self) -> dict[tuple[str, ...], list[str]]:
        found: dict[tuple[str, ...], list[str]] = {}
        for name, times in self.earlier.items():
            found.setdefault(times, []).append(name)
        return found


def delayed_lookups(resolved: Resolved) -> tuple[Delay, ...]:
    """Return the lookups that features use of which one column waits for another."""
    if resolved.semantics < 2:
        return ()  # Each column counts from its own time.
    used = {node.aggregation for node in resolved.aggregates if node.aggregate.history.row}
    leaks, found = Leaks(resolved.spec, resolved.types), []
    for name, lookup in resolved.spec.lookups.items():
        if name not in used:
            continue
        keys = [Name(column) for column in lookup.by.values()]

        def known(*read: object, source: str = lookup.source, keys: list[Name] = keys) -> set[str]:
            return {time.text for time in leaks.known_at(source, *read, *keys)}  # type: ignore[arg-type]

        whole = known(*lookup.reads)
        alone = {feature: known(entry) for feature, entry in lookup.features.items()}
        earlier = {feature: times for feature, times in alone.items() if times != whole}
        if not earlier:
            continue
        parts = alone | {column: known(Name(column)) for column in lookup.order_by}
        late = {time for time in whole if any(time not in times for times in alone.values())}
        found.append(
            Delay(
                name, tuple(sorted(whole)),
                tuple(part for part, times in parts.items() if not late.isdisjoint(times)),
                {feature: tuple(sorted(times)) for feature, times in earlier.items()},
            )
        )  # fmt: skip
    return tuple(found)
