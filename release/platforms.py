"""The platforms that archives are made for, and what an archive is called."""

from __future__ import annotations

import platform
import re
from pathlib import Path

PLATFORMS = tuple(
    (system, machine) for system in ("linux", "darwin") for machine in ("amd64", "arm64")
)
"""As Go and krew name them."""

ROOT = Path(__file__).resolve().parent.parent

_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def this_platform() -> tuple[str, str]:
    """Return the system and the machine that this Python runs on.

    Raises:
        SystemExit: no archive is made for it.
    """
    found = platform.system().lower(), _MACHINES.get(platform.machine().lower(), "")
    if found not in PLATFORMS:
        raise SystemExit(f"error: no archive is made for {platform.platform()}; install the wheel")
    return found


def version() -> str:
    """Return the version that the sources say they are."""
    text = (ROOT / "plugin/podtrace/wire/version.py").read_text()
    found = re.search(r'^VERSION = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("error: plugin/podtrace/wire/version.py does not say a version")
    return found[1]


def archive_name(system: str, machine: str) -> str:
    """Return the file name of the archive of a platform."""
    return f"podtrace-v{version()}-{system}-{machine}.tar.gz"
