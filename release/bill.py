"""The bill of materials of a release: `python -m release.bill FILE` writes it as CycloneDX JSON.

It lists what the archive of this platform is made from: the Python packages that podtrace requires,
and those that these require, in the versions that are installed here, Python itself, and what was
linked into it. Modules that podtrace never imports are left out of the archive, some packages as a
whole; the list has them. The wheel asks for the same packages within the ranges of pyproject.toml.
https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from release.notices import license_of
from release.platforms import version
from release.requirements import direct, installed, required_by


def main() -> int:
    """Write the bill to the file that the command line names."""
    Path(sys.argv[1]).write_text(bill(int(os.environ["SOURCE_DATE_EPOCH"])))
    return 0


def bill(time: int) -> str:
    """Return the bill, the same for the same packages.

    Args:
        time: when it says that it was made, in seconds since 1970.

    Raises:
        ValueError: it is not as CycloneDX has it.
    """
    bom = Bom()
    root = Component(
        type=ComponentType.APPLICATION,
        name="podtrace",
        version=version(),
        purl=PackageURL("pypi", name="podtrace", version=version()),
        bom_ref="podtrace",
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
    )
    packages = {name: _package(name) for name in installed()}
    beside = list(_beside_packages())
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(time, UTC)
    for component in (*packages.values(), *beside):
        bom.components.add(component)
    wanted = [packages[canonicalize_name(requirement.name)] for requirement in direct()]
    bom.register_dependency(root, [*wanted, *beside])
    for name, found in installed().items():
        names = {canonicalize_name(requirement.name) for requirement in required_by(found)}
        bom.register_dependency(packages[name], [packages[each] for each in sorted(names)])
    content = "\n".join(sorted(f"{each.name} {each.version}" for each in bom.components))
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"podtrace {version()}\n{content}")
    text = JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise ValueError(f"the bill of materials is no CycloneDX: {error}")
    return json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def _package(name: str) -> Component:
    found = installed()[name]
    said = license_of(found)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=found.version,
        purl=PackageURL("pypi", name=name, version=found.version),
        bom_ref=name,
        licenses=[LicenseFactory().make_from_string(said)] if said else (),
    )


def _beside_packages() -> Iterator[Component]:
    """Yield Python, and the libraries in it where it is that of portable-python.sh."""
    sources = Path(sys.base_prefix, "SOURCES")
    versions = {"python": sys.version.split()[0]}
    purls = {}
    if sources.exists():
        lines = [line.split() for line in sources.read_text().splitlines()]
        debian = {name: found for name, found in lines if found[:1].isdigit()}
        for name, found in debian.items():
            short = "python" if name.startswith("python") else name
            versions.setdefault(short, found)
            purls[short] = PackageURL("deb", "debian", name, found, {"arch": "source"})
    for name, found in versions.items():
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=found,
            purl=purls.get(name) or PackageURL("generic", name=name, version=found),
            bom_ref=f"{name}-itself",
        )


if __name__ == "__main__":
    sys.exit(main())
