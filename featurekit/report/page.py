"""The page that every report is: one HTML file that needs nothing beside it and asks for nothing.

What comes from outside (names, values, messages) reaches the page through `text` or `name`, or as
JSON through `embedded`. The content-security policy allows the style and the scripts of ours that
stand here, by their hashes, and nothing else; no report says `style=` or `on...=` anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from featurekit.artifact import check_file_target, new_file, write_json
from featurekit.errors import UsageError
from featurekit.picture.text import escape
from featurekit.report.style import SCRIPT, STYLE

__all__ = [
    "anything", "check_report_target", "embedded", "name", "number", "page", "section", "table",
    "text", "write_report",
]  # fmt: skip

ABSENT = "–"


def text(value: object) -> str:
    """Return a value as HTML text, whatever characters it is made of."""
    return escape(str(value))


def name(value: object) -> str:
    """Return a name as HTML, with a direction of its own, so that it turns nothing around it."""
    return f'<bdi class="name">{text(value) or "(no name)"}</bdi>'


def number(value: object) -> str:
    """Return a value as HTML: numbers short, a missing one as a dash.

    Example:
        >>> number(0.98765), number(12345), number(2.5e-7), number(None)
        ('0.988', '12,345', '2.5e-07', '–')
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1e4 else f"{value:.2g}"
    return name(value)


def anything(held: object) -> str:
    """Return any plain value as HTML."""
    if isinstance(held, Mapping):
        return ", ".join(f"{name(key)} {anything(item)}" for key, item in held.items()) or "none"
    if isinstance(held, (list, tuple)):
        return ", ".join(map(anything, held)) or "none"
    return number(held)


def section(title: str, body: str, anchor: str) -> str:
    """Return a section of a page; `title` and `anchor` are ours, `body` is HTML."""
    return f'<section id="{anchor}"><h2>{title}</h2>\n{body}\n</section>' if body else ""


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[tuple[str, object]]]) -> str:
    """Return a table that sorts by a click on a head.

    Args:
        caption: What it shows, in our words.
        heads: Its columns, in our words.
        rows: For each cell its HTML, and the value to sort by: a number, a text, or `None` for one
            that comes last.
    """
    head = "".join(
        f'<th scope="col"><button type="button">{text(each)}</button></th>' for each in heads
    )
    body = "\n".join(f"<tr>{''.join(map(_cell, heads, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}">'
        f'<table class="sorts"><caption>{text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(head: str, cell: tuple[str, object]) -> str:
    html, value = cell
    by, kind = "", ""
    if isinstance(value, (int, float)):
        by, kind = f' data-by="{float(value)!r}"', ' class="number"'
    elif value is not None:
        by = f' data-by="{text(value)}"'
    return f'<td{kind}{by} data-head="{text(head)}">{html}</td>'


def embedded(data: Any) -> str:
    r"""Return data as JSON that can stand in a script element, whatever texts are in it.

    Example:
        >>> embedded({"name": "</script>"})
        '{"name": "\\u003c/script\\u003e"}'
    """
    said = json.dumps(data, ensure_ascii=True, allow_nan=False)
    for letter in "<>&":
        said = said.replace(letter, f"\\u{ord(letter):04x}")
    return said


def page(
    title: str, verdict: str, tone: str, sections: Iterable[str], data: Mapping[str, Any],
    style: str = "", scripts: Sequence[str] = (),
) -> str:  # fmt: skip
    """Return a report as one HTML file.

    Args:
        title: What the report is about, as text.
        verdict: The first thing to read, as text.
        tone: Its colour: `critical`, `warning`, `note` or `good`.
        sections: The rest, as HTML; empty ones are left out.
        data: The same content as plain data, which goes along.
        style: Rules of our own that this report needs besides those of every report.
        scripts: Programs of our own that run besides the one of every report, after it.
    """
    look, programs = STYLE + style, (SCRIPT, *scripts)
    policy = (
        f"default-src 'none'; style-src {_hash(look)}; "
        f"script-src {' '.join(map(_hash, programs))}; base-uri 'none'; form-action 'none'"
    )
    run = "\n".join(f"<script>{each}</script>" for each in programs)
    body = "\n".join(part for part in sections if part)
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>{look}</style>
</head>
<body>
<main>
<header class="{tone}">
<h1>{name(title)}</h1>
<p class="verdict">{text(verdict)}</p>
</header>
{body}
</main>
<script type="application/json" id="data">{embedded(data)}</script>
{run}
</body>
</html>
"""


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def check_report_target(path: Path, overwrite: bool) -> Path:
    """Refuse a report that may not be written, before any work is done.

    Returns:
        The JSON file that goes beside it.

    Raises:
        UsageError: It is no `.html` file, or a file may not be written.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError("a report is an .html file", where=str(path))
    beside = path.with_suffix(".json")
    for file in (path, beside):
        check_file_target(file, overwrite)
    return beside


def write_report(
    report: Mapping[str, Any], render: Callable[[Mapping[str, Any]], str], path: Path,
    overwrite: bool,
) -> None:  # fmt: skip
    """Write a report as HTML, and as JSON beside it; neither is there before it is complete.

    Args:
        report: The content, as plain data.
        render: What makes a page of it.
        path: The HTML file.
        overwrite: Whether files that stand there may be replaced.

    Raises:
        UsageError: A file may not be written.
        EngineError: The disk is full or fails.
    """
    beside = check_report_target(path, overwrite)
    html = render(report)
    with new_file(beside, overwrite) as data, new_file(path, overwrite) as made:
        write_json(data, report)
        made.write_text(html, "utf-8")
