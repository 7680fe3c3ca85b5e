"""What podtrace requires, as it is installed in this environment, without the tools beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.platforms import ROOT


def direct() -> list[Requirement]:
    """Return what pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"]]


def installed() -> dict[str, Distribution]:
    """Return the distributions of all requirements, direct and indirect, by canonical name."""
    found: dict[str, Distribution] = {}
    waiting = list(direct())
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"error: {name} is not installed here: make deps-release") from None
        waiting += required_by(found[name])
    return dict(sorted(found.items()))


def required_by(package: Distribution) -> Iterator[Requirement]:
    """Yield what a distribution asks for on this platform, without extras."""
    for line in package.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement
