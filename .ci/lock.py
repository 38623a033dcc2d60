"""Reads `pip install --dry-run --report -` from stdin and writes requirements.lock to stdout.

Versions are resolved on the Python that runs this. A pin that a package refuses on another Python
that FeatureKit supports is given up there, and there only.
"""

import json
import sys
from itertools import chain, product

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = "{}.{}".format(*sys.version_info)
SUPPORTED = ("3.11", "3.12", "3.13")

packages = [each["metadata"] for each in json.load(sys.stdin)["install"]]
found = {canonicalize_name(each["name"]): each for each in packages}
needs = {name: [*map(Requirement, each.get("requires_dist", ()))] for name, each in found.items()}
extras = {name: {""} for name in found}
for requirement in chain.from_iterable(needs.values()):
    extras.get(canonicalize_name(requirement.name), set()).update(requirement.extras)

refused = {name: set() for name in found}
for name, requirement in ((name, each) for name, all_of in needs.items() for each in all_of):
    wanted, marker = canonicalize_name(requirement.name), requirement.marker
    if wanted in found and not requirement.specifier.contains(found[wanted]["version"]):
        pythons = {
            python
            for python, extra in product(SUPPORTED, extras[name])
            if marker is None or marker.evaluate({"python_version": python, "extra": extra})
        }
        # What is refused here too belongs to an extra that nothing asks for.
        refused[wanted] |= pythons if HERE not in pythons else set()

lines = ["# Every package that `make test` installs, pinned. Made by `make lock`, not by hand."]
for name in sorted(found.keys() - {"featurekit"}):
    markers = " and ".join(f'python_version != "{python}"' for python in sorted(refused[name]))
    lines.append(f"{name}=={found[name]['version']}" + (f"; {markers}" if markers else ""))
sys.stdout.write("\n".join(lines) + "\n")
