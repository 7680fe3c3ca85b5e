"""Where what takes minutes to make is kept between runs: outside the tree."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def cache() -> Path:
    """Return the directory."""
    parent = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(parent) / "podtrace-e2e"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Keep other runs from making the same thing at the same time."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
