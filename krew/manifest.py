"""Writes krew's manifest from the archives that are there: `python -m krew.manifest FOLDER`.

What krew takes is in https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/. Checksums are
those of the files in FOLDER, so that a manifest cannot name an archive that nobody made. Only the
standard library is needed.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from release.platforms import PLATFORMS, archive_name, this_platform, version

NAME = "podtrace"
PLACEHOLDER = "https://podtrace.invalid/releases"
"""Where nothing is published: krew wants an address, and takes a local file instead of it."""

_TEMPLATE = Path(__file__).with_name("template.yaml")
_PLATFORM = """\
    - selector:
        matchLabels:
          os: {system}
          arch: {machine}
      uri: {uri}
      sha256: {sha256}
      bin: kubectl-podtrace
"""
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write FOLDER/podtrace.yaml, or say what is missing."""
    parser = argparse.ArgumentParser(prog="krew.manifest")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--partial", action="store_true", help="this platform alone, for tests")
    parser.add_argument("--release-url", default="", help="the folder that archives are put into")
    parser.add_argument("--homepage", default="")
    chosen = parser.parse_args(arguments)
    platforms = (this_platform(),) if chosen.partial else PLATFORMS
    path = chosen.folder / f"{NAME}.yaml"
    # One from before would be taken for that of these archives.
    path.unlink(missing_ok=True)
    missing = [
        name for name in (archive_name(*each) for each in platforms)
        if not (chosen.folder / name).is_file()
    ]  # fmt: skip
    if missing:
        return _refuse(
            f"{chosen.folder} lacks {', '.join(missing)}",
            "make each by `make archive` on its platform and bring it there, or write a manifest "
            "of this platform alone, for tests: make krew PARTIAL=1",
        )
    if not (chosen.release_url or chosen.partial):
        return _refuse(
            "nothing says where the archives can be fetched",
            "name the folder that they are put into: make krew RELEASE_URL=https://...",
        )
    url = chosen.release_url or PLACEHOLDER
    path.write_text(manifest(chosen.folder, platforms, url, chosen.homepage))
    print(f"{path}: {', '.join('/'.join(each) for each in platforms)}")
    return 0


def manifest(
    folder: Path, platforms: Sequence[tuple[str, str]], url: str, homepage: str = ""
) -> str:
    """Return the manifest of the archives in a folder.

    Args:
        folder: holds the archives.
        platforms: which of them.
        url: what their names are put behind, for those who fetch them.
        homepage: the project's page, or nothing.

    Raises:
        ValueError: the version is none that krew takes, or an address has characters of YAML's.
    """
    if not _VERSION.fullmatch(version()):
        raise ValueError(f"version {version()} is not MAJOR.MINOR.PATCH, which krew wants")
    for address in (url, homepage):
        if re.search(r"[\s#'\"]", address):
            raise ValueError(f"{address} is no address")
    entries = [
        _PLATFORM.format(
            system=system,
            machine=machine,
            uri=f"{url.rstrip('/')}/{archive_name(system, machine)}",
            sha256=hashlib.sha256(
                (folder / archive_name(system, machine)).read_bytes()
            ).hexdigest(),
        )
        for system, machine in platforms
    ]
    head = _TEMPLATE.read_text().replace("VERSION", f"v{version()}")
    home = f"  homepage: {homepage}\n" if homepage else ""
    return f"{head}{home}  platforms:\n{''.join(entries)}"


def _refuse(message: str, hint: str) -> int:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
