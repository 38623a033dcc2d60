"""What a report shows of a replay: its numbers, whichever there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurekit.report.page import anything, name, table, text

__all__ = ["replay_numbers"]


def replay_numbers(replay: Mapping[str, Any]) -> str:
    """Return whatever numbers a replay has: single ones first, then those of each feature."""
    facts, tables = [], []
    for key, value in replay.items():
        label = text(str(key).replace("_", " "))
        if key == "findings":
            continue
        if isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values()):
            tables.append(_numbers_table(str(key).replace("_", " "), value))
        else:
            facts.append(f"<dt>{label}</dt><dd>{anything(value)}</dd>")
    return (f"<dl>{''.join(facts)}</dl>" if facts else "") + "\n".join(tables)


def _numbers_table(caption: str, entries: Mapping[str, Any]) -> str:
    rows = {key: item if isinstance(item, Mapping) else {"value": item}
            for key, item in entries.items()}  # fmt: skip
    # Each row is headed by its name already.
    every = dict.fromkeys(column for item in rows.values() for column in item)
    columns = [column for column in every if any(
        item.get(column) != key for key, item in rows.items())]  # fmt: skip

    def cell(value: object) -> tuple[str, object]:
        single = isinstance(value, (bool, int, float, str))
        return anything(value), value if single else None

    cells = ([(name(key), key), *(cell(item.get(column)) for column in columns)]
             for key, item in rows.items())  # fmt: skip
    return table(caption, ["", *(column.replace("_", " ") for column in columns)], cells)
