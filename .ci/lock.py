"""Reads `pip install --dry-run --report -` from stdin and writes requirements.lock to stdout.

Versions are resolved on the Python that runs this. A pin that a package refuses on another Python
that FeatureKit supports is given up there, and there only.
"""

import json
import sys

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SUPPORTED = ("3.11", "3.12", "3.13")

found = json.load(sys.stdin)["install"]
pins = {canonicalize_name(each["metadata"]["name"]): each["metadata"]["version"] for each in found}
del pins["featurekit"]

refused = {name: set() for name in pins}
for each in found:
    extras = ["", *each.get("requested_extras", ())]
    for requirement in map(Requirement, each["metadata"].get("requires_dist", ())):
        name, marker = canonicalize_name(requirement.name), requirement.marker
        if name not in pins or requirement.specifier.contains(pins[name], prereleases=True):
            continue
        refused[name].update(
            python
            for python in SUPPORTED
            for extra in extras
            if marker is None or marker.evaluate({"python_version": python, "extra": extra})
        )

lines = ["# Every package that `make test` installs, pinned. Made by `make lock`, not by hand."]
for name, version in sorted(pins.items()):
    markers = " and ".join(f'python_version != "{python}"' for python in sorted(refused[name]))
    lines.append(f"{name}=={version}" + (f"; {markers}" if markers else ""))
sys.stdout.write("\n".join(lines) + "\n")
