"""Pages as a browser reads them, and the browser."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser

__all__ = ["CHROMIUM", "Page"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Tells elements from text as a browser would.

    `styles`, `programs` and `held` are what stands in elements of style, in scripts that run, and
    in those that hold data.

    Raises:
        AssertionError: Elements do not nest.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.programs: list[str] = []
        self.held: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attributes}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.styles.append(data)
        elif self.open[-1:] == ["script"]:
            kept = self.held if "type" in self.elements[-1][1] else self.programs
            kept.append(data)
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def ids(self) -> list[str]:
        return [held["id"] for _, held in self.elements if "id" in held]
