"""The spec as frozen objects: what YAML and Python both turn into.

Every object validates itself when it is made, so a spec that exists is well-formed; whether its
names and types fit together is for `featurekit.resolve` to say. Objects are hashable and compare
by value; places in files and tables in memory are carried along but never compared.
"""

from __future__ import annotations

import hashlib
import json
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from featurekit.errors import FeatureKitError, SpecError, SpecErrors
from featurekit.spec.expression import Expression, ExpressionLike, Literal, expression, parse
from featurekit.transforms.catalogue import aggregations
from featurekit.types import STRING, Type, parse_duration, parse_type

__all__ = [
    "Aggregation", "Column", "Examples", "Feature", "FrozenMapping", "Source", "Spec", "Split",
]  # fmt: skip

RESERVED = frozenset({"label", "split", "col", "predict_at"})
"""Names that the artifact or the expression language uses itself."""

_V = TypeVar("_V")


class FrozenMapping(Mapping[str, _V]):
    """A read-only, hashable mapping that keeps the order of its keys."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, _V] | None = None) -> None:
        self._items = dict(items or {})

    def __getitem__(self, key: str) -> _V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


@dataclass(frozen=True)
class Column:
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
    nullable: bool = True
    available: bool | None = None
    available_at: Expression | None = None
    description: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.type, str):
            _set(self, "type", _guard(parse_type, self.type))
        _expressions(self, "expr", "available_at")
        _texts(self, "column", "unit", "zone", "description")
        _flags(self, "nullable", *(["available"] if self.available is not None else []))
        if self.expr is not None and self.column is not None:
            raise SpecError("a column is either derived (expr) or read (column), not both")
        if self.available_at is not None and self.available is not None:
            raise SpecError("give a column either available or available_at, not both")
        if self.zone is not None:
            _check_zone(self.zone)


@dataclass(frozen=True)
class Source:
    """Rows of one table.

    Args:
        path: A Parquet or CSV file, or a glob of either; relative to the spec file.
        table: A BigQuery table, `project.dataset.table`.
        data: A pandas, Polars or Arrow table in memory; not part of the spec's text.
        event_time: The column that says when a row's event happened.
        available_at: When a row's columns become known, unless a column says otherwise.
        columns: Declarations of columns by name.
        format: `parquet` or `csv`, when the file name does not tell.
        separator: The field separator of CSV.
        null_values: What CSV writes for a missing value, beside nothing at all.
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
    description: str | None = None

    def __post_init__(self) -> None:
        _texts(self, "table", "event_time", "format", "separator", "description")
        if isinstance(self.path, Path):
            _set(self, "path", str(self.path))
        _texts(self, "path")
        _expressions(self, "available_at")
        _mapping(self, "columns", Column)
        _names(self, "null_values")
        given = [name for name in ("path", "table", "data") if getattr(self, name) is not None]
        if len(given) > 1:
            raise SpecError(f"a source has one of path, table or data, got {' and '.join(given)}")
        if self.format not in (None, "parquet", "csv"):
            raise SpecError(f"format is parquet or csv, got {self.format!r}")
        if len(self.separator.encode()) != 1:
            raise SpecError(f"separator is one character, got {self.separator!r}")
        _distinct(self.columns, "column")


@dataclass(frozen=True)
class Split:
    """How examples are divided; one of three ways.

    - by time: `by`, and `eval_from` and/or `test_from` (rows before both are `train`);
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

    def __post_init__(self) -> None:
        _texts(self, "by", "column")
        _names(self, "hash")
        for name in ("eval_from", "test_from"):
            _set(self, name, _moment(name, getattr(self, name)))
        kinds = [kind for kind in ("by", "hash", "column") if getattr(self, kind)]
        if len(kinds) != 1:
            raise SpecError(
                "a split needs exactly one of by, hash and column",
                hint="{by: sched_dep, eval_from: 2013-10-01}, {hash: user_id, eval: 0.2} or {column: fold}",
            )
        if self.by:
            if self.eval_from is None and self.test_from is None:
                raise SpecError("a split by time needs eval_from, test_from or both")
            if self.eval_from and self.test_from and self.eval_from >= self.test_from:
                raise SpecError("eval_from must lie before test_from")
        elif self.eval_from or self.test_from:
            raise SpecError("eval_from and test_from belong to a split by time (by: a column)")
        for name in ("eval", "test"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
                raise SpecError(f"{name} is a share from 0 to below 1, got {share!r}")
            _set(self, name, float(share))
        if self.hash and not 0 < self.eval + self.test < 1:
            raise SpecError("a split by hash needs eval and test shares that sum to between 0 and 1")
        if not self.hash and self.eval + self.test:
            raise SpecError("eval and test shares belong to a split by hash (hash: a key)")


@dataclass(frozen=True)
class Examples:
    """What one training example is.

    Args:
        source: The source whose rows are the examples.
        keys: Columns that name an example; written beside its features.
        predict_at: When the prediction is made: a time column plus or minus a duration.
        label: A row expression over the source; written as `label`. Rows where it is null are
            counted and left out.
        split: How examples are divided; all are `train` without it.
    """

    source: str
    keys: tuple[str, ...] = ()
    predict_at: Expression | None = None
    label: Expression | None = None
    split: Split | None = None

    def __post_init__(self) -> None:
        _texts(self, "source")
        if self.source is None:
            raise SpecError("examples need a source")
        _names(self, "keys")
        _expressions(self, "predict_at", "label")
        if isinstance(self.split, Mapping):
            _set(self, "split", build(Split, self.split))
        if self.split is not None and not isinstance(self.split, Split):
            raise SpecError(f"split is a mapping, got {self.split!r}")


@dataclass(frozen=True)
class Aggregation:
    """Features over past rows of a source, by key and time.

    Args:
        source: The source whose rows are summarised.
        by: The entity key: column names that examples and source share, or
            `{example column: source column}`; empty for a global aggregate.
        windows: How far back to look, such as `7d`.
        features: A name for each summary, such as `mean(arr_delay)`.
    """

    source: str
    by: FrozenMapping[str] = field(default_factory=FrozenMapping)
    windows: tuple[str, ...] = ()
    features: FrozenMapping[Expression] = field(default_factory=FrozenMapping)

    def __post_init__(self) -> None:
        _texts(self, "source")
        if not isinstance(self.by, Mapping):
            _names(self, "by")
            _set(self, "by", {name: name for name in self.by})
        _set(self, "by", FrozenMapping(self.by))
        _names(self, "windows")
        for window in self.windows:
            if _guard(parse_duration, window) <= 0:
                raise SpecError(f"a window is longer than nothing, got {window!r}")
        if not isinstance(self.features, Mapping) or not self.features:
            raise SpecError("an aggregation needs features, such as {delay_mean: mean(arr_delay)}")
        parsed = {}
        for name, value in self.features.items():
            check_name(name, "feature")
            parsed[name] = value if isinstance(value, Expression) else parse(value, aggregations())
        _set(self, "features", FrozenMapping(parsed))

    def outputs(self) -> Iterator[tuple[str, str, str]]:
        """Yield each output column as `(name, feature, window)`: `delay_mean_7d`."""
        for feature in self.features:
            for window in self.windows:
                yield f"{feature}_{window}", feature, window


@dataclass(frozen=True)
class Feature:
    """One model input, and what people should know about it.

    Args:
        expr: Its expression.
        created: When it was added; decides which of two redundant features is the older.
        owner: Who answers for it.
        description: What it means.
        group: A name under which ablation treats several features as one.
    """

    expr: Expression
    created: date | None = None
    owner: str | None = None
    description: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        if self.expr is None:
            raise SpecError("a feature needs an expression")
        _expressions(self, "expr")
        _texts(self, "owner", "description", "group")
        if isinstance(self.created, str):
            try:
                _set(self, "created", date.fromisoformat(self.created))
            except ValueError:
                raise SpecError(f"created is a date such as 2024-05-01, got {self.created!r}") from None


@dataclass(frozen=True)
class Spec:
    """Everything FeatureKit needs to know: sources, examples, aggregations and features.

    Args:
        sources: Where rows come from, by name.
        examples: What one training example is.
        features: Expressions, or `Feature` objects, by name.
        aggregations: Summaries of past rows, by name.
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
    name: str = "features"
    description: str | None = None
    base: Path = field(default=Path(), compare=False, repr=False)
    places: Mapping[tuple[str, ...], str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        _texts(self, "name", "description")
        for name, kind in (("sources", Source), ("aggregations", Aggregation), ("features", Feature)):
            _mapping(self, name, kind)
        if isinstance(self.examples, Mapping):
            _set(self, "examples", build(Examples, self.examples))
        if not isinstance(self.examples, Examples):
            raise SpecError("a spec needs examples, such as {source: flights, label: arr_delay > 15}")
        if not self.sources:
            raise SpecError("a spec needs at least one source")
        if not self.features:
            raise SpecError("a spec needs at least one feature")
        _distinct(self.features, "feature")

    def place(self, *path: str) -> str:
        """Return `file:line: ` of the nearest known part above `path`, or nothing."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return ""

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
        data = plain(self)
        order = ("name", "description", "sources", "examples", "aggregations", "features")
        return {key: data[key] for key in order if key in data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: Path | None = None) -> Spec:
        """Build a spec from plain data.

        Raises:
            SpecErrors: All problems of the data together.
        """
        return read_spec(data, {}, base or Path())

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


def build(kind: type[_V], data: Mapping[str, Any]) -> _V:
    """Build one spec object from a mapping, refusing unknown keys.

    Raises:
        SpecError: A key is unknown or a value refused.
    """
    if not isinstance(data, Mapping):
        raise SpecError(f"{kind.__name__.lower()} is a mapping of settings, got {data!r}")
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for key in data:
        if key not in known or key in ("base", "places", "data"):
            from featurekit.errors import closest

            raise SpecError(f"{kind.__name__.lower()} has no setting {key!r}", hint=closest(key, known))
    try:
        return kind(**data)
    except TypeError as error:
        if "missing" not in str(error):
            raise
        missing = re.findall(r"'(\w+)'", str(error))
        raise SpecError(f"{kind.__name__.lower()} needs {' and '.join(missing)}") from None


def read_spec(
    data: Mapping[str, Any], places: Mapping[tuple[str, ...], str], base: Path
) -> Spec:
    """Build a spec from plain data, collecting the problems of all its parts.

    Raises:
        SpecErrors: All problems together, each with its place.
    """
    problems: list[FeatureKitError] = []

    def place(*path: str) -> str:
        for end in range(len(path), -1, -1):
            if path[:end] in places:
                return places[path[:end]]
        return ""

    def part(path: tuple[str, ...], label: str, make: Any) -> Any:
        try:
            return make()
        except SpecErrors as error:
            problems.extend(error.problems)
        except SpecError as error:
            where = ": ".join(filter(None, (place(*path), label, error.where)))
            problems.append(type(error)(error.message, where=where, hint=error.hint))
        return None

    if not isinstance(data, Mapping):
        raise SpecError("a spec is a mapping with sources, examples and features", where=place())
    top = {entry.name for entry in fields(Spec)} - {"base", "places"}
    for key in data:
        if key not in top:
            from featurekit.errors import closest

            problems.append(SpecError(f"a spec has no section {key!r}", where=place(key), hint=closest(key, top)))
    built: dict[str, Any] = {}
    for section, kind in (("sources", Source), ("aggregations", Aggregation), ("features", Feature)):
        entries = data.get(section)
        if entries is None:
            entries = {}
        if not isinstance(entries, Mapping):
            problems.append(SpecError(f"{section} is a mapping by name, got {entries!r}", where=place(section)))
            entries = {}
        built[section] = {}
        for name, entry in entries.items():
            label = f"{section[:-1]} {name!r}"
            path = (section, name)

            def make(kind: Any = kind, name: Any = name, entry: Any = entry, section: Any = section, path: Any = path) -> Any:
                check_name(name, section[:-1])
                if kind is Feature and not isinstance(entry, Mapping):
                    return Feature(entry)
                if kind is Source and isinstance(entry, Mapping) and isinstance(entry.get("columns"), Mapping):
                    columns = {}
                    for column, declared in entry["columns"].items():
                        value = part((*path, "columns", column), f"column {column!r}",
                                     lambda declared=declared: declared if isinstance(declared, Column) else _column(declared))  # fmt: skip
                        if value is not None:
                            columns[column] = value
                    entry = {**entry, "columns": columns}
                return entry if isinstance(entry, kind) else build(kind, entry)

            value = part(path, label, make)
            if value is not None:
                built[section][name] = value
        if section != "aggregations" and not entries:
            problems.append(SpecError(f"a spec needs {section}", where=place(section)))
    examples = part(("examples",), "examples", lambda: _examples(data.get("examples")))
    if problems:
        raise SpecErrors(problems)
    rest = {key: data[key] for key in ("name", "description") if data.get(key) is not None}
    made = part((), "", lambda: Spec(examples=examples, base=base, places=dict(places), **built, **rest))
    if problems:
        raise SpecErrors(problems)
    assert isinstance(made, Spec)
    return made


def _examples(data: Any) -> Examples:
    if data is None:
        raise SpecError("a spec needs examples, such as {source: flights, label: arr_delay > 15}")
    return data if isinstance(data, Examples) else build(Examples, data)


def _column(data: Any) -> Column:
    """A column may be declared by its type alone: `carrier: string`."""
    return Column(type=_guard(parse_type, data)) if isinstance(data, str) else build(Column, data)


def plain(value: Any) -> Any:
    """Return a spec object as plain data: mappings, lists, texts and numbers."""
    match value:
        case Expression():
            return value.text
        case Type():
            return str(value)
        case FrozenMapping():
            return {key: plain(entry) for key, entry in value.items()}
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case tuple():
            return [plain(entry) for entry in value]
    if not hasattr(value, "__dataclass_fields__"):
        return value
    if isinstance(value, Feature) and all(
        getattr(value, entry.name) is None for entry in fields(value)[1:]
    ):
        return value.expr.text
    out = {}
    for entry in fields(value):
        current = getattr(value, entry.name)
        if not entry.compare or current is None or isinstance(current, (tuple, FrozenMapping)) and not current:
            continue
        if current == entry.default and entry.name not in ("source",):
            continue
        out[entry.name] = plain(current)
    if isinstance(value, Aggregation) and all(key == name for key, name in value.by.items()):
        if value.by:
            out["by"] = list(value.by)
    if isinstance(value, Spec):
        out["name"] = value.name
    return out


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")


def check_name(name: object, what: str) -> None:
    """Check that a name can stand in expressions, SQL, file names and signatures alike.

    Raises:
        SpecError: It cannot.
    """
    hint = "a letter, then letters, digits and underscores, 128 at most"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError(f"{name!r} is not a name for a {what}", hint=hint)
    if keyword.iskeyword(name) or name in RESERVED:
        raise SpecError(f"{name!r} is a reserved name", hint="choose another one")


def _distinct(names: Mapping[str, Any], what: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name:
            raise SpecError(f"{name!r} is not a name for a {what}")
        if what == "feature":
            check_name(name, what)
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise SpecError(
                f"{what}s {other!r} and {name!r} differ only in case",
                hint="BigQuery and some file systems cannot tell them apart",
            )


def _set(target: Any, name: str, value: Any) -> None:
    object.__setattr__(target, name, value)


def _guard(function: Any, text: Any) -> Any:
    if not isinstance(text, str):
        raise SpecError(f"expected a text, got {text!r}")
    try:
        return function(text)
    except ValueError as error:
        raise SpecError(str(error)) from None


def _expressions(target: Any, *names: str) -> None:
    for name in names:
        value = getattr(target, name)
        if value is not None:
            try:
                _set(target, name, expression(value))
            except SpecError as error:
                if name == "expr":
                    raise
                raise SpecError(f"{name}: {error.message}", hint=error.hint) from None


def _texts(target: Any, *names: str) -> None:
    for name in names:
        value = getattr(target, name)
        if value is not None and not isinstance(value, str):
            raise SpecError(f"{name} is a text, got {value!r}", hint="put it in quotes")


def _flags(target: Any, *names: str) -> None:
    for name in names:
        value = getattr(target, name)
        if not isinstance(value, bool):
            raise SpecError(f"{name} is true or false, got {value!r}")


def _names(target: Any, name: str) -> None:
    """A list of texts, or one text alone."""
    value = getattr(target, name)
    if value is None:
        value = ()
    values = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else None
    if values is None or not all(isinstance(entry, str) for entry in values):
        raise SpecError(f"{name} is a list of texts, got {value!r}", hint="put texts in quotes")
    _set(target, name, values)


def _mapping(target: Any, name: str, kind: Any) -> None:
    value = getattr(target, name)
    if not isinstance(value, Mapping):
        raise SpecError(f"{name} is a mapping by name, got {value!r}")
    made = {}
    for key, entry in value.items():
        try:
            if isinstance(entry, kind):
                made[key] = entry
            elif kind is Feature and not isinstance(entry, Mapping):
                made[key] = Feature(entry)
            elif kind is Column:
                made[key] = _column(entry)
            else:
                made[key] = build(kind, entry)
        except SpecError as error:
            where = f"{name[:-1]} {key!r}"
            raise SpecError(error.message, where=where, hint=error.hint) from None
    _set(target, name, FrozenMapping(made))


def _moment(name: str, value: Any) -> datetime | None:
    """A date or time; without an offset it is UTC."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise SpecError(f"{name} is a date or time such as 2013-10-01, got {value!r}") from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise SpecError(f"{name} is a date or time such as 2013-10-01, got {value!r}")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _check_zone(zone: str) -> None:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise SpecError(
            f"{zone!r} is not a time zone", hint="IANA names such as America/New_York or UTC"
        ) from None


def _is_text(value: Expression) -> bool:
    return isinstance(value, Literal) and value.type == STRING
