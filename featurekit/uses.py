"""What features use, and whether it is known when they use it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Proof", "Use"]


class Proof(StrEnum):
    """What a spec shows of one thing that a feature uses.

    Whether a declaration is true, no spec can show: that is what replay and the scan are for.
    """

    CONSISTENT = "consistent"
    """By what is declared it is known by then, whatever the data."""
    UNPROVEN = "unproven"
    """The spec does not say enough to tell."""
    LEAK = "leak"
    """It is not known by then, or nothing excludes that it is not."""

    @classmethod
    def _missing_(cls, value: object) -> Proof | None:
        """Read the word of older manifests: `proven` promised more than a spec can show."""
        return cls.CONSISTENT if value == "proven" else None


@dataclass(frozen=True)
class Use:
    """One thing that a feature uses: a column of the examples, or an output over other rows.

    Args:
        feature: The feature.
        column: The column, or an output such as `tail.delay_7d`.
        source: Whose rows it is from.
        chain: The names that lead from the feature to it.
        proof: Whether it is known when it is used.
        kind: What the proof, or its lack, rests on.
        reason: The same in a sentence.
        advice: What to do about it; empty where it is consistent.
        known_at: When it is known, as a time of the spec, if that is said.
        used_at: When it is used.
        ahead: By how many microseconds it is known before it is used, where both are times over
            one column; negative where it is known later.
        made_of_label: Whether the label, of this or of past rows, has a part in it.
        entity: The columns by which other rows are found.
    """

    feature: str
    column: str
    source: str
    chain: tuple[str, ...]
    proof: Proof
    kind: str
    reason: str
    advice: str = ""
    known_at: str | None = None
    used_at: str | None = None
    ahead: int | None = None
    made_of_label: bool = False
    entity: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        made = asdict(self)
        del made["proof"], made["feature"]
        return {
            **made, "verdict": str(self.proof), "chain": list(self.chain),
            "entity": list(self.entity),
        }  # fmt: skip
