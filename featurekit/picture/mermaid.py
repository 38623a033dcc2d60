"""Writes a plan as a Mermaid flowchart."""

from __future__ import annotations

import re
from collections.abc import Iterator

from featurekit.picture.flow import flow
from featurekit.planner import Plan, Route

__all__ = ["as_mermaid"]

_CLASSES = {
    Route.SOURCE: "source",
    Route.TENSORFLOW: "row",
    Route.BEAM: "pass",
    Route.BIGQUERY: "history",
}
_STYLES = {
    "source": "fill:#f1f5f9,stroke:#64748b,color:#0f172a",
    "row": "fill:#dbeafe,stroke:#2563eb,color:#1e3a8a",
    "pass": "fill:#ffedd5,stroke:#ea580c,color:#7c2d12",
    "history": "fill:#d1fae5,stroke:#059669,color:#064e3b",
}


def as_mermaid(plan: Plan) -> str:
    """Return a plan as a Mermaid flowchart, which GitHub and many editors draw from text.

    Mermaid itself refuses more than 500 arrows; the SVG picture has no such limit.
    """
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    picture = flow(plan)
    yield "flowchart LR"
    for number, (heading, lane) in enumerate(zip(picture.headings, picture.lanes, strict=True)):
        yield f'  subgraph lane{number}["{heading}"]'
        for box in lane:
            lines = [box.title, box.detail, *(", ".join(step.operations) for step in box.steps)]
            label = "<br/>".join(_quoted(line) for line in lines if line)
            yield f'    {box.id}["{label}"]:::{_CLASSES[box.route]}'
        yield "  end"
    for source, target in picture.arrows:
        yield f"  {source.id} --> {target.id}"
    for name, style in _STYLES.items():
        yield f"  classDef {name} {style}"


def _quoted(text: str) -> str:
    """Write what Mermaid or HTML would read as markup as its number."""
    return re.sub(r"[^\w .,:()+*/=-]", lambda match: f"#{ord(match[0])};", text, flags=re.ASCII)
