"""The types of a spec's sources: read, shown, and frozen into the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurekit.artifact import new_file
from featurekit.opening import reader
from featurekit.sources import column_types, left_out_columns, open_table
from featurekit.spec.freeze import freeze, yaml_text
from featurekit.spec.objects import UNDECLARED, Column, Source, Spec, plain
from featurekit.types import Type
from featurekit.word_types import typed_by_use

if TYPE_CHECKING:
    from featurekit.engines.bigquery.settings import Settings

__all__ = ["SourceSchema", "as_dict", "as_yaml", "freeze_file", "read_schema"]


@dataclass(frozen=True)
class SourceSchema:
    """The columns of one source.

    Args:
        declared: What the spec says of columns.
        types: The type of every column that can be read.
        left_out: Columns of types that FeatureKit does not know, as they are stored.
    """

    declared: Mapping[str, Column]
    types: Mapping[str, Type]
    left_out: Mapping[str, str]

    @property
    def inferred(self) -> dict[str, Type]:
        """The types that the data says and the spec does not."""
        known = {name for name, column in self.declared.items() if column.type is not None}
        return {name: of for name, of in self.types.items() if name not in known}

    def lines(self) -> Iterator[str]:
        """Yield a YAML line per column: its type, and what else the spec declares of it."""
        derived = {
            name: column for name, column in self.declared.items() if column.expr is not None
        }
        for name, of in self.types.items():
            column = replace(self.declared.get(name, UNDECLARED), type=of)
            settings = plain(column)
            yield f"{yaml_text(name)}: {_flow(settings) if len(settings) > 1 else of}"
        for name, column in derived.items():
            yield f"{yaml_text(name)}: {_flow(plain(column))}"
        for name, stored in self.left_out.items():
            yield f"# {yaml_text(name)} is left out: there is no type for {stored}"


def _flow(settings: Mapping[str, Any]) -> str:
    import yaml

    text = yaml.safe_dump(
        dict(settings), default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**31
    )
    return str(text).strip()


def read_schema(spec: Spec, bigquery: Settings | None = None) -> dict[str, SourceSchema]:
    """Return the columns of every source of a spec.

    Args:
        spec: The spec.
        bigquery: How to reach sources that are BigQuery tables.

    Raises:
        DataError: A source cannot be read.
        SpecError: A source is a BigQuery table, and nothing says how to reach it.
    """
    if bigquery is None:
        return _schemas(spec, reader(spec))
    from featurekit.engines.bigquery.client import Warehouse

    with Warehouse(bigquery) as warehouse:
        return _schemas(spec, reader(spec, warehouse))


def _schemas(spec: Spec, rows: Callable[[str], Source | None]) -> dict[str, SourceSchema]:
    out = {}
    tables = {
        name: open_table(name, rows(name) or source, spec.base)
        for name, source in spec.sources.items()
    }
    types = typed_by_use(
        spec,
        {name: column_types(table, spec.sources[name]) for name, table in tables.items()},
        {name: table.dtypes for name, table in tables.items()},
    )
    for name, source in spec.sources.items():
        table = tables[name]
        unknown = left_out_columns(table).items()
        left_out = {column: dtype for column, dtype in unknown if column not in table.renamed}
        out[name] = SourceSchema(source.columns, types[name], left_out)
    return out


def as_yaml(schema: Mapping[str, SourceSchema]) -> str:
    """Return the columns of all sources as YAML that can be pasted into a spec."""
    lines = ["sources:"]
    for name, source in schema.items():
        lines += [f"  {name}:", "    columns:", *(f"      {line}" for line in source.lines())]
    return "\n".join(lines)


def as_dict(schema: Mapping[str, SourceSchema]) -> dict[str, Any]:
    """Return the columns of all sources as plain data."""
    return {
        name: {
            "columns": {
                column: {"type": str(of), "declared": column not in source.inferred}
                for column, of in source.types.items()
            },
            "left_out": dict(source.left_out),
        }
        for name, source in schema.items()
    }


def freeze_file(path: Path, schema: Mapping[str, SourceSchema]) -> int:
    """Write inferred types into a spec file, in one step; comments and layout are kept.

    Args:
        path: The spec's file.
        schema: Its columns, as `read_schema` returns them.

    Returns:
        How many types were written.

    Raises:
        SpecError: The layout of the file cannot be edited safely; it is left as it is.
    """
    types = {name: found.inferred for name, found in schema.items() if found.inferred}
    if types:
        raw = path.read_bytes()
        mark = raw[:3] if raw.startswith(b"\xef\xbb\xbf") else b""
        frozen = freeze(raw[len(mark) :].decode("utf-8"), types)
        with new_file(path, overwrite=True) as temporary:
            temporary.write_bytes(mark + frozen.encode("utf-8"))
    return sum(map(len, types.values()))
