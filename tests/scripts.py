"""Importing the scripts of examples, which are no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def script(path: str) -> ModuleType:
    """Return a script as a module, given its path in the repository."""
    name = f"_script_{Path(path).stem}"
    if name not in sys.modules:
        place = importlib.util.spec_from_file_location(name, ROOT / path)
        assert place is not None
        assert place.loader is not None
        # Dataclasses look their module up.
        sys.modules[name] = importlib.util.module_from_spec(place)
        place.loader.exec_module(sys.modules[name])
    return sys.modules[name]
