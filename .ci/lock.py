"""Reads `pip install --dry-run --report -` from stdin and writes requirements.lock to stdout."""

import json
import re
import sys

found = (entry["metadata"] for entry in json.load(sys.stdin)["install"])
pins = {re.sub(r"[-_.]+", "-", entry["name"]).lower(): entry["version"] for entry in found}
del pins["featurekit"]
lines = [
    "# Every package that `make test` installs, pinned. Made by `make lock`; not edited by hand."
]
lines += (f"{name}=={version}" for name, version in sorted(pins.items()))
sys.stdout.write("\n".join(lines) + "\n")
