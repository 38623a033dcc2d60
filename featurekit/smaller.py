"""A spec without some of its features, and without all that nothing needs any longer.

Outputs of aggregations and lookups, aggregations and lookups, columns and sources that the removed
features alone used go with them. What nothing used before stays: it is there for other reasons.
A feature that stays and uses a removed one by name gets that one's expression written out. Windows
stay, since each is for all features of its aggregation.
"""

from __future__ import annotations

import codecs
import difflib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from featurekit.artifact import check_file_target, new_file
from featurekit.errors import SpecError, UsageError, closest
from featurekit.spec import cutting
from featurekit.spec.cutting import cut
from featurekit.spec.expression import Call, Expression, Name, parse
from featurekit.spec.needs import names_used, needed
from featurekit.spec.objects import FrozenMapping, Spec
from featurekit.spec.yaml import load_spec, parse_spec

__all__ = ["smaller_spec", "spec_diff", "without_features", "write_smaller"]

_Part = TypeVar("_Part", bound=Any)


def smaller_spec(spec: Spec, remove: Collection[str], columns: Collection[str] = ()) -> Spec:
    """Return a spec without some features, and without what nothing needs any longer.

    Args:
        spec: The spec.
        remove: The names of the features.
        columns: The columns that the data of the examples' source holds, as far as they are known:
            a name means a column where there is one, else a feature.

    Returns:
        A spec whose features compute what they did before.

    Raises:
        UsageError: There is no such feature, or none would be left.
        SpecError: A feature that stays uses a removed one that cannot be written out.

    Example:
        `smaller_spec(run.spec, ["age"], run.manifest["columns"]).to_yaml()`
    """
    return _applied(spec, _removal(spec, remove, columns))


def without_features(text: str, remove: Collection[str], columns: Collection[str] = ()) -> str:
    """Return the YAML text of a spec without some features; comments and layout of the rest stay.

    Args:
        text: A spec that can be read.
        remove: The names of the features.
        columns: See `smaller_spec`.

    Raises:
        UsageError: There is no such feature, or none would be left.
        SpecError: A feature that stays uses a removed one that cannot be written out, or the layout
            cannot be edited safely.
        SpecErrors: The text is no spec.
    """
    spec = parse_spec(text)
    return _rewritten(text, spec, _removal(spec, remove, columns), {})


def spec_diff(before: str, after: str, name: str) -> str:
    """Return what changes between two texts of a spec as a unified diff, empty if nothing does.

    Args:
        before: The text.
        after: The other one.
        name: What the file is called, as `patch -p1` reads it.
    """
    mark = "\\ No newline at end of file\n"
    old, new = ([f"{line}\n" for line in text.split("\n")] for text in (before, after))
    for lines in (old, new):
        last = lines.pop().removesuffix("\n")
        if last:
            lines.append(last)
    found = difflib.unified_diff(old, new, f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n{mark}" for line in found)


def write_smaller(
    spec: Spec | str | Path,
    remove: Collection[str],
    out: str | Path,
    overwrite: bool = False,
    columns: Collection[str] = (),
) -> str:
    """Write a spec without some features to a file; it appears whole or not at all.

    Paths of sources that are relative to the spec's folder become relative to that of the file.

    Args:
        spec: The path of a spec's file, whose comments and layout are kept; or a spec, such as that
            of a run whose file is gone, which is written as YAML anew.
        remove: The names of the features.
        out: The file.
        overwrite: Whether a file that stands there may be replaced.
        columns: See `smaller_spec`.

    Returns:
        The text of the file.

    Raises:
        UsageError: There is no such feature, none would be left, or the file cannot be written.
        SpecError: See `without_features`; or a source is a table in memory.
        SpecErrors: The file holds no spec.
    """
    out = Path(out)
    check_file_target(out, overwrite)
    made = spec if isinstance(spec, Spec) else load_spec(spec)
    removal, mark = _removal(made, remove, columns), b""
    smaller = _applied(made, removal)
    moved = _moved(smaller, out.parent)
    if isinstance(spec, Spec):
        text = _with_paths(smaller, moved).to_yaml()
    else:
        raw = Path(spec).read_bytes()
        mark = raw[:3] if raw.startswith(codecs.BOM_UTF8) else b""
        text = _rewritten(raw[len(mark) :].decode("utf-8"), made, removal, moved)
    with new_file(out, overwrite) as temporary:
        temporary.write_bytes(mark + text.encode("utf-8"))
    return text


@dataclass(frozen=True)
class _Removal:
    """What changes in a spec.

    Args:
        gone: The parts that go.
        inlined: The new expressions of features that used one of those.
    """

    gone: frozenset[cutting.Path]
    inlined: Mapping[str, Expression]


def _removal(spec: Spec, remove: Collection[str], columns: Collection[str]) -> _Removal:
    for name in remove:
        if name not in spec.features:
            raise UsageError(
                f"there is no feature {name!r}", hint=closest(name, list(spec.features))
            )
    kept = {name: entry for name, entry in spec.features.items() if name not in remove}
    if not kept:
        raise UsageError("no feature would be left", hint="a spec needs one at least")
    inlined = _inlined(spec, set(remove), columns)
    features = {
        name: replace(entry, expr=inlined.get(name, entry.expr)) for name, entry in kept.items()
    }
    before = needed(spec)
    gone = set(before - needed(replace(spec, features=FrozenMapping(features)), idle_from=before))
    gone |= {whole for whole in _wholes(spec) if all(part in gone for part in _parts(spec, whole))}
    return _Removal(frozenset(gone), inlined)


def _wholes(spec: Spec) -> Iterator[cutting.Path]:
    """Yield the mappings that go when all their entries do."""
    yield from (("aggregations",), ("lookups",))
    yield from (("sources", name, "columns") for name in spec.sources)


def _parts(spec: Spec, whole: cutting.Path) -> list[cutting.Path]:
    entries = spec.sources[whole[1]].columns if len(whole) > 1 else getattr(spec, whole[0])
    return [(*whole, name) for name in entries] or [()]


def _inlined(spec: Spec, remove: set[str], columns: Collection[str]) -> dict[str, Expression]:
    """Return the expressions of features that stay and use removed ones, these written out."""
    known = {*columns, *spec.sources[spec.examples.source].columns}
    # A feature that uses its own name means the column.
    known |= {name for name, entry in spec.features.items() if name in names_used(entry.expr)}

    def written_out(expression: Expression, chain: tuple[str, ...]) -> Expression:
        match expression:
            case Name(name=name) if name in remove and name not in known:
                if name in chain:
                    raise SpecError(
                        f"features refer to each other: {' -> '.join((*chain, name))}",
                        where=spec.place("features", chain[0]),
                    )
                return written_out(spec.features[name].expr, (*chain, name))
            case Call(operation=operation, inputs=inputs, where=where):
                made = tuple(written_out(entry, chain) for entry in inputs)
                return expression if made == inputs else Call(operation, made, where)
        return expression

    found = {}
    for name, entry in spec.features.items():
        if name in remove:
            continue
        made = written_out(entry.expr, (name,))
        if made == entry.expr:
            continue
        try:
            parse(made.text)
        except SpecError as error:
            used = ", ".join(sorted(names_used(entry.expr) & remove))
            raise SpecError(
                f"feature {name!r} uses {used}, which cannot be written out: {error.message}",
                where=spec.place("features", name), hint=f"remove {name} too, or keep {used}",
            ) from None  # fmt: skip
        found[name] = made
    return found


def _applied(spec: Spec, removal: _Removal) -> Spec:
    """Return the spec without what goes, and with the new expressions."""

    def left(entries: Mapping[str, _Part], *path: str) -> dict[str, _Part]:
        return {name: of for name, of in entries.items() if (*path, name) not in removal.gone}

    def fewer(section: str, entries: Mapping[str, _Part], part: str) -> FrozenMapping[_Part]:
        return FrozenMapping({
            name: replace(of, **{part: FrozenMapping(left(getattr(of, part), section, name, part))})
            for name, of in left(entries, section).items()
        })  # fmt: skip

    features = {
        name: replace(entry, expr=removal.inlined.get(name, entry.expr))
        for name, entry in left(spec.features, "features").items()
    }
    return replace(
        spec,
        sources=fewer("sources", spec.sources, "columns"),
        aggregations=fewer("aggregations", spec.aggregations, "features"),
        lookups=fewer("lookups", spec.lookups, "features"),
        features=FrozenMapping(features),
    )


def _rewritten(text: str, spec: Spec, removal: _Removal, paths: Mapping[str, str]) -> str:
    """Return the text of a spec with all that changes, having read it back.

    Args:
        text: The text.
        spec: What it says.
        removal: What goes.
        paths: The new paths of sources.
    """
    written: dict[cutting.Path, str] = {
        ("sources", name, "path"): path for name, path in paths.items()
    }
    for name, expression in removal.inlined.items():
        # The expression stands there alone, or under its key.
        line = _double_quoted(expression)
        written |= {("features", name): line, ("features", name, "expr"): line}
    made = cut(text, removal.gone, written)
    try:
        good = parse_spec(made) == _with_paths(_applied(spec, removal), paths)
    except SpecError:
        good = False
    if not good:
        raise SpecError(
            "features cannot be taken out of a file of this layout",
            hint="fk.load_spec and smaller_spec make the same spec, written anew",
        )
    return made


def _double_quoted(expression: Expression) -> str:
    """Return the text of an expression with strings as they are mostly written within YAML."""
    text = re.sub(r"'([^'\"\\]*)'", r'"\1"', expression.text)
    return text if parse(text) == expression else expression.text


def _moved(spec: Spec, folder: Path) -> dict[str, str]:
    """Return the paths of sources that are others as seen from a folder."""
    way = os.path.relpath(spec.base.resolve(), folder.resolve())
    if way == os.curdir:
        return {}
    return {
        name: (Path(way) / source.path).as_posix() for name, source in spec.sources.items()
        if source.path is not None and "://" not in source.path
        and not Path(source.path).is_absolute()
    }  # fmt: skip


def _with_paths(spec: Spec, paths: Mapping[str, str]) -> Spec:
    sources = {
        name: replace(source, path=paths.get(name, source.path))
        for name, source in spec.sources.items()
    }
    return replace(spec, sources=FrozenMapping(sources))
