"""Text in an SVG picture: made safe, measured, and shortened to fit."""

from __future__ import annotations

import html
import re
import unicodedata

__all__ = ["escape", "fit", "printable", "width"]

_UNSAFE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
"""What XML does not allow, and what turns the direction of the text around it."""


def printable(text: str) -> str:
    """Return text without what XML does not allow and what turns the text around it."""
    return _UNSAFE.sub("\ufffd", text)


def escape(text: str) -> str:
    """Return text as XML, whatever characters it is made of."""
    return html.escape(printable(text))


def fit(text: str, room: float, size: float, mono: bool = False) -> str:
    """Shorten a text until it fits."""
    if width(text, size, mono) <= room + 0.1:
        return text
    while text and width(f"{text}…", size, mono) > room:
        text = text[:-1]
    return f"{text}…"


def width(text: str, size: float, mono: bool = False) -> float:
    """Estimate the width of a text, rather too wide: fonts differ, and none is measured here."""
    return size * sum(_advance(letter, mono) for letter in text)


def _advance(letter: str, mono: bool) -> float:
    if not letter.isascii():
        return 1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.65
    if mono:
        return 0.61
    if letter in "ijl.,:;|'! ()[]":
        return 0.38
    return 0.92 if letter in "mwMW@%" else 0.66 if letter.isupper() else 0.61
