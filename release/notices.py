"""The licences of everything in the archive that is not podtrace's own, as texts and as names."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution
from pathlib import Path

from release.requirements import installed

_RULE = "=" * 78
_LONGEST_NAME = 100
_NAMES = ("license", "licence", "copying", "notice", "authors")


def notices() -> str:
    """Return the text of the file that goes into the archive."""
    parts = [_part(f"Python {sys.version.split()[0]}", "\n".join(_of_python()))]
    for name, found in installed().items():
        parts.append(_part(f"{name} {found.version}", "\n".join(_of(found))))
    return "".join(parts)


def license_of(package: Distribution) -> str:
    """Return the name or expression of a distribution's licence, or nothing where it has none."""
    for field in ("License-Expression", "License"):
        said = str(package.metadata[field]) if field in package.metadata else ""
        if 0 < len(said) < _LONGEST_NAME:
            return said
    return ""


def _part(title: str, text: str) -> str:
    return f"{_RULE}\n{title}\n{_RULE}\n\n{text.strip()}\n\n"


def _of_python() -> list[str]:
    prefix = Path(sys.base_prefix)
    files = [prefix / f"lib/python3.{sys.version_info.minor}/LICENSE.txt"]
    # Of what was linked into a Python of our own, see portable-python.sh.
    files += sorted(path for path in prefix.glob("licenses/*") if path.name != "python")
    return [
        f"{'' if path.name == 'LICENSE.txt' else f'--- {path.name} ---'}\n{path.read_text()}"
        for path in files
        if path.exists()
    ]


def _of(package: Distribution) -> list[str]:
    texts = [
        path.read_text()
        for path in sorted(package.files or (), key=str)
        if ".dist-info" in str(path) and path.name.lower().startswith(_NAMES)
    ]
    return [license_of(package), *texts]
