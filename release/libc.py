"""Which glibc programs and libraries need: the newest version of a symbol that they ask it for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

_SYMBOL = re.compile(r"\(?GLIBC_(\d+(?:\.\d+)+)\)?")


def needed_glibc(folder: Path) -> str:
    """Return the version that everything in a folder needs, such as `2.31`.

    Raises:
        SystemExit: objdump is missing.
        ValueError: nothing in the folder needs any.
    """
    found: set[tuple[int, ...]] = set()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and _is_program(path):
            found |= _versions(path)
    if not found:
        raise ValueError(f"{folder} has no program that needs glibc")
    return ".".join(map(str, max(found)))


def _is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _versions(path: Path) -> set[tuple[int, ...]]:
    try:
        done = subprocess.run(["objdump", "-T", path], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit("error: objdump is missing; install binutils") from None
    return {
        tuple(map(int, version.split(".")))
        for line in done.stdout.splitlines()
        if "*UND*" in line
        for version in _SYMBOL.findall(line)
    }
