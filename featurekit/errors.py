"""Every error FeatureKit raises on purpose, and the exit code that the command line gives it.

```
FeatureKitError
├── SpecError            2  the spec cannot be read, typed or planned (one problem)
│   └── SpecErrors       2  all problems of one spec, together
├── UsageError           2  a wrong argument, option, or output folder
├── LeakageError         1  a feature uses what is not known at prediction time
├── ParityError          1  the SavedModel and the written examples disagree
├── DataError            3  the data is missing, unreadable, or not what the spec says
├── EngineError          4  an engine, a disk or a remote service failed
│   └── MissingExtra     4  an optional package is not installed
│       └── MissingName     the same of a public name, for `hasattr`
└── BudgetError          5  refused because an estimate is over a budget
```

A message says where, what was found, what was expected, and a hint:
`flights.yaml:31: feature 'carrier_z': zscore needs a number; 'carrier' is a string. Hint: ...`
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

__all__ = [
    "BudgetError", "DataError", "EngineError", "FeatureKitError", "FeatureKitWarning",
    "LeakageError", "MissingExtra", "MissingName", "ParityError", "SpecError", "SpecErrors",
    "UsageError", "closest", "few_guesses", "install_hint", "may_guess", "require",
]  # fmt: skip


class FeatureKitError(Exception):
    """The root of every error that FeatureKit raises on purpose.

    Args:
        message: What was got and what was expected, one sentence.
        where: The place: `file:line`, a feature, a path.
        hint: What to do about it.
    """

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        self.message = message
        self.where = where
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        if not self.hint:
            return text
        return f"{text.rstrip('.')}. Hint: {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), dict(self.__dict__)))

    def to_dict(self) -> dict[str, object]:
        """Return the error as plain data, for `--json`."""
        return {
            "error": type(self).__name__,
            "where": self.where,
            "message": self.message,
            "hint": self.hint,
        }


class FeatureKitWarning(UserWarning):
    """Something to know that is no error; the command line prints it as a note."""


class SpecError(FeatureKitError):
    """One problem of a spec: it cannot be read, typed or planned."""

    exit_code = 2


class UsageError(FeatureKitError):
    """A wrong argument, option or output folder."""

    exit_code = 2


class LeakageError(FeatureKitError):
    """A feature uses a value that is not known at prediction time."""

    exit_code = 1


class ParityError(FeatureKitError):
    """The SavedModel, read back, does not give what the examples hold."""

    exit_code = 1


class DataError(FeatureKitError):
    """The data is missing, unreadable, or not what the spec says it is."""

    exit_code = 3


class EngineError(FeatureKitError):
    """An engine, a disk or a remote service failed."""

    exit_code = 4


class MissingExtra(EngineError):
    """An optional package that this step needs is not installed."""


class MissingName(MissingExtra, AttributeError):
    """A public name of an optional package that is not installed: `hasattr` says no."""


class BudgetError(FeatureKitError):
    """Refused because an estimate is over the given budget."""

    exit_code = 5


class SpecErrors(SpecError):
    """Every problem of one spec, collected before raising.

    Its exit code is 2, or that of its problems when all are leaks (1) or unreadable data (3).

    Args:
        problems: The single problems, in the order of the spec.
        rest: The `Spec` without the parts that have these problems, to be looked at further.
    """

    def __init__(self, problems: Sequence[FeatureKitError], rest: Any = None) -> None:
        self.problems = tuple(problems)
        self.rest = rest
        super().__init__("\n".join(str(problem) for problem in self.problems))
        for kind in (LeakageError, DataError):
            if all(isinstance(problem, kind) for problem in self.problems):
                self.exit_code = kind.exit_code  # type: ignore[misc]

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), {**self.__dict__, "rest": None}))

    def to_dict(self) -> dict[str, object]:
        """Return all problems as plain data, for `--json`."""
        return {"error": type(self).__name__, "problems": [p.to_dict() for p in self.problems]}


_guesses: ContextVar[list[int] | None] = ContextVar("guesses", default=None)
"""With how many more known names wrong ones are compared; with any number outside of a check."""


@contextmanager
def few_guesses(names: int = 50_000) -> Iterator[None]:
    """Guess what wrong names mean for a limited time, so that thousands of them are told at once.

    Args:
        names: With so many known names wrong ones are compared; then they get no such hints.
    """
    token = _guesses.set([names])
    try:
        yield
    finally:
        _guesses.reset(token)


def may_guess() -> bool:
    """Whether it may still be guessed what a wrong name means."""
    left = _guesses.get()
    return left is None or left[0] > 0


def closest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known name, or lists a few when none is close.

    Within `few_guesses` it is empty once enough names have been compared.

    Example:
        >>> closest("zscoer", ["zscore", "log"])
        "did you mean 'zscore'?"
    """
    left = _guesses.get()
    if left is not None and left[0] <= 0:
        return ""
    names = sorted(known)
    if left is not None:
        left[0] -= len(names)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.6) or [
        other for other in names if other.lower() == name.lower()
    ]
    if matches:
        return f"did you mean {matches[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"known here: {shown}"


def require(module: str, extra: str, purpose: str) -> None:
    """Raise `MissingExtra` unless `module` can be imported; it is not imported here."""
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise MissingExtra(
            f"{purpose} needs the package {module}, which is not installed",
            hint=install_hint(extra),
        )


def install_hint(extra: str) -> str:
    """Return a command that installs what an optional part needs.

    It names the packages, not this one, which may be in no index: so it works wherever FeatureKit
    was installed from, and in any folder.

    Args:
        extra: The name of the part, such as `tensorflow`.
    """
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires("featurekit") or ()
    except PackageNotFoundError:
        declared = ()
    wanted = [
        text.partition(";")[0].strip() for text in declared
        if text.partition(";")[2].replace("'", '"').strip() == f'extra == "{extra}"'
    ]  # fmt: skip
    if not wanted:
        return f"pip install '.[{extra}]' in the checkout of FeatureKit"
    return f"pip install {' '.join(map(repr, wanted))}"


def _rebuild(kind: type[FeatureKitError], state: dict[str, object]) -> FeatureKitError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    Exception.__init__(error, str(error))
    return error
