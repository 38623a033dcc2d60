r"""Regular expressions that mean the same to Rust's `regex` (Polars) and to RE2 (TensorFlow).

The common subset: literals, `.`, `[...]`, `|`, groups `(...)`, `(?:...)` and `(?P<name>...)`, the
flags `i`, `m` and `s`, `* + ? {m,n}` (also lazy), `^ $ \A \z \b`, escapes `\n \t \x7F \x{1F600}`,
and `\d \w \s` with their complements. These, `\b` and the POSIX classes such as `[[:alpha:]]` mean
ASCII, as in RE2. What depends on the version of Unicode (`\pL`, and the flag `i` beside characters
outside ASCII) is refused, and so is everything that only one of the two understands.

Sources: https://docs.rs/regex/latest/regex/#syntax, https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from featurekit.transforms.base import check

__all__ = ["RegularExpression", "escaped", "regular_expression"]


@dataclass(frozen=True)
class RegularExpression:
    """A pattern of the common subset, written for each engine.

    Args:
        polars: The pattern for Rust's `regex`.
        tensorflow: The pattern for RE2.
        groups: The number of capturing groups.
    """

    polars: str
    tensorflow: str
    groups: int


_MOST_REPEATS = 1000
"""RE2 refuses to repeat an expression more often, nested repetitions multiplied."""

_ESCAPE = r"\\[aftnrv] | \\x[0-9A-Fa-f]{2} | \\x\{[0-9A-Fa-f]{1,6}\} | \\[!-/:;=?@\[-`{-~]"
_TOKEN = re.compile(
    rf"""
    (?P<perl>\\[dDsSwW]) | (?P<boundary>\\b(?!\{{)) | (?P<anchor>\\[Az] | [\^$])
  | (?P<escape>{_ESCAPE})
  | (?P<open>\((?!\?) | \(\?P<[A-Za-z_][A-Za-z0-9_]*>)
  | (?P<plain>\(\?[ims]{{0,3}}(?:-[ims]{{1,3}})?:) | (?P<set>\(\?[ims]{{1,3}}(?:-[ims]{{1,3}})?\))
  | (?P<close>\)) | (?P<repeat>(?:[*+?]|\{{[0-9]+(?:,[0-9]*)?\}})\??)
  | (?P<class>\[\^?) | (?P<literal>[^\\\[(){{*+?])
    """,
    re.VERBOSE | re.DOTALL,
)
_POSIX = "alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit"
_MEMBER = re.compile(
    rf"""
    (?P<perl>\\[dDsSwW]) | (?P<escape>{_ESCAPE})
  | (?P<posix>\[:\^?(?:{_POSIX}):\])
  | (?P<literal>(?!&&|--|~~)[^\\\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)
_ASCII = {"d": "0-9", "s": r"\t\n\f\r ", "w": "0-9A-Z_a-z"}
_OTHERS = {
    "D": r"\x{0}-/:-\x{10FFFF}",
    "S": r"\x{0}-\x{8}\x{B}\x{E}-\x{1F}!-\x{10FFFF}",
    "W": r"\x{0}-/:-@\[-\^`{-\x{10FFFF}",
}


def escaped(text: str) -> str:
    """Return a pattern that matches just this text, for either engine."""
    return "".join(
        char if char.isascii() and char.isalnum() else f"\\x{{{ord(char):X}}}" for char in text
    )


def regular_expression(pattern: object) -> RegularExpression:
    """Check a pattern against the common subset and write it for both engines.

    Raises:
        ValueError: It is not a regular expression, or outside the common subset.
    """
    if not isinstance(pattern, str) or pattern == "":
        raise ValueError(f"pattern must be text that is not empty, got {pattern!r}")
    _compile(pattern)
    rust, re2, groups, ignores_case = [], [], 0, False
    # The largest product of repeat counts inside each open group, and inside what was last read.
    repeats, last = [1], 1
    position, previous = 0, ""
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        kind = str(token.lastgroup) if token else ""
        if token is None or kind == previous == "repeat":
            raise ValueError(_outside(pattern, position))
        text, position = token[0], token.end()
        if kind == "class":
            text, position = _character_class(pattern, token)
        elif kind == "perl":
            text = f"[{_ASCII[text[1]]}]" if text[1] in _ASCII else f"[^{_ASCII[text[1].lower()]}]"
        groups += kind == "open"
        ignores_case |= kind in ("plain", "set") and "i" in text.partition("-")[0]
        if kind in ("open", "plain"):
            repeats.append(1)
        elif kind == "close":
            last = repeats.pop()
        elif kind == "repeat":
            last *= max([1, *map(int, re.findall("[0-9]+", text))])
        else:
            last = 1
        repeats[-1] = max(repeats[-1], last)
        rust.append(r"(?-u:\b)" if kind == "boundary" else text)
        re2.append(text)
        previous = kind
    found = RegularExpression("".join(rust), "".join(re2), groups)
    check(
        max(repeats) <= _MOST_REPEATS,
        f"pattern {pattern!r} repeats something more than {_MOST_REPEATS} times",
    )
    check(
        not ignores_case or (pattern.isascii() and r"\x" not in found.tensorflow),
        f"pattern {pattern!r} ignores the case of characters outside ASCII, which depends on the "
        "version of Unicode",
    )
    return found


def _compile(pattern: str) -> None:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        causes = [line for line in str(error).splitlines() if line.startswith("error: ")]
        cause = causes[0].removeprefix("error: ") if causes else "it cannot be compiled"
        raise ValueError(f"{pattern!r} is not a regular expression: {cause}") from None


def _outside(pattern: str, position: int) -> str:
    return (
        f"pattern {pattern!r} has {pattern[position : position + 4]!r} at character {position}, "
        "which Polars and TensorFlow do not understand alike"
    )


def _character_class(pattern: str, opening: re.Match[str]) -> tuple[str, int]:
    """Return the class that opens there, written for both engines, and where it ends."""
    out, position = [opening[0]], opening.end()
    while len(out) == 1 or pattern[position] != "]":
        member = _MEMBER.match(pattern, position)
        if member is None:
            raise ValueError(_outside(pattern, position))
        text, position = member[0], member.end()
        out.append({**_ASCII, **_OTHERS}[text[1]] if member.lastgroup == "perl" else text)
    return "".join([*out, "]"]), position + 1
