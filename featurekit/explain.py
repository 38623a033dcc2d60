"""A plan in words: a table for a terminal, and plain data for machines."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

from featurekit.delays import delayed_lookups
from featurekit.escapes import escaped
from featurekit.graph import AggregateNode, StatisticRequest
from featurekit.planner import Plan, Route, Step, key_text
from featurekit.threats import effects_at_predictions
from featurekit.types import Type
from featurekit.verdict import judge

__all__ = ["as_dict", "as_table"]

WIDTH = 116
"""So many characters wide is the table; terminals of 120 show it whole."""

_HEAD = ("feature", "type", "pass", "route in production", "engine now", "operations", "reason")
_NARROWEST = {"feature": 16, "operations": 21, "reason": 24}
_TALLEST = 2
"""Lines of operations and of a reason; what is cut off is whole in `as_dict`."""


def as_table(plan: Plan, width: int = WIDTH) -> str:
    """Return a plan as text: passes and inputs first, then one row per piece of each feature.

    Args:
        plan: The plan.
        width: Characters per line.

    Returns:
        Lines without trailing spaces or a final newline.
    """
    rows = []
    for name, steps in plan.steps.items():
        named = (name, str(plan.features[name].type))
        for step in steps:
            operations = ", ".join(step.operations) or "-"
            where = (step.route.value, step.engine)
            rows.append((*named, _waits(plan, step), *where, operations, step.reason))
            named = ("", "")
    safe = [[escaped(cell) for cell in row] for row in rows]
    return "\n".join([*_summary(plan, width), "", *_table(_HEAD, safe, width)])


def as_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan as data that JSON can write, the same for the same spec.

    Args:
        plan: The plan.

    Returns:
        The spec's name and fingerprint, the columns read, the passes over the data with their
        statistics, and the type, expression and pieces of each feature.
    """
    resolved = plan.resolved
    spec = resolved.spec
    statistics = [
        {"pass": number, "statistics": [_statistic(request) for request in level]}
        for number, level in enumerate(plan.levels or ((),), 1)
    ]
    return {
        "name": spec.name,
        "spec": spec.fingerprint,
        "engine": plan.engine,
        "saved_model": plan.saved_model,
        "source": spec.examples.source,
        "inputs": _types(resolved.inputs()),
        "serving_inputs": _types(plan.serving_inputs),
        "keys": list(resolved.keys),
        "label": None if spec.examples.label is None else spec.examples.label.text,
        "aggregates": [_aggregate(node) for node in resolved.aggregates],
        "delayed_lookups": [
            {**vars(delay), "earlier": dict(delay.earlier)} for delay in delayed_lookups(resolved)
        ],
        "leakage": judge(resolved).to_dict(),
        "passes": [*statistics, {"pass": len(statistics) + 1, "writes": "examples"}],
        "features": {
            name: {
                "type": str(plan.features[name].type),
                "expression": spec.features[name].expr.text,
                "steps": [_step(plan, step) for step in steps],
            }
            for name, steps in plan.steps.items()
        },
    }


def _histories(plan: Plan) -> dict[tuple[str, str], list[AggregateNode]]:
    """Return the aggregates and lookups by the source that they read and by its key."""
    found: dict[tuple[str, str], list[AggregateNode]] = {}
    for node in plan.resolved.aggregates:
        by = key_text(node) or "all rows"
        found.setdefault((node.aggregate.history.source, by), []).append(node)
    return found


def _aggregate(node: AggregateNode) -> dict[str, Any]:
    aggregate, history = node.aggregate, node.aggregate.history
    operation = aggregate.operation
    settings = {entry.name: getattr(operation, entry.name) for entry in fields(operation)}
    return {
        "output": node.text,
        "type": str(node.type),
        "function": operation.name(),
        **({"settings": settings} if settings else {}),
        "of": [value.text for value in aggregate.values],
        "where": None if aggregate.where is None else aggregate.where.text,
        "source": history.source,
        "by": [key.text for key in history.keys],
        "key": [key.text for key in node.keys],
        "counts_from": [time.text for time in history.effect],
        **({"order_by": [entry.text for entry in history.order_by]} if history.row else {}),
        "window": aggregate.window.text or None,
        "at": None if node.at is None else node.at.text,
    }


def _types(columns: dict[str, Type]) -> dict[str, str]:
    return {name: str(of) for name, of in columns.items()}


def _statistic(request: StatisticRequest) -> dict[str, Any]:
    settings = {
        entry.name: getattr(request.statistic, entry.name) for entry in fields(request.statistic)
    }
    return {
        "statistic": _kind(request),
        "of": request.node.text,
        **({"beside": [node.text for node in request.beside]} if request.beside else {}),
        **({"settings": settings} if settings else {}),
    }


def _step(plan: Plan, step: Step) -> dict[str, Any]:
    return {
        "route": step.route.value,
        "engine": step.engine,
        "after_pass": _pass(plan, step),
        "operations": list(step.operations),
        "reason": step.reason,
    }


def _pass(plan: Plan, step: Step) -> int:
    """Return the pass whose statistics a piece waits for, 0 for none."""
    return sum(level[0].level < step.level for level in plan.levels)


def _waits(plan: Plan, step: Step) -> str:
    number = _pass(plan, step)
    if not number:
        return "-"
    return str(number) if step.route is Route.BEAM else f"after {number}"


def _kind(request: StatisticRequest) -> str:
    return type(request.statistic).__name__.lower()


def _summary(plan: Plan, width: int) -> Iterator[str]:
    resolved = plan.resolved
    examples = resolved.spec.examples
    source = resolved.spec.sources[examples.source]
    where = source.path or source.table or "a table in memory"
    saved = "with a SavedModel" if plan.saved_model else "without a SavedModel"
    if not plan.saved_model and find_spec("tensorflow") is None:
        saved += " (TensorFlow is not installed)"
    features = _count(len(plan.features), "feature")
    yield f"{escaped(resolved.spec.name)}: {features}, engine {plan.engine}, {saved}"
    listed = ", ".join(f"{name} {of}" for name, of in resolved.inputs().items())
    columns = _count(len(resolved.inputs()), "column")
    yield from _field("inputs", f"{columns} of {examples.source} ({where}): {listed}", width)
    if resolved.keys:
        yield from _field("keys", ", ".join(resolved.keys), width)
    if examples.label is not None:
        yield from _field("label", examples.label.text, width)
    yield from _field("leakage", judge(resolved).summary(), width)
    for (source_name, by), outputs in _histories(plan).items():
        count = _count(len(outputs), "aggregate")
        yield from _field("history", f"{source_name} by {by}: {count}", width)
    for threat in effects_at_predictions(resolved):
        yield from _field("warning", f"{threat.message} {threat.advice}", width, most=12)
    for delay in delayed_lookups(resolved):
        yield from _field("lookup", delay.text, width, most=12)
    levels = plan.levels or ((),)
    yield from _field("passes", f"{len(levels) + 1} over the data", width)
    for number, level in enumerate(levels, 1):
        work = [] if number > 1 else ["count and check all rows"]
        if level:
            kinds = ", ".join(
                f"{kind} {count}" for kind, count in Counter(map(_kind, level)).items()
            )
            work.append(f"fit {_count(len(level), 'statistic')} on the train rows ({kinds})")
        yield from _field("", f"{number}. {'; '.join(work)}", width)
    yield from _field("", f"{len(levels) + 1}. write the examples", width)


def _field(label: str, text: str, width: int, most: int = 4) -> Iterator[str]:
    indent = " " * 10
    text = escaped(text)
    lines = textwrap.wrap(text, width, initial_indent=f"  {label:<8}", subsequent_indent=indent,
                          max_lines=most, placeholder=" ...", break_on_hyphens=False)  # fmt: skip
    yield from (line.rstrip() for line in lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Lay cells out in columns, wrapping the widest ones until a line fits."""
    titles = [max(map(len, name.split())) for name in head]
    widths = [max(titles[i], *(len(row[i]) for row in rows)) for i in range(len(head))]
    least = [min(wide, _NARROWEST.get(name, wide)) for name, wide in zip(head, widths, strict=True)]
    while sum(widths) > width - 2 * (len(head) - 1) and widths != least:
        # The widest gives way: what it loses it has most of.
        chosen = max(range(len(head)), key=lambda i: widths[i] if widths[i] > least[i] else 0)
        widths[chosen] -= 1
    for row in (head, ["-" * wide for wide in widths], *rows):
        cells = [_wrap(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for column in (-2, -1):
            cells[column] = _cut(cells[column], widths[column])
        for number in range(max(map(len, cells))):
            parts = (cell[number] if number < len(cell) else "" for cell in cells)
            yield "  ".join(
                part.ljust(wide) for part, wide in zip(parts, widths, strict=True)
            ).rstrip()


def _wrap(text: str, width: int) -> list[str]:
    """Break a text after spaces, parentheses and commas, or in a word where nothing else helps."""
    lines = [""]
    for part in re.findall(r"[^\s(,]*[(,]?\s*", text):
        if len((lines[-1] + part).rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += part
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]


def _cut(lines: list[str], width: int) -> list[str]:
    if len(lines) <= _TALLEST:
        return lines
    return [*lines[: _TALLEST - 1], f"{lines[_TALLEST - 1][: width - 3].rstrip()}..."]
