"""What expressions use, and when that is known; aggregates of what nobody knows in time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from featurekit.availability import moment
from featurekit.errors import LeakageError, SpecError
from featurekit.spec.expression import MAX_DEPTH, Attribute, Expression, Name
from featurekit.spec.objects import UNDECLARED, Column, Feature, Spec

__all__ = ["LONGEST", "Chain", "Leaks", "says", "through"]

LONGEST = 10 * MAX_DEPTH
"""Longer chains of features and derived columns, names for names aside, are refused as they are
typed."""
_SHOWN = 50
"""Longer chains leave names for names out."""

Chain = tuple[str, ...]
"""The names that lead from a feature to a column that it uses."""


class Leaks:
    """Looks for leaks in a spec whose names have been found.

    Args:
        spec: The spec.
        data: The columns that the data of the examples' source holds.
        unsound: The sources that declare a time which is none, and which has been reported.
    """

    def __init__(self, spec: Spec, data: Collection[str], unsound: Collection[str] = ()) -> None:
        self.spec = spec
        self.unsound = unsound
        self._mentions: dict[int, tuple[Expression, tuple[tuple[str, Chain], ...]]] = {}
        self._roots: dict[int, dict[str, str]] = {}
        self.source = spec.sources[spec.examples.source]
        self.looked_up = spec.histories
        self.features = {
            name: feature
            for name, feature in spec.features.items()
            if name not in data and name not in self.source.columns
        }
        label = spec.examples.label
        made_of = () if label is None else self.used(label, (), self.source.columns)
        self.label = frozenset(name for name, _ in made_of)

    def in_aggregate(self, source: str, feature: str, expression: Expression) -> None:
        """Refuse an aggregate of values of which nobody can tell when they became known.

        Args:
            source: The source whose rows are summarised.
            feature: The aggregate's name.
            expression: The aggregate.

        Raises:
            LeakageError: It uses such a column.
        """
        columns = self.spec.sources[source].columns
        for name, chain in self.used(expression, (feature,), columns):
            column = columns.get(name, UNDECLARED)
            if column.available is False:
                reason = "is declared available: false"
            elif source == self.spec.examples.source and name in self.label and not says(column):
                reason = "makes the label"
            else:
                continue
            raise LeakageError(
                f"{name!r} {reason}, and nothing says when that of a past row became known"
                f"{through(chain)}",
                hint=f"declare available_at for the column {name!r}",
            )

    def of_own_row(
        self, source: str, feature: str, read: Sequence[Expression], keys: Sequence[Expression]
    ) -> None:
        """Refuse an aggregate of the label that an example's own row may count towards.

        Rows count that took effect before the prediction; so it must be proven that the row of the
        example itself takes effect at the prediction or later.

        Args:
            source: The source whose rows are summarised.
            feature: The aggregate's name.
            read: What it reads of them.
            keys: Their key.

        Raises:
            LeakageError: It cannot be proven.
        """
        predict_at = self.spec.examples.predict_at
        if source != self.spec.examples.source or predict_at is None:
            return
        columns = self.source.columns
        for expression in read:
            for name, chain in self.used(expression, (feature,), columns):
                if name not in self.label:
                    continue
                predicted = moment(predict_at, columns)
                times = self.known_at(source, *read, *keys)
                if any(predicted.by(moment(time, columns)) for time in times):
                    return
                shown = " and ".join(time.text for time in times)
                raise LeakageError(
                    f"{name!r} makes the label, and an example's own row may count: it takes "
                    f"effect at {shown}, and nothing proves that this is not before the "
                    f"prediction at {predicted}{through(chain)}",
                    hint=f"predict at {self.source.event_time} or before, or declare available_at "
                    f"of {name!r} relative to {predicted.base}",
                )

    def label_known_at(self) -> list[Expression]:
        """Return the times the latest of which is when the label of an example is known.

        They are those of the columns that make it: a column's own, else its source's; where neither
        is declared, the label is not known before the event.
        """
        label, source = self.spec.examples.label, self.source
        times: dict[Expression, None] = {}
        for name, _ in () if label is None else self.used(label, (), source.columns):
            column = source.columns.get(name, UNDECLARED)
            if column.available_at is not None:
                times[column.available_at] = None
            elif column.expr is None and column.available is None:
                time = source.available_at
                if time is None and source.event_time is not None:
                    time = Name(source.event_time)
                if time is not None:
                    times[time] = None
        return list(times)

    def known_at(self, source: str, *expressions: Expression) -> list[Expression]:
        """Return the times the latest of which is when a row of a source counts from.

        They are those of the event and of every column that the expressions use. Of times that
        are apart by a constant, only the latest is returned.

        Args:
            source: The source.
            expressions: What is read of its rows: values, filters, keys.
        """
        declared = self.spec.sources[source]
        times: list[Expression] = []
        if declared.event_time is not None:
            times.append(Name(declared.event_time))
        stored = False
        for expression in expressions:
            for name, _ in self.used(expression, (), declared.columns):
                column = declared.columns.get(name, UNDECLARED)
                stored |= column.expr is None and not says(column)
                if column.available_at is not None:
                    times.append(column.available_at)
        if declared.available_at is not None and (stored or not expressions):
            times.append(declared.available_at)
        latest: dict[str, tuple[int, Expression]] = {}
        for time in times:
            try:
                found = moment(time, declared.columns)
            except SpecError:
                continue  # That it is no time is told where the source declares it.
            if found.base not in latest or latest[found.base][0] < found.offset:
                latest[found.base] = (found.offset, time)
        return [time for _, time in latest.values()]

    def used(
        self,
        expression: Expression,
        chain: Chain,
        columns: Mapping[str, Column],
        features: Mapping[str, Feature] | None = None,
    ) -> Iterator[tuple[str, Chain]]:
        """Yield every column that an expression uses, and the names that lead to it.

        A derived column that says itself when it is available is looked at no further.

        Args:
            expression: Where to begin.
            chain: The names that lead to the expression.
            columns: The declared columns of the source.
            features: The features that it can use.
        """
        seen: set[str] = set()
        stack = [(expression, chain)]
        while stack:
            current, chain = stack.pop()
            for name, said in self._mentioned(current):
                if name in seen:
                    continue
                seen.add(name)
                longer = (*chain, *said)
                if len(longer) > LONGEST:
                    continue
                if features is not None and name in features:
                    long = len(longer) > _SHOWN
                    behind = self._meant(name, {}, features) if long else name
                    stack.append((features[behind].expr, longer))
                    continue
                yield name, longer
                behind = self._meant(name, columns, {}) if len(longer) > _SHOWN else name
                column = columns.get(behind, UNDECLARED)
                if column.expr is not None and not says(column):
                    stack.append((column.expr, longer))

    def behind(self, feature: str, chain: Chain) -> Expression:
        """Return the expression of a feature; at the end of a long chain, what it stands for."""
        name = self._meant(feature, {}, self.features) if len(chain) > _SHOWN else feature
        return self.features[name].expr

    def _meant(
        self, name: str, columns: Mapping[str, Column], features: Mapping[str, Feature]
    ) -> str:
        """Return what stands behind names for names: the first that is more than another name."""
        passed: dict[str, None] = {}
        roots = self._roots.setdefault(id(columns) if columns else 0, {})
        while name not in passed and name not in roots:
            entry = columns.get(name) or features.get(name)
            told = isinstance(entry, Column) and says(entry)
            if entry is None or told or not isinstance(entry.expr, Name):
                break
            below = entry.expr.name
            if below not in features and columns.get(below, UNDECLARED).expr is None:
                break
            passed[name] = None
            name = below
        name = roots.get(name, name)
        roots.update(dict.fromkeys(passed, name))
        return name

    def _mentioned(self, expression: Expression) -> tuple[tuple[str, Chain], ...]:
        """Return each name that an expression mentions once, and what leads to it."""
        # By identity: to compare expressions takes as long as to walk them.
        found = self._mentions.get(id(expression))
        if found is None:
            names: dict[str, Chain] = {}
            for part in expression.walk():
                if isinstance(part, Name):
                    names.setdefault(part.name, (part.name,))
                elif isinstance(part, Attribute) and part.aggregation in self.looked_up:
                    # The keys by which rows are looked up must be known by then, too.
                    for key in self.looked_up[part.aggregation].by:
                        names.setdefault(key, (part.text, key))
            found = expression, tuple(names.items())
            self._mentions[id(expression)] = found
        return found[1]


def says(column: Column) -> bool:
    """Whether a column says itself when it is available."""
    return column.available_at is not None or column.available is not None


def through(chain: Chain) -> str:
    """Say which names lead from a feature to a column, where it does not use it itself."""
    return "" if len(chain) <= 2 else f" (through {' -> '.join(chain)})"
