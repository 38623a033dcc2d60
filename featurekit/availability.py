"""When a value is known, as far as the spec alone can tell.

Times are compared only over the same base column: `sched_dep - 30d` lies before `sched_dep - 2h`,
whatever the data. Anything else cannot be proven without data and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featurekit.errors import SpecError
from featurekit.spec.expression import Call, Expression, Literal, Name
from featurekit.spec.objects import Column
from featurekit.types import DURATION, duration_text

__all__ = ["Moment", "moment"]


@dataclass(frozen=True)
class Moment:
    """A point in time relative to a row: a base column and an offset in microseconds."""

    base: str
    offset: int

    def __str__(self) -> str:
        if self.offset == 0:
            return self.base
        return f"{self.base} {'+' if self.offset > 0 else '-'} {duration_text(abs(self.offset))}"

    def by(self, other: Moment) -> bool | None:
        """Whether this is at or before the other, or `None` when only data could tell."""
        return self.offset <= other.offset if self.base == other.base else None


def moment(expression: Expression, columns: Mapping[str, Column]) -> Moment:
    """Return a time expression as base and offset, looking through derived columns.

    Raises:
        SpecError: It is not a time column plus or minus durations.
    """
    found = _linear(expression, columns, frozenset())
    if found is None:
        raise SpecError(
            f"{expression.text!r} is not a time column plus or minus a duration",
            hint="for example sched_dep - 2h; give a longer computation a name as a derived column",
        )
    return found


def _linear(
    expression: Expression, columns: Mapping[str, Column], seen: frozenset[str]
) -> Moment | None:
    match expression:
        case Name(name=name):
            derived = columns[name].expr if name in columns else None
            if derived is not None and name not in seen:
                inner = _linear(derived, columns, seen | {name})
                if inner is not None:
                    return inner
            return Moment(name, 0)
        case Call(operation=operation, inputs=(left, right)):
            sign = {"add": 1, "subtract": -1}.get(operation.name())
            if sign == 1 and isinstance(left, Literal):
                left, right = right, left
            if sign and isinstance(right, Literal) and right.type == DURATION:
                inner = _linear(left, columns, seen)
                return inner and Moment(inner.base, inner.offset + sign * int(right.value))
    return None
