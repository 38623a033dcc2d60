"""The spec as frozen objects: what YAML and Python both turn into.

Every object checks itself when it is made, so a spec that exists is well-formed; whether its names
and types fit together is for `featurekit.resolve` to say. Objects are hashable and compare by
value; places in files and tables in memory are carried along but never compared.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from featurekit.errors import SpecError
from featurekit.spec import settings
from featurekit.spec.expression import Expression, ExpressionLike, Name
from featurekit.spec.problems import Place, Problems, nearest
from featurekit.spec.settings import FrozenMapping, Settings, plain
from featurekit.spec.window import Window
from featurekit.summary import Described, Summary, listed
from featurekit.types import TIMESTAMP, Type

__all__ = [
    "UNDECLARED", "Aggregation", "Column", "Examples", "Feature", "FrozenMapping", "Lookup",
    "Source", "Spec", "Split", "Waiver", "plain", "read_spec",
]  # fmt: skip

Settable = Mapping[str, Any]
"""An object of a spec given as a mapping of its settings."""


@dataclass(frozen=True, repr=False)
class Column(Settings):
    """What a spec declares of one column of a source; everything is optional.

    Args:
        type: Its type (`int64`, `float32`, `float64`, `string`, `bool`, `timestamp`); inferred
            from the data when absent. Inferred floats are float32.
        expr: A row expression over other columns of the source; the column is then derived and
            not read.
        column: Its name in the data, when that is another one.
        unit: What a number counts (documentation), or, for a timestamp stored as integers, `s`,
            `ms` or `us`.
        zone: The IANA time zone of a naive timestamp.
        format: How times are written in text that is not ISO 8601: `"%d/%m/%Y"`, as `strptime`
            reads it; several are tried in order. The column is a timestamp then.
        ambiguous: What becomes of a time that the clock of the zone shows twice: `refuse` (the
            default), `earliest`, `latest`, or `in_order`, which follows the rows of each file.
        nonexistent: What becomes of a time that the clock of the zone skips: `refuse` (the
            default), `shift` to the moment at which it was put forward, or `missing`.
        order_within: The columns within which rows follow each other in time, for `in_order`.
        on_violation: What becomes of a value that the column does not allow: `fail` (the default)
            stops everything, `null` reads it as missing, `drop` leaves the row out. Both are
            counted.
        nullable: Whether missing values are allowed.
        available: `False` for a column that is only known after the outcome, `True` for one that
            is known at prediction time although the label is made of it.
        available_at: When a row's value becomes known: a time column plus or minus a duration.
        description: For people.
    """

    type: Type | None = None
    expr: Expression | None = None
    column: str | None = None
    unit: str | None = None
    zone: str | None = None
    format: tuple[str, ...] = ()
    ambiguous: str | None = None
    nonexistent: str | None = None
    order_within: tuple[str, ...] | None = None
    on_violation: str | None = None
    nullable: bool = True
    available: bool | None = None
    available_at: Expression | None = None
    description: str | None = None

    what = "a column"
    short = "type"
    readers: ClassVar[Mapping[str, settings.Reader]] = {
        "type": settings.data_type, "expr": settings.expression, "column": settings.name,
        "unit": settings.text, "zone": settings.zone, "format": settings.time_formats,
        "ambiguous": settings.one_of("refuse", "earliest", "latest", "in_order"),
        "nonexistent": settings.one_of("refuse", "shift", "missing"),
        "order_within": settings.names,
        "on_violation": settings.one_of("fail", "null", "drop"), "nullable": settings.flag,
        "available": settings.flag, "available_at": settings.time,
        "description": settings.text,
    }  # fmt: skip

    if TYPE_CHECKING:

        def __init__(
            self,
            type: Type | str | None = None,
            expr: ExpressionLike | None = None,
            column: str | None = None,
            unit: str | None = None,
            zone: str | None = None,
            format: str | Sequence[str] = (),
            ambiguous: str | None = None,
            nonexistent: str | None = None,
            order_within: str | Sequence[str] | None = None,
            on_violation: str | None = None,
            nullable: bool = True,
            available: bool | None = None,
            available_at: ExpressionLike | None = None,
            description: str | None = None,
        ) -> None: ...

    def given(self) -> dict[str, Any]:
        """Return the settings that are not the default; no column to order within is one, too."""
        made = super().given()
        return made if self.order_within is None else {**made, "order_within": self.order_within}

    def check(self) -> None:
        """Refuse settings that do not go together."""
        if self.expr is not None and self.column is not None:
            raise SpecError("a column is either derived (expr) or read (column), not both")
        if self.available_at is not None and self.available is not None:
            raise SpecError("a column has either available or available_at, not both")
        if self.format and self.type is None:
            object.__setattr__(self, "type", TIMESTAMP)
        if self.format and self.type != TIMESTAMP:
            raise SpecError(f"format belongs to a timestamp, and the type is {self.type}")
        if self.format and self.unit is not None:
            raise SpecError("a column has either a format, if it is text, or a unit")
        if self.ambiguous == "in_order" and self.order_within is None:
            raise SpecError(
                "ambiguous: in_order needs order_within: the columns within which rows follow each "
                "other in time",
                hint="order_within: [device]; [] if all rows of a file do",
            )
        if self.order_within is not None and self.ambiguous != "in_order":
            raise SpecError("order_within belongs to ambiguous: in_order")
        if self.on_violation == "null" and not self.nullable:
            raise SpecError(
                "on_violation: null makes missing values, and the column is nullable: false",
                hint="on_violation: drop leaves such rows out",
            )
        given = {"format": self.format, "ambiguous": self.ambiguous, "on_violation":
                 self.on_violation, "nonexistent": self.nonexistent}  # fmt: skip
        if self.expr is not None and (wrong := [key for key, value in given.items() if value]):
            raise SpecError(f"{wrong[0]} belongs to a column that is read, not to a derived one")


UNDECLARED = Column()
"""What is declared of a column of which the spec says nothing."""

FORMATS = ("parquet", "csv", "tfrecord")
SUFFIXES = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".tfrecord", ".tfrecords"), "tfrecord"),
}
"""The format of a file by the end of its name."""
COMPRESSED = (".gz", ".bz2", ".zst", ".xz")
"""The ends of names of files that are compressed as a whole."""
WHITESPACE = "whitespace"
"""The separator that stands for any number of spaces and tabs."""


def format_of(name: str) -> str | None:
    """Return the format of a file by its name, compressed or not; `None` if it does not tell.

    Example:
        >>> format_of("rows.csv.gz")
        'csv'
    """
    name = name.lower()
    for end in COMPRESSED:
        name = name.removesuffix(end)
    return SUFFIXES.get(f".{name.rpartition('.')[2]}") if "." in name else None


CSV_SETTINGS = (
    "separator", "null_values", "encoding", "skip_rows", "comment", "header", "decimal",
    "thousands", "escape",
)  # fmt: skip
"""The settings of a source that say how CSV is written."""


@dataclass(frozen=True, repr=False)
class Source(Settings):
    """Rows of one table.

    Args:
        path: A Parquet, CSV or TFRecord file, or a glob of them, relative to the spec file; or an
            address that Beam's workers read, such as `gs://bucket/rows-*.parquet`.
        table: A BigQuery table, `project.dataset.table`.
        data: A pandas, Polars or Arrow table in memory; not part of the spec's text.
        event_time: The column that says when a row's event happened.
        available_at: When a row's columns become known, unless a column says otherwise.
        columns: Declarations of columns by name.
        format: `parquet`, `csv` or `tfrecord`, when the file name does not tell.
        separator: The field separator of CSV.
        null_values: What CSV writes for a missing value, beside nothing at all.
        encoding: The encoding of CSV, such as `latin-1`, `cp1252` or `utf-16`; UTF-8 without it.
        skip_rows: How many lines of CSV stand before the header.
        comment: What the lines of CSV begin with that are comments.
        header: The names of the columns of CSV, in place of those in its header.
        decimal: What stands before the fraction of a number in CSV: `.` or `,`.
        thousands: What stands between groups of three digits in CSV, if anything does.
        escape: What stands before a quote within a text of CSV, such as a backslash, where quotes
            are not doubled.
        written_by: The name of the spec whose model made these rows, if one did.
        description: For people.
    """

    path: str | None = None
    table: str | None = None
    data: Any = field(default=None, compare=False, repr=False)
    event_time: str | None = None
    available_at: Expression | None = None
    columns: FrozenMapping[Column] = field(default_factory=FrozenMapping)
    format: str | None = None
    separator: str = ","
    null_values: tuple[str, ...] = ()
    encoding: str | None = None
    skip_rows: int = 0
    comment: str | None = None
    header: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str | None = None
    escape: str | None = None
    written_by: str | None = None
    description: str | None = None

    what = "a source"
    readers: ClassVar[Mapping[str, settings.Reader]] = {
        "path": settings.path, "table": settings.table, "format": settings.text,
        "separator": settings.text, "null_values": settings.texts, "encoding": settings.encoding,
        "skip_rows": settings.whole_number, "comment": settings.name, "header": settings.names,
        "decimal": settings.text, "thousands": settings.name, "escape": settings.name,
        "event_time": settings.name, "available_at": settings.time,
        "columns": settings.mapping_of(Column, "column", named=False),
        "written_by": settings.text, "description": settings.text,
    }  # fmt: skip

    if TYPE_CHECKING:

        def __init__(
            self,
            path: str | Path | None = None,
            table: str | None = None,
            data: Any = None,
            event_time: str | None = None,
            available_at: ExpressionLike | None = None,
            columns: Mapping[str, Column | Type | str | Settable] | None = None,
            format: str | None = None,
            separator: str = ",",
            null_values: str | Sequence[str] = (),
            encoding: str | None = None,
            skip_rows: int = 0,
            comment: str | None = None,
            header: str | Sequence[str] = (),
            decimal: str = ".",
            thousands: str | None = None,
            escape: str | None = None,
            written_by: str | None = None,
            description: str | None = None,
        ) -> None: ...

    def check(self) -> None:
        """Refuse settings that do not go together."""
        given = [name for name in ("path", "table", "data") if getattr(self, name) is not None]
        if len(given) > 1:
            raise SpecError(f"a source has one of path, table or data, got {' and '.join(given)}")
        if self.format not in (None, *FORMATS):
            raise SpecError(f"format is parquet, csv or tfrecord, got {self.format!r}")
        if self.separator != WHITESPACE and (
            len(self.separator.encode()) != 1 or self.separator in '"\r\n'
        ):
            raise SpecError(
                f"separator is one character, got {self.separator!r}",
                hint=f"separator: {WHITESPACE} for any number of spaces and tabs",
            )
        if self.decimal not in (".", ","):
            raise SpecError(f"decimal is '.' or ',', got {self.decimal!r}")
        if self.thousands is not None and (
            len(self.thousands) != 1 or self.thousands.isalnum() or self.thousands in '+-"\r\n'
        ):
            raise SpecError(f"thousands is one character such as ',', got {self.thousands!r}")
        if self.thousands == self.decimal:
            raise SpecError(
                f"decimal and thousands are both {self.decimal!r}",
                hint="decimal: ',' and thousands: '.', or the other way round",
            )
        if self.escape is not None and (
            len(self.escape.encode()) != 1 or self.escape in f'{self.separator}"\r\n'
        ):
            raise SpecError(f"escape is one character such as a backslash, got {self.escape!r}")

    @property
    def file_format(self) -> str | None:
        """The format of its files, as declared or by their names; `None` where neither tells."""
        if self.format is not None or self.path is None:
            return self.format
        return format_of(self.path.rpartition("/")[2])

    @property
    def on_workers(self) -> bool:
        """Whether Beam's workers alone read it: at an address, or TFRecord."""
        return self.path is not None and ("://" in self.path or self.file_format == "tfrecord")


@dataclass(frozen=True, repr=False)
class Split(Settings):
    """How examples are divided; one of three ways.

    - by time: `by`, and `eval_from` and/or `test_from` (rows before both are `train`); rows within
      `embargo` before either are left out, since their labels are not known yet by then;
    - by hash of one or several keys: `hash`, and shares `eval` and/or `test`, so that rows with
      equal keys stay together;
    - by a column that names the split of each row: `column` (its values include `train`).
    """

    by: str | None = None
    eval_from: datetime | None = None
    test_from: datetime | None = None
    hash: tuple[str, ...] = ()
    eval: float = 0.0
    test: float = 0.0
    column: str | None = None
    embargo: str | None = None

    what = "a split"
    readers: ClassVar[Mapping[str, settings.Reader]] = {
        "by": settings.name, "eval_from": settings.instant, "test_from": settings.instant,
        "hash": settings.names, "eval": settings.share, "test": settings.share,
        "column": settings.name, "embargo": settings.duration,
    }  # fmt: skip

    if TYPE_CHECKING:

        def __init__(
            self,
            by: str | None = None,
            eval_from: str | date | None = None,
            test_from: str | date | None = None,
            hash: str | Sequence[str] = (),
            eval: float = 0.0,
            test: float = 0.0,
            column: str | None = None,
            embargo: str | None = None,
        ) -> None: ...

    def check(self) -> None:
        """Refuse settings that do not go together."""
        if sum(map(bool, (self.by, self.hash, self.column))) != 1:
            raise SpecError(
                "a split needs exactly one of by, hash and column",
                hint="{by: sched_dep, eval_from: 2013-10-01}, {hash: user_id, eval: 0.2} "
                "or {column: fold}",
            )
        if self.by and self.eval_from is None and self.test_from is None:
            raise SpecError("a split by time needs eval_from, test_from or both")
        if self.eval_from and self.test_from and self.eval_from >= self.test_from:
            raise SpecError("eval_from must lie before test_from")
        if not self.by and (self.eval_from or self.test_from):
            raise SpecError("eval_from and test_from belong to a split by time (by: a column)")
        if not self.by and self.embargo:
            raise SpecError("an embargo belongs to a split by time (by: a column)")
        if self.hash and not 0 < self.eval + self.test < 1:
            raise SpecError(
                "a split by hash needs shares eval and test that sum to between 0 and 1, "
                f"got {self.eval:g} and {self.test:g}"
            )
        if not self.hash and self.eval + self.test:
            raise SpecError("the shares eval and test belong to a split by hash (hash: a key)")


@dataclass(frozen=True, repr=False)
class Examples(Settings):
    """What one training example is.

    Args:
        source: The source whose rows are the examples.
        keys: Columns that name an example; written beside its features.
        predict_at: When the prediction is made: a time column plus or minus a duration.
        label: A row expression over the source; written as `label`. Rows where it is null are
            counted and left out.
        split: How examples are divided; all are `train` without it.
        where: A row expression: only rows for which it is true are examples. The others are
            counted and left out; past rows of the same source stay.
    """

    source: str
    keys: tuple[str, ...] = ()
    predict_at: Expression | None = None
    label: Expression | None = None
    split: Split | None = None
    where: Expression | None = None

    what = "examples"
    readers: ClassVar[Mapping[str, settings.Reader]] = {
        "source": settings.name, "keys": settings.names, "predict_at": settings.time,
        "label": settings.expression, "split": settings.object_of(Split),
        "where": settings.expression,
    }  # fmt: skip

    if TYPE_CHECKING:

        def __init__(
            self,
            source: str,
            keys: str | Sequence[str] = (),
            predict_at: ExpressionLike | None = None,
            label: ExpressionLike | None = None,
            split: Split | Settable | None = None,
            where: ExpressionLike | None = None,
        ) -> None: ...


@dataclass(frozen=True, repr=False)
class Aggregation(Settings):
    """Features over past rows of a source, by key and time.

    Args:
        source: The source whose rows are summarised.
        by: The entity key: column names that examples and source share, or
            `{example column: source column}`; empty for a global aggregate.
        windows: How far back to look: `7d`; `lifetime` for all that is past; `14d..7d` for the
            week before the last.
        features: A name for each summary, such as `mean(arr_delay)`.
        where: A row expression: only rows for which it is true are summarised.
    """

    source: str
    by: FrozenMapping[str] = field(default_factory=FrozenMapping)
    windows: tuple[str, ...] = ()
    features: FrozenMapping[Expression] = field(default_factory=FrozenMapping)
    where: Expression | None = None

    what = "an aggregation"
    readers: ClassVar[Mapping[str, settings.Reader]] = {
        "source": settings.name, "by": settings.entity_key, "windows": settings.windows,
        "features": settings.aggregates, "where": settings.expression,
    }  # fmt: skip

    if TYPE_CHECKING:

        def __init__(
            self,
            source: str,
            by: str | Sequence[str] | Mapping[str, str] = (),
            windows: str | Sequence[str] = (),
            features: Mapping[str, ExpressionLike] | None = None,
            where: ExpressionLike | None = None,
        ) -> None: ...

    def check(self) -> None:
        """Refuse an aggregation without outputs, or with two of one name."""
        if not self.windows:
            raise SpecError("an aggregation needs windows, such as [1d, 7d]")
        if not self.features:
            raise SpecError("an aggregation needs features, such as {delay_mean: mean(arr_delay)}")
        counts = Counter(name for name, _, _ in self.outputs())
        twice = next((name for name, count in counts.items() if count > 1), None)
        if twice is not None:
            raise SpecError(f"two outputs are called {twice!r}", hint="rename a feature")

    def given(self) -> dict[str, Any]:
        """Return the settings that are not the default, `by` as a list where names are shared."""
        made = super().given()
        if self.by and all(key == name for key, name in self.by.items()):
            made["by"] = tuple(self.by)
        return made

    def outputs(self) -> Iterator[tuple[str, str, Window]]:
        """Yield each output column as `(name, feature, window)`: `delay_mean_7d`."""
        windows = [Window.parse(text) for text in self.windows]
        for feature in self.features:
            for window in windows:
                yield f"{feature}_{window.name}", feature, window


@dataclass(frozen=True, repr=False)
class Lookup(Settings):
    """Columns of another source, looked up by key.

    A source without time has one row for each key. Of a source with `event_time`, whose rows
    change slowly, the row is taken that was in effect at the prediction: all features come from
    that one row, which takes effect once all of them are known.

    Args:
        source: The source that is looked into.
        by: The key: column names that examples and source share, or
            `{example column: source column}`.
        features: What is taken from the row: columns, or row expressions by name.
        order_by: Columns that decide between rows that took effect at once and have one event
            time: the greatest first column wins, then the greatest second one. A missing value is
            less than any. What is still equal is decided by all features in the order of their
            names, and counted.
    """

    source: str
    by: FrozenMapping[str]
    features: FrozenMapping[Expression]
    order_by: tuple[str, ...] = ()

    what = "a lookup"
    readers: ClassVar[Mapping[str, settings.Reader]] = {
        "source": settings.name, "by": settings.entity_key, "features": settings.row_values,
        "order_by": settings.names,
    }  # fmt: skip

    if TYPE_CHECKING:

        def __init__(
            self,
            source: str,
            by: str | Sequence[str] | Mapping[str, str],
            features: str | Sequence[str] | Mapping[str, ExpressionLike],
            order_by: str | Sequence[str] = (),
        ) -> None: ...

    @property
    def reads(self) -> tuple[Expression, ...]:
        """All that is read of the row that is taken: features, and what it is chosen by."""
        return (*self.features.values(), *(Name(column) for column in self.order_by))

    def check(self) -> None:
        """Refuse a lookup of nothing."""
        if not self.by:
            raise SpecError("a lookup needs a key", hint="by: the columns that name a row")
        if not self.features:
            raise SpecError("a lookup needs features, such as [seats]")

    def given(self) -> dict[str, Any]:
        """Return the settings, `by` as a list where names are shared."""
        made = super().given()
        if all(key == name for key, name in self.by.items()):
            made["by"] = tuple(self.by)
        return made


@dataclass(frozen=True, repr=False)
class Waiver(Settings):
    """A leak of a feature that somebody has accepted for a while; every report shows it.

    Args:
        reason: Why.
        until: The last day on which it holds.
    """

    reason: str
    until: date

    what = "a waiver"
    readers: ClassVar[Mapping[str, settings.Reader]] = {
        "reason": settings.text, "until": settings.day,
    }  # fmt: skip

    if TYPE_CHECKING:

        def __init__(self, reason: str, until: str | date) -> None: ...


@dataclass(frozen=True, repr=False)
class Feature(Settings):
    """One model input, and what people should know about it.

    Args:
        expr: Its expression.
        created: When it was added; decides which of two redundant features is the older.
        owner: Who answers for it.
        description: What it means.
        group: Names under which ablation treats several features as one.
        waiver: Accepts that it leaks, or may leak, for a while.
    """

    expr: Expression
    created: date | None = None
    owner: str | None = None
    description: str | None = None
    group: tuple[str, ...] = ()
    waiver: Waiver | None = None

    what = "a feature"
    short = "expr"
    readers: ClassVar[Mapping[str, settings.Reader]] = {
        "expr": settings.expression, "created": settings.day, "owner": settings.text,
        "description": settings.text, "group": settings.names,
        "waiver": settings.object_of(Waiver),
    }  # fmt: skip

    if TYPE_CHECKING:

        def __init__(
            self,
            expr: ExpressionLike,
            created: str | date | None = None,
            owner: str | None = None,
            description: str | None = None,
            group: str | Sequence[str] = (),
            waiver: Waiver | Settable | None = None,
        ) -> None: ...

    def to_plain(self) -> Any:
        """Return its expression where nothing else is said, else its settings."""
        made = super().to_plain()
        return made["expr"] if len(made) == 1 else made

    def given(self) -> dict[str, Any]:
        """Return the settings that are not the default, `group` as a text where it is one name."""
        made = super().given()
        if len(self.group) == 1:
            made["group"] = self.group[0]
        return made


@dataclass(frozen=True, repr=False)
class Spec(Described, Settings):
    """Everything FeatureKit needs to know: sources, examples, aggregations and features.

    Args:
        sources: Where rows come from, by name.
        examples: What one training example is.
        features: Expressions, or `Feature` objects, by name.
        aggregations: Summaries of past rows, by name.
        lookups: Columns of other sources, by name.
        name: What runs of this spec are called.
        description: For people.
        base: The folder that relative paths start from; not compared.
        places: `file:line` of each part, by its path in the spec; not compared.

    Example:
        >>> spec = Spec(sources={"rows": Source(path="rows.csv")}, examples={"source": "rows"},
        ...             features={"size": "log1p(bytes)"})
        >>> spec.features["size"].expr.text
        'log1p(bytes)'
    """

    sources: FrozenMapping[Source]
    examples: Examples
    features: FrozenMapping[Feature]
    aggregations: FrozenMapping[Aggregation] = field(default_factory=FrozenMapping)
    lookups: FrozenMapping[Lookup] = field(default_factory=FrozenMapping)
    name: str = "features"
    description: str | None = None
    base: Path = field(default=Path(), compare=False, repr=False)
    places: Mapping[tuple[str, ...], str] = field(default_factory=dict, compare=False, repr=False)

    what = "a spec"
    readers: ClassVar[Mapping[str, settings.Reader]] = {
        "name": settings.name, "description": settings.text,
        "sources": settings.mapping_of(Source, "source"),
        "examples": settings.object_of(Examples),
        "aggregations": settings.mapping_of(Aggregation, "aggregation"),
        "lookups": settings.mapping_of(Lookup, "lookup"),
        "features": settings.mapping_of(Feature, "feature"),
    }  # fmt: skip

    if TYPE_CHECKING:

        def __init__(
            self,
            sources: Mapping[str, Source | Settable],
            examples: Examples | Settable,
            features: Mapping[str, Feature | ExpressionLike | Settable],
            aggregations: Mapping[str, Aggregation | Settable] | None = None,
            lookups: Mapping[str, Lookup | Settable] | None = None,
            name: str = "features",
            description: str | None = None,
            base: Path = Path(),
            places: Mapping[tuple[str, ...], str] | None = None,
        ) -> None: ...

    def check(self) -> None:
        """Refuse a spec without rows or features."""
        if not self.sources:
            raise SpecError("a spec needs sources")
        if not self.features:
            raise SpecError("a spec needs features")
        for name in self.lookups:
            if name in self.aggregations:
                raise SpecError(f"an aggregation and a lookup are both called {name!r}")

    def _summary(self) -> Summary:
        examples = self.examples
        facts = [
            ("features", listed(self.features)), ("sources", listed(self.sources)),
            ("aggregations", listed(self.aggregations)), ("lookups", listed(self.lookups)),
            ("examples", examples.source),
            ("predicted at", "" if examples.predict_at is None else examples.predict_at.text),
            ("label", "" if examples.label is None else examples.label.text),
        ]  # fmt: skip
        return Summary(f"Spec {self.name}", tuple(x for x in facts if x[1] not in ("", "none")))

    @property
    def histories(self) -> dict[str, Aggregation | Lookup]:
        """The aggregations and lookups together, by name."""
        return {**self.aggregations, **self.lookups}

    def place(self, *path: str) -> str:
        """Return `file:line` of the nearest known part at or above `path`, or nothing."""
        return nearest(self.places, path)

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain data, defaults left out; `from_dict` reads it back.

        Raises:
            SpecError: A source is a table in memory, which has no text.
        """
        for name, source in self.sources.items():
            if source.data is not None:
                raise SpecError(
                    f"source {name!r} is a table in memory and cannot be written",
                    hint="write the table to Parquet and give its path",
                )
        return self.as_plain()

    def as_plain(self) -> dict[str, Any]:
        """Return the spec as plain data; a table in memory is left out."""
        return {"name": self.name, **self.to_plain()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: Path | None = None) -> Spec:
        """Build a spec from plain data.

        Raises:
            SpecErrors: All problems of the data together.
        """
        return read_spec(data, Problems(), base or Path())

    def to_yaml(self) -> str:
        """Return the spec as YAML that `load_spec` reads back to an equal spec."""
        from featurekit.spec.writer import to_yaml

        return to_yaml(self)

    def to_python(self) -> str:
        """Return Python code that builds an equal spec, as the name `spec`."""
        from featurekit.spec.writer import to_python

        return to_python(self)

    @property
    def fingerprint(self) -> str:
        """A hash of everything compared: equal specs have equal fingerprints."""
        text = json.dumps(self.as_plain(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_spec(data: Any, problems: Problems, base: Path) -> Spec:
    """Build a spec from plain data, collecting the problems of all its parts.

    Args:
        data: What a file says.
        problems: The problems found so far, and the places of the parts.
        base: The folder that relative paths start from.

    Raises:
        SpecErrors: All problems together, each with its place.
    """
    with problems.at():
        made = Spec.read(data, Place(problems), base=base, places=dict(problems.places))
    if problems:
        problems.check(_rest(data, problems, base))
    return made


def _rest(data: Any, problems: Problems, base: Path) -> Spec | None:
    """Return the spec without the parts that have problems, `None` if nothing can be read."""
    from featurekit.spec.remaining import data_without, parts, spec_without

    broken = parts(problems.paths)
    if broken is None:
        return None
    again = Problems(problems.places)
    with again.at():
        readable = data_without(data, broken)
        made = Spec.read(readable, Place(again), base=base, places=dict(problems.places))
    return None if again else spec_without(made, broken)
