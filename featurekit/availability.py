"""When a value is known, as far as the spec alone can tell.

Times are compared only over the same base column: `sched_dep - 30d` lies before `sched_dep - 2h`,
whatever the data. Anything else cannot be proven without data and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featurekit.errors import SpecError
from featurekit.spec.expression import Call, Expression, Literal, Name, shortened
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

    A derived column that is computed in another way is a base of its own.

    Raises:
        SpecError: It is not a time column plus or minus durations.
    """
    found: Moment | None = None
    current, offset = expression, 0
    seen: set[str] = set()
    while True:
        match current:
            case Name(name=name):
                found = Moment(name, offset)
                derived = columns[name].expr if name in columns else None
                if derived is None or name in seen:
                    return found
                seen.add(name)
                current = derived
            case Call(inputs=(left, right)) if (step := _step(current)) is not None:
                offset += step
                current = right if isinstance(left, Literal) else left
            case _ if found is not None:
                return found
            case _:
                raise SpecError(
                    f"{shortened(expression.text)!r} is not a time column plus or minus a duration",
                    hint="for example sched_dep - 2h; "
                    "give a longer computation a name as a derived column",
                )


def _step(call: Call) -> int | None:
    """Return what a call adds to a time, or `None` when it does something else."""
    left, right = call.inputs
    sign = {"add": 1, "subtract": -1}.get(call.operation.name())
    if sign == 1 and isinstance(left, Literal):
        left, right = right, left
    if sign is None or not isinstance(right, Literal) or right.type != DURATION:
        return None
    return None if isinstance(left, Literal) else sign * int(right.value)
