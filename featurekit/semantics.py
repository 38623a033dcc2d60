"""What numbers mean, by version: a run goes on being served as it was trained.

A manifest says by which version its numbers were made. Whatever changes what a number means asks
for the version, and keeps the meaning that it had before for runs of older ones.

- 1: the first. Empty words and words with line ends are not counted; subnormal numbers are kept.
- 2: `count_encode` and `target_mean` count every text that is there. Subnormal float32 numbers
  are 0. All columns of a lookup come from one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurekit.errors import DataError

__all__ = ["SEMANTICS", "semantics_of"]

SEMANTICS = 2
"""The version by which new runs make their numbers."""


def semantics_of(manifest: Mapping[str, Any], where: str = "") -> int:
    """Return the version of what numbers mean that a manifest names; without one it is the first.

    Args:
        manifest: The manifest, or another description of a plan.
        where: What an error calls it.

    Raises:
        DataError: It is no version that this library knows.
    """
    found = manifest.get("semantics", 1)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise DataError(
            f"semantics is an integer from 1 to {SEMANTICS}, got {found!r}",
            where=where,
            hint="the manifest is damaged, or was edited: copy it again, or run the spec again",
        )
    if found > SEMANTICS:
        raise DataError(
            f"a newer FeatureKit made its numbers (semantics {found}; "
            f"this version knows those up to {SEMANTICS})",
            where=where,
            hint="install the version of featurekit that the manifest names under versions, "
            "or a newer one",
        )
    return found
