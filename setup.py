"""Where the packages lie; everything else about the distribution is in pyproject.toml.

`transforms/` and `analysis/` stand at the top level and import as parts of featurekit. Inside
`featurekit/` they are committed links, for use without installing; a build must not follow those.
"""

from setuptools import find_packages, setup

MAPPED = ("transforms", "analysis")

inside = find_packages(
    include=["featurekit", "featurekit.*"],
    exclude=[f"featurekit.{name}*" for name in MAPPED],
)
beside = find_packages(include=[pattern for name in MAPPED for pattern in (name, f"{name}.*")])

setup(
    packages=[*inside, *(f"featurekit.{package}" for package in beside)],
    package_dir={f"featurekit.{name}": name for name in MAPPED},
)
