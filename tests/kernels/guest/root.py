"""The root file system of all guests, and the program that the initial file system consists of."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cache import digest
from kernels.guest.debian import CACHE, DebianError

_HERE = Path(__file__).resolve().parent
_SCRIPT = _HERE / "debian-root.sh"
_TRACER_IMAGE = _HERE.parents[2] / "tracer-image"
_SOURCES = (_SCRIPT, _TRACER_IMAGE / "assemble-root.sh", _TRACER_IMAGE / "Dockerfile")
_FRESH_SECONDS = 30 * 24 * 3600
_BUILD_SECONDS = 15 * 60


@dataclass(frozen=True)
class Root:
    """A root file system in the cache."""

    folder: Path

    @property
    def disk(self) -> Path:
        """Return the disk image; guests write to it in memory only."""
        return self.folder / "root.ext4"

    @property
    def busybox(self) -> Path:
        """Return a program that runs without any library."""
        return self.folder / "busybox"


def root() -> Root:
    """Return the root file system, made anew when what makes it has changed and once a month.

    Raises:
        DebianError: it could not be made.
    """
    folder = CACHE.folder / f"root-{digest(_SOURCES)}"
    with CACHE.locked("lock-root"):
        if folder.exists() and time.time() - folder.stat().st_mtime < _FRESH_SECONDS:
            return Root(folder)
        for old in CACHE.folder.glob("root-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=CACHE.folder) as directory:
            tree, new = Path(directory) / "tree", Path(directory) / "new"
            new.mkdir()
            done = subprocess.run(
                [_SCRIPT, tree, Root(new).disk],
                capture_output=True, text=True, timeout=_BUILD_SECONDS, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if done.returncode:
                output = (done.stdout + done.stderr)[-4000:]
                raise DebianError(f"{_SCRIPT.name} could not make the guests' root:\n{output}")
            shutil.copy(tree / "bin" / "busybox", Root(new).busybox)
            new.rename(folder)
    return Root(folder)
