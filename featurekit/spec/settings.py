"""How the settings of a spec are read: each by one function, checked and frozen.

A reader takes what YAML or Python gave and the place where it stands, and returns the value that
the spec keeps; given such a value it returns it as it is. A reader of several parts collects the
problems of all of them.
"""

from __future__ import annotations

import codecs
import itertools
import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar
from zoneinfo import ZoneInfo

from featurekit.arguments import safe_repr
from featurekit.errors import SpecError, closest
from featurekit.spec.expression import Call, Expression, parse, shortened
from featurekit.spec.expression import expression as read_expression
from featurekit.spec.problems import Place, Problems, Reported
from featurekit.spec.table_id import table_id
from featurekit.spec.window import Window
from featurekit.transforms.base import AggregateOperation
from featurekit.transforms.catalogue import aggregations, operations
from featurekit.types import Type, parse_duration, parse_type

__all__ = [
    "FrozenMapping", "Reader", "Settings", "aggregates", "check_name", "data_type", "day",
    "duration", "encoding", "entity_key", "expression", "flag", "instant", "mapping_of", "name",
    "names", "object_of", "one_of", "path", "plain", "row_values", "share", "table", "text",
    "texts", "time", "time_formats", "whole_number", "windows", "zone",
]  # fmt: skip

RESERVED = frozenset({"label", "split", "col", "predict_at"})
"""Names that the artifact or the expression language uses itself."""

_V = TypeVar("_V")

Reader = Callable[[Any, Place], Any]


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
        shown = [f"{key!r}: {value!r}" for key, value in itertools.islice(self._items.items(), 4)]
        more = len(self._items) - len(shown)
        return f"{{{', '.join([*shown, *([f'... {more} more'] if more else [])])}}}"


class Settings:
    """The root of spec objects: a frozen dataclass that reads its fields when it is made.

    A setting that is `None` is as if it were not given.
    """

    what: ClassVar[str]
    """What messages call it."""
    short: ClassVar[str | None] = None
    """The setting that a value given in the place of the whole object is for."""
    readers: ClassVar[Mapping[str, Reader]]
    """How each setting that a spec can write is read."""

    def __post_init__(self) -> None:
        problems = Problems()
        for entry in _settings(self):
            place = _setting(Place(problems), entry.name)
            with place.collect():
                given, read = getattr(self, entry.name), self.readers[entry.name]
                value = _default(self, entry) if given is None else read(given, place)
                object.__setattr__(self, entry.name, value)
        with problems.at():
            if not problems:
                self.check()
        problems.check()

    def check(self) -> None:
        """Refuse settings that do not go together."""

    def __repr__(self) -> str:
        said = (
            f"{name}={value if isinstance(value, FrozenMapping) else plain(value)!r}"
            for name, value in self.given().items()
        )
        return f"{type(self).__name__}({', '.join(said)})"

    def to_plain(self) -> Any:
        """Return the settings that are not the default as mappings, lists, texts and numbers."""
        return {key: plain(value) for key, value in self.given().items()}

    def given(self) -> dict[str, Any]:
        """Return the settings that are not the default."""
        values = {entry.name: (getattr(self, entry.name), entry) for entry in _settings(self)}
        return {
            key: value
            for key, (value, entry) in values.items()
            if value not in (None, (), FrozenMapping()) and value != entry.default
        }

    @classmethod
    def read(cls, value: Any, place: Place, **rest: Any) -> Self:
        """Return an object from the settings that a mapping gives, or as it is.

        Args:
            value: An object of this class, a mapping, or what its `short` setting takes.
            place: Where it stands.
            rest: Fields that a spec does not write.

        Raises:
            SpecError: It is no mapping, or its problems have been collected at their places.
        """
        if isinstance(value, cls):
            return value
        if cls.short is not None and not isinstance(value, Mapping):
            value = {cls.short: value}
        if value is None:
            needed = [entry.name for entry in _settings(cls) if _is_needed(entry)]
            raise SpecError(f"{cls.what} is missing here: nothing is written",
                            hint=f"it needs {', '.join(needed)}" if needed else "")  # fmt: skip
        if not isinstance(value, Mapping):
            raise _refuse(f"for {cls.what} a mapping of settings", value)
        before = len(place.problems)
        made: dict[str, Any] = {}
        for key, given in value.items():
            below = _setting(place, str(key))
            with below.collect():
                if key not in cls.readers:
                    hint = closest(str(key), cls.readers)
                    raise SpecError(f"there is no such setting in {cls.what}", hint=hint)
                if given is not None:
                    made[key] = cls.readers[key](given, below)
        for entry in _settings(cls):
            with place.collect():
                if value.get(entry.name) is None:
                    _default(cls, entry)
        if len(place.problems) > before:
            raise Reported
        return cls(**made, **rest)


def plain(value: Any) -> Any:
    """Return a spec object or a value of one as plain data."""
    match value:
        case Settings():
            return value.to_plain()
        case Expression():
            return value.text
        case Type():
            return str(value)
        case FrozenMapping():
            return {key: plain(entry) for key, entry in value.items()}
        case datetime():
            return value.isoformat().replace("+00:00", "Z").removesuffix("T00:00:00Z")
        case date():
            return value.isoformat()
        case tuple():
            return [plain(entry) for entry in value]
    return value


_UNLABELLED = frozenset({"aggregations", "columns", "expr", "features", "lookups", "sources"})


def _setting(place: Place, key: str) -> Place:
    return place.below(key, "" if key in _UNLABELLED else key)


def _settings(of: Settings | type[Settings]) -> list[Field[Any]]:
    declared = {entry.name: entry for entry in fields(of)}  # type: ignore[arg-type]
    return [declared[key] for key in of.readers]


def _is_needed(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _default(of: Settings | type[Settings], entry: Field[Any]) -> Any:
    if entry.default_factory is not MISSING:
        return entry.default_factory()
    if entry.default is MISSING:
        raise SpecError(f"{entry.name!r} is missing in {of.what}")
    return entry.default


def _shown(value: Any) -> str:
    return shortened(safe_repr(value))


def _refuse(expected: str, value: Any, hint: str = "") -> SpecError:
    return SpecError(f"{expected} is needed, got {_shown(value)}", hint=hint)


def text(value: Any, _: Place) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise _refuse("a text", value, "put it in quotes")
    return value


def name(value: Any, place: Place) -> str:
    """Read the name of something in the data."""
    if not text(value, place):
        raise SpecError("a name is needed, got an empty text")
    return str(value)


def texts(value: Any, _: Place) -> tuple[str, ...]:
    """Read a list of texts, or one text alone."""
    values = (value,) if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)) or not all(isinstance(one, str) for one in values):
        raise _refuse("a list of texts", value, "put texts in quotes")
    return tuple(values)


def names(value: Any, place: Place) -> tuple[str, ...]:
    """Read a list of different names, or one name alone."""
    values = texts(value, place)
    seen: set[str] = set()
    for entry in values:
        name(entry, place)
        if entry in seen:
            raise SpecError(f"{entry!r} stands twice")
        seen.add(entry)
    return values


def one_of(*values: str) -> Reader:
    """Return the reader of one of some words."""

    def read(value: Any, _: Place) -> str:
        if not isinstance(value, str) or value not in values:
            known = f"{', '.join(values[:-1])} or {values[-1]}"
            near = closest(value, values) if isinstance(value, str) else ""
            raise SpecError(f"{known} is needed, got {safe_repr(value)}", hint=near)
        return value

    return read


_DIRECTIVES = "YymbBdjHIMSfpzaAFTR%"
_COMPLETE = (
    ("a year", "YyF"), ("a month", "mbBjF"), ("a day", "djF"),
)  # fmt: skip


def time_formats(value: Any, place: Place) -> tuple[str, ...]:
    """Read one or several formats of times, as `strptime` has them."""
    values = texts(value, place)
    for entry in values:
        used = re.findall("%(.?)", entry)
        unknown = next((one for one in used if one not in _DIRECTIVES or not one), None)
        if unknown is not None:
            raise SpecError(
                f"format {entry!r}: %{unknown} is not known",
                hint=f"these are: {' '.join(f'%{one}' for one in _DIRECTIVES)}; write the letters "
                "of a zone, such as UTC, as they are, and declare the zone",
            )
        for what, directives in _COMPLETE:
            if not {*used} & {*directives}:
                raise SpecError(f"format {entry!r} has not {what}", hint="%d/%m/%Y, for example")
        if re.search(r"(?<!\.)%f", entry.replace("%%", "")):
            raise SpecError(f"format {entry!r}: %f follows a point, as in %S.%f")
        if ("I" in used) != ("p" in used):
            raise SpecError(f"format {entry!r}: %I and %p go together; hours to 24 are %H")
    if len({"%z" in entry.replace("%%", "") for entry in values}) > 1:
        raise SpecError("a column may not mix times with and without an offset (%z)")
    return values


def table(value: Any, place: Place) -> str:
    """Read the id of a BigQuery table."""
    return str(table_id(name(value, place)))


def path(value: Any, place: Place) -> str:
    """Read the path of a file."""
    return name(str(value) if isinstance(value, Path) else value, place)


def whole_number(value: Any, _: Place) -> int:
    """Read a whole number from 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _refuse("a whole number from 0", value)
    return value


def encoding(value: Any, place: Place) -> str:
    """Read the name of an encoding of text."""
    try:
        codecs.lookup(text(value, place)).incrementaldecoder("strict")
    except (LookupError, TypeError, ValueError):
        raise SpecError(
            f"{value!r} is not an encoding", hint="names such as utf-8, latin-1, cp1252 or utf-16"
        ) from None
    return str(value)


def flag(value: Any, _: Place) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise _refuse("true or false", value)
    return value


def expression(value: Any, _: Place) -> Expression:
    """Read an expression over columns and features."""
    made = read_expression(value)
    if isinstance(made, Call) and isinstance(made.operation, AggregateOperation):
        raise SpecError(
            f"{shortened(made.text)!r} summarises past rows",
            hint="it belongs under aggregations; a feature uses its output, such as tail.delay_7d",
        )
    return made


_DATE = re.compile(r"\s*\d{4}-\d\d?-\d\d?\b.*", re.DOTALL)


def time(value: Any, place: Place) -> Expression:
    """Read a time of each row: a time column plus or minus a duration."""
    if isinstance(value, date) or (isinstance(value, str) and _DATE.fullmatch(value)):
        raise SpecError(
            f"a time column plus or minus a duration is needed, got the date {_shown(str(value))}",
            hint="each row has a time of its own, for example sched_dep - 2h",
        )
    return expression(value, place)


def data_type(value: Any, place: Place) -> Type:
    """Read the name of a type."""
    return value if isinstance(value, Type) else _guarded(parse_type, text(value, place))


def zone(value: Any, place: Place) -> str:
    """Read the name of a time zone."""
    try:
        ZoneInfo(text(value, place))
    except (KeyError, ValueError, OSError):
        raise SpecError(
            f"{value!r} is not a time zone", hint="IANA names such as America/New_York or UTC"
        ) from None
    return str(value)


def share(value: Any, _: Place) -> float:
    """Read a share of all rows."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise _refuse("a share from 0 to below 1", value)
    return float(value)


def instant(value: Any, _: Place) -> datetime:
    """Read a date or time; without an offset it is UTC."""
    try:
        made = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(made, date) and not isinstance(made, datetime):
            made = datetime(made.year, made.month, made.day, tzinfo=UTC)
        if isinstance(made, datetime):
            return made.replace(tzinfo=UTC) if made.tzinfo is None else made.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _refuse("a date or time such as 2013-10-01", value)


def duration(value: Any, _: Place) -> str:
    """Read a duration such as `1d`, as its text."""
    try:
        micros = parse_duration(value) if isinstance(value, str) else 0
    except ValueError:
        micros = 0
    if micros <= 0:
        raise _refuse("a duration such as 1d or 12h", value)
    return str(value)


def day(value: Any, _: Place) -> date:
    """Read a date."""
    try:
        made = date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        made = None
    if not isinstance(made, date) or isinstance(made, datetime):
        raise _refuse("a date such as 2024-05-01", value)
    return made


def windows(value: Any, place: Place) -> tuple[str, ...]:
    """Read how far back to look, each time a window such as `7d` or `14d..7d`."""
    given = value if isinstance(value, (list, tuple)) else (value,)
    number = next((entry for entry in given if not isinstance(entry, str)), None)
    if number is not None:
        raise _refuse(
            "a list of windows", value, f"a window is a duration, such as {_window(number)}"
        )
    found = names(value, place)
    for window in found:
        _guarded(Window.parse, window)
    return found


def _window(value: object) -> str:
    """Return how a number of days is written, for one that somebody took for a window."""
    days = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return f"{value}d" if days else "7d"


def entity_key(value: Any, place: Place) -> FrozenMapping[str]:
    """Read columns that two sources share: names, or `{example column: source column}`."""
    if not isinstance(value, Mapping):
        listed = value if isinstance(value, (list, tuple)) else ()
        if any(isinstance(entry, Mapping) for entry in listed):
            pairs = [entry if isinstance(entry, Mapping) else {entry: entry} for entry in listed]
            said = ", ".join(f"{key}: {other}" for pair in pairs for key, other in pair.items())
            hint = f"columns of two names are one mapping: {shortened(f'{{{said}}}')}"
            raise _refuse("a list of names, or a mapping of them,", value, hint)
        return FrozenMapping({entry: entry for entry in names(value, place)})
    for side in (value.keys(), value.values()):
        names(list(side), place)
    return FrozenMapping(value)


def aggregates(value: Any, place: Place) -> FrozenMapping[Expression]:
    """Read the features of an aggregation: each one aggregate of a row expression."""

    def one(given: Any, _: Place) -> Expression:
        known = operations() | aggregations()
        made = parse(given, known) if isinstance(given, str) else read_expression(given)
        if not isinstance(made, Call) or not isinstance(made.operation, AggregateOperation):
            raise SpecError(
                f"{shortened(made.text)!r} does not summarise past rows",
                hint="for example mean(arr_delay), last(wind_speed) or count()",
            )
        return made

    return _mapping(value, place, one, "feature")


def row_values(value: Any, place: Place) -> FrozenMapping[Expression]:
    """Read row expressions by name; a name alone is the column of that name."""
    if not isinstance(value, Mapping):
        value = {entry: entry for entry in names(value, place)}
    return _mapping(value, place, expression, "feature")


def object_of(kind: type[Settings]) -> Reader:
    """Return the reader of one object."""
    return kind.read


def mapping_of(kind: type[Settings], what: str, named: bool = True) -> Reader:
    """Return the reader of several objects by name.

    Args:
        kind: What they are.
        what: What messages call one of them.
        named: Whether names are the spec's own, and not those of the data.
    """
    return lambda value, place: _mapping(value, place, kind.read, what, named)


def _mapping(
    value: Any, place: Place, reader: Reader, what: str, named: bool = True
) -> FrozenMapping[Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"{what}s are a mapping by name, got {_shown(value)}")
    before = len(place.problems)
    made: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for key, entry in value.items():
        below = place.below(str(key), f"{what} {_shown(key)}")
        with below.collect():
            if named:
                check_name(key)
            name(key, below)
            _distinct(key, seen, what)
            made[key] = reader(entry, below)
    if len(place.problems) > before:
        raise Reported
    return FrozenMapping(made)


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")


def check_name(value: object) -> None:
    """Check that a name can stand in expressions, SQL, file names and signatures alike.

    Raises:
        SpecError: It cannot.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise SpecError(
            f"{_shown(value)} cannot be a name",
            hint="a letter, then letters, digits and underscores, 128 at most",
        )
    if keyword.iskeyword(value) or value in RESERVED:
        raise SpecError(f"{value!r} is a reserved name", hint="choose another one")


def _distinct(key: str, seen: dict[str, str], what: str) -> None:
    other = seen.setdefault(key.lower(), key)
    if other != key:
        raise SpecError(
            f"the {what}s {other!r} and {key!r} differ only in case",
            hint="BigQuery and some file systems cannot tell them apart",
        )


def _guarded(function: Callable[[str], _V], value: str) -> _V:
    try:
        return function(value)
    except ValueError as error:
        raise SpecError(str(error)) from None
