"""Text that is shown, without characters that do something to a terminal or to their neighbours."""

from __future__ import annotations

__all__ = ["escaped"]


def escaped(text: str, layout: str = "") -> str:
    r"""Return text with control characters, line ends and turns of direction as escapes.

    Args:
        text: Any text, such as the name of a column.
        layout: Characters that stay as they are: line ends of text that is laid out.

    Example:
        >>> escaped("price\x1b[2J\nfake line")
        'price\\x1b[2J\\nfake line'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in layout
        else letter.encode("unicode_escape").decode()
        for letter in text
    )  # fmt: skip
