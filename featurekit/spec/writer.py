"""Writes a spec as YAML or as Python code, as a person would; reading gives an equal spec back."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from featurekit.errors import SpecError
from featurekit.spec.objects import Column, Spec
from featurekit.spec.settings import Settings, plain
from featurekit.spec.yaml import plain_scalar

__all__ = ["to_python", "to_yaml"]

WIDTH = 88


def to_yaml(spec: Spec) -> str:
    """Return a spec as YAML: sections in blocks, small mappings on one line.

    Raises:
        SpecError: A source is a table in memory, which has no text.
    """
    return _dumped(
        {
            section: {name: _laid_out(entry, 4 + len(name)) for name, entry in content.items()}
            if isinstance(content, dict)
            else content
            for section, content in spec.to_dict().items()
        }
    )


class _Inline(dict[str, Any]):
    """A mapping that is written between braces."""


class _Dumper(yaml.SafeDumper):
    """Writes without quotes what our reader reads back as the same, and nothing else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        tag = "str"
        if kind is yaml.ScalarNode and implicit[0]:
            try:
                tag = type(plain_scalar(value)).__name__
            except SpecError:
                tag = "surprise"
        return f"tag:yaml.org,2002:{tag}"
