"""What large objects say of themselves: a line at a prompt, a small table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Described", "Summary", "counted", "listed"]

SHOWN = 6
"""So many names stand in a list before the rest is counted."""


@dataclass(frozen=True)
class Summary:
    """What an object says of itself.

    Args:
        title: What it is, and what it is called.
        facts: What there is to know of it, by a word for each.
    """

    title: str
    facts: tuple[tuple[str, str], ...]

    def to_line(self) -> str:
        """Return it as one line.

        Example:
            >>> Summary("Plan of wine", (("features", "6"), ("engine", "local"))).to_line()
            '<Plan of wine: features 6; engine local>'
        """
        facts = "; ".join(f"{word} {said}" for word, said in self.facts)
        return f"<{self.title}: {facts}>"

    def to_html(self) -> str:
        """Return it as an HTML table; whatever the names are made of, they are text."""
        rows = "".join(
            f'<tr><th scope="row" style="text-align: left">{html.escape(word)}</th>'
            f'<td style="text-align: left"><bdi>{html.escape(said)}</bdi></td></tr>'
            for word, said in self.facts
        )
        title = f"<caption><bdi>{html.escape(self.title)}</bdi></caption>"
        return f"<table>{title}<tbody>{rows}</tbody></table>"


class Described:
    """An object that shows a summary of itself, not all that it holds."""

    def _summary(self) -> Summary:
        """Return what it says of itself."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self._summary().to_line()

    def _repr_html_(self) -> str:
        return self._summary().to_html()


def listed(names: Iterable[str]) -> str:
    """Return names as text, the first few of many.

    Example:
        >>> listed("abc"), listed("abcdefghij"), listed("")
        ('a, b, c', 'a, b, c, d, e, f and 4 more', 'none')
    """
    every = list(names)
    more = len(every) - SHOWN
    shown = ", ".join(every[:SHOWN] if more > 1 else every) or "none"
    return f"{shown} and {more} more" if more > 1 else shown


def counted(counts: Iterable[tuple[str, int]]) -> str:
    """Return how many there are of each, as text, without those of which there are none.

    Example:
        >>> counted([("train", 1234), ("eval", 0), ("test", 5)])
        'train 1,234, test 5'
    """
    return ", ".join(f"{name} {count:,}" for name, count in counts if count) or "none"
