"""Proves that features use only what is known at prediction time, or says what they use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial

from featurekit.availability import Moment, moment
from featurekit.errors import LeakageError, SpecError
from featurekit.leaks import LONGEST, Chain, Leaks, says, through
from featurekit.semantics import SEMANTICS
from featurekit.spec.expression import Attribute, Expression, Name
from featurekit.spec.objects import UNDECLARED, Feature, Lookup, Source
from featurekit.spec.problems import Place
from featurekit.uses import Proof, Use

__all__ = ["Judge", "Settle"]

Settle = Callable[[Expression], tuple[int, int] | None]


class Judge:
    """Judges what the features of a spec use.

    Args:
        leaks: The spec, whose names have been found.
        settle: Given the time at which a column is known, says in how many rows of the data it is
            not known by the prediction, and of how many; `None` where there is no data to look at.
        refuse: Whether leaks are problems, and not just told.
        today: The day that waivers are held against; by default the current one, in UTC.
        semantics: By which version numbers are made; see `featurekit.semantics`.
    """

    def __init__(
        self, leaks: Leaks, settle: Settle | None = None, refuse: bool = True,
        today: date | None = None, semantics: int = SEMANTICS,
    ) -> None:  # fmt: skip
        self.leaks, self.settle, self.refuse, self.semantics = leaks, settle, refuse, semantics
        self.today = today or datetime.now(UTC).date()
        self.uses: dict[str, list[Use]] = {}
        self._made_of: dict[str, dict[str, str]] = {}
        self._mentions: dict[int, tuple[Expression, tuple[Attribute | Name, ...]]] = {}
        self._counts: dict[tuple[str, ...], tuple[bool, list[str]]] = {}

    def in_features(
        self, place: Place, predict_at: Moment | None, without: Collection[str] = ()
    ) -> None:
        """Judge what all features use, and collect their leaks.

        What is judged is left in `uses`, by feature. A leak that a waiver covers is no problem.

        Args:
            place: Where the features stand.
            predict_at: When the prediction is made, if the spec says so.
            without: Features that nobody looks at: they use too many others.
        """
        for name, feature in self.leaks.spec.features.items():
            if name in without:
                continue
            told: set[str] = set()
            found = self.uses[name] = []
            for column, chain in self.leaks.used(
                feature.expr, (name,), self.leaks.source.columns, self.leaks.features
            ):
                with place.below(name, f"feature {name!r}").collect():
                    use = self._judged(name, column, chain, predict_at)
                    if use is None:
                        continue
                    found.append(use)
                    if use.proof is not Proof.LEAK or self._waived(name):
                        continue
                    if told.isdisjoint(chain):
                        told.add(column)
                        raise LeakageError(f"{use.reason}{self._lapsed(name)}", hint=use.advice)
            found += self._of_other_rows(name, feature, predict_at)

    def of_where(self, predict_at: Moment | None) -> Iterator[str]:
        """Yield how `where` of the examples selects them by what is not known at prediction."""
        where = self.leaks.spec.examples.where
        if where is None:
            return
        for column, chain in self.leaks.used(where, ("where",), self.leaks.source.columns):
            try:
                use = self._judged("where", column, chain, predict_at)
            except SpecError:
                continue  # Times that cannot be compared are told where they are declared.
            if use is not None and use.proof is Proof.LEAK:
                yield f"examples: where selects rows by the future: {use.reason}"

    def _waived(self, feature: str) -> bool:
        waiver = self.leaks.spec.features[feature].waiver
        return not self.refuse or (waiver is not None and self.today <= waiver.until)

    def _lapsed(self, feature: str) -> str:
        waiver = self.leaks.spec.features[feature].waiver
        return "" if waiver is None else f"; its waiver ended on {waiver.until}"

    def _of_other_rows(
        self, name: str, feature: Feature, predict_at: Moment | None
    ) -> Iterator[Use]:
        """Yield what a feature uses of other rows: outputs of aggregations and lookups."""
        for attribute, chain in self._attributes(feature.expr, (name,)):
            owner = self.leaks.looked_up[attribute.aggregation]
            if owner.source not in self.leaks.spec.sources or owner.source in self.leaks.unsound:
                continue
            read = self._read(attribute.aggregation, attribute.name)
            source = self.leaks.spec.sources[owner.source]
            names = self._columns(read, source)
            said, known = self._counted(attribute.aggregation, attribute.name, read)
            columns = {name: source.columns.get(name, UNDECLARED) for name in names}
            own = owner.source == self.leaks.spec.examples.source
            of_label = own and not self.leaks.label.isdisjoint(names)
            use = partial(
                Use, name, attribute.text, owner.source, chain, made_of_label=of_label,
                known_at=", ".join(known) or None,
                used_at=None if predict_at is None else str(predict_at),
                entity=tuple(owner.by),
            )  # fmt: skip
            if source.event_time is None:
                timeless = all(column.available is True for column in columns.values())
                if timeless:
                    yield use(
                        Proof.CONSISTENT, "declared_available",
                        f"all that {attribute.text!r} reads is declared available",
                    )  # fmt: skip
                    continue
                yield use(
                    Proof.UNPROVEN, "lookup_without_time",
                    f"{attribute.text!r} is looked up in {owner.source!r} as that stands today, "
                    f"and nothing says since when{through(chain)}",
                    f"declare event_time of {owner.source!r}, or available: true for columns that "
                    "never change",
                )  # fmt: skip
            elif said:
                yield use(
                    Proof.CONSISTENT, "past_rows",
                    f"rows of {owner.source!r} count from {' and '.join(known)} on, strictly "
                    "before the prediction",
                )  # fmt: skip
            else:
                yield use(
                    Proof.UNPROVEN, "unknown_availability",
                    f"nothing says when rows of {owner.source!r} become known; {attribute.text!r} "
                    f"takes them to be known at {source.event_time}{through(chain)}",
                    f"declare available_at of {owner.source!r}",
                )  # fmt: skip

    def _counted(
        self, name: str, output: str, read: Sequence[Expression]
    ) -> tuple[bool, list[str]]:
        """Return whether a source says when rows count towards an output, and from when they do."""
        owner = self.leaks.looked_up[name]
        source = self.leaks.spec.sources[owner.source]
        whole = None
        if not isinstance(owner, Lookup):
            kept: tuple[str, ...] = (name, self._made_of[name].get(output, ""))
        elif source.event_time is not None and self.semantics > 1:
            whole, kept = owner, (name,)
        else:
            kept = (name, output)
        if kept not in self._counts:
            # A row that is taken whole counts once all of it is known.
            read = read if whole is None else whole.reads
            keys = [Name(key) for key in owner.by.values()]
            counted = [
                source.columns.get(column, UNDECLARED)
                for column in self._columns([*read, *keys], source)
            ]
            said = source.available_at is not None or (
                bool(counted) and all(says(column) or column.expr is not None for column in counted)
            )
            known = [time.text for time in self.leaks.known_at(owner.source, *read, *keys)]
            self._counts[kept] = said, known
        return self._counts[kept]

    def _columns(self, read: Sequence[Expression], source: Source) -> set[str]:
        """Return the columns of a source that some expressions use."""
        return {name for part in read for name, _ in self.leaks.used(part, (), source.columns)}

    def _read(self, owner: str, output: str) -> list[Expression]:
        """Return what an output reads of the rows that it is computed from."""
        found = self.leaks.looked_up[owner]
        if isinstance(found, Lookup):
            return [found.features[output]] if output in found.features else []
        read = [] if found.where is None else [found.where]
        if owner not in self._made_of:
            self._made_of[owner] = {name: feature for name, feature, _ in found.outputs()}
        feature = self._made_of[owner].get(output)
        return read if feature is None else [*read, found.features[feature]]

    def _attributes(
        self, expression: Expression, chain: Chain
    ) -> Iterator[tuple[Attribute, Chain]]:
        """Yield each output over other rows that an expression uses, with the names to it."""
        seen: set[str] = set()
        stack = [(expression, chain)]
        while stack:
            current, chain = stack.pop()
            for part in self._parts(current):
                text = part.text
                if text in seen:
                    continue
                seen.add(text)
                if isinstance(part, Attribute):
                    if part.aggregation in self.leaks.looked_up:
                        yield part, (*chain, text)
                elif part.name in self.leaks.features and len(chain) <= LONGEST:
                    stack.append((self.leaks.behind(part.name, chain), (*chain, part.name)))

    def _parts(self, expression: Expression) -> tuple[Attribute | Name, ...]:
        """Return the names and outputs that an expression mentions."""
        found = self._mentions.get(id(expression))
        if found is None:
            parts = tuple(p for p in expression.walk() if isinstance(p, (Attribute, Name)))
            found = self._mentions[id(expression)] = expression, parts
        return found[1]

    def _judged(
        self, feature: str, name: str, chain: Chain, predict_at: Moment | None
    ) -> Use | None:
        """Judge a column of the examples that a feature uses.

        Returns:
            What is found; `None` of a derived column, of which each part is judged.

        Raises:
            SpecError: A time is declared that nothing can be compared with.
        """
        column = self.leaks.source.columns.get(name, UNDECLARED)
        way = through(chain)
        use = partial(
            Use, feature, name, self.leaks.spec.examples.source, chain,
            used_at=None if predict_at is None else str(predict_at),
        )  # fmt: skip
        if column.available is False:
            return use(
                Proof.LEAK, "post_outcome",
                f"{name!r} is not available at prediction time, and {feature!r} uses it{way}",
                "it is declared available: false; use it in the label only, or declare "
                "available_at and aggregate past rows",
            )  # fmt: skip
        if name in self.leaks.label and not says(column):
            return use(
                Proof.LEAK, "label",
                f"{name!r} makes the label, and {feature!r} uses it as an input{way}",
                "leave it out; if it is known at prediction time, declare available_at "
                f"(or available: true) for the column {name!r}",
                made_of_label=True,
            )  # fmt: skip
        known_at = column.available_at
        if known_at is None and column.available is True:
            return use(Proof.CONSISTENT, "declared_available", f"{name!r} is declared available")
        if known_at is None and column.expr is not None:
            return None  # The columns that it is made of are looked at one by one.
        if known_at is None:
            known_at = self.leaks.source.available_at
        if known_at is None:
            return use(
                Proof.UNPROVEN, "unknown_availability",
                f"nothing says when {name!r} becomes known{way}",
                f"declare available_at (or available: true) for {name!r}, or available_at of "
                f"{self.leaks.spec.examples.source!r}",
            )  # fmt: skip
        if predict_at is None:
            if column.available_at is not None and self.leaks.spec.examples.predict_at is None:
                raise SpecError(
                    f"{name!r} declares available_at, and examples declare no predict_at to "
                    f"compare it with{way}",
                    hint="examples: {predict_at: ...}",
                )
            return use(
                Proof.UNPROVEN, "no_prediction_time",
                f"nothing says when predictions are made, so {name!r} may be known too late"
                f"{way}",
                "examples: {predict_at: ...}",
            )  # fmt: skip
        try:
            known = moment(known_at, self.leaks.source.columns)
        except SpecError:
            return None  # Reported with the column.
        said = f"{name!r} is known at {known}; {feature!r} uses it at {predict_at}{way}"
        if_late = "use an aggregate over past rows, or predict later"
        if len(chain) > 2 and chain[-2].partition(".")[0] in self.leaks.looked_up:
            if_late = (
                f"past rows are looked up by {name!r}: if it is known earlier, declare its "
                "available_at, or available: true; or predict later"
            )
        use = partial(use, known_at=str(known))
        return self._compared(use, said, if_late, known_at, known, predict_at)

    def _compared(
        self, use: Callable[..., Use], said: str, if_late: str, known_at: Expression, known: Moment,
        predict_at: Moment,
    ) -> Use:  # fmt: skip
        """Judge a column whose time and that of the prediction are both said."""
        verdict = known.by(predict_at)
        if verdict is not None:
            ahead = predict_at.offset - known.offset
            if verdict:
                return use(Proof.CONSISTENT, "in_time", said, ahead=ahead)
            return use(Proof.LEAK, "late", said, if_late, ahead=ahead)
        advice = (
            "use past rows through an aggregation; or, where it is known earlier, declare "
            f"available_at relative to {predict_at.base}"
        )
        said = f"{said}, and which comes first cannot be proven from the spec"
        counted = None if self.settle is None else self.settle(known_at)
        if counted is None:
            return use(Proof.LEAK, "incomparable", said, advice)
        late, rows = counted
        if late:
            said = f"{said}; in the data it is not known by then in {late:,} of {rows:,} rows"
            return use(Proof.LEAK, "late_in_data", said, advice)
        said = f"{said}; in the data it is known in time in all {rows:,} rows"
        return use(Proof.UNPROVEN, "incomparable", said, advice)
