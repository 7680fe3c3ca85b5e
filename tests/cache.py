"""Where what takes minutes to make is kept between runs: outside the tree."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


class Cache:
    """A directory of the user's caches."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def folder(self) -> Path:
        """Return the directory; it exists."""
        parent = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        directory = Path(parent) / self._name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    @contextlib.contextmanager
    def locked(self, what: str = "lock") -> Iterator[None]:
        """Keep other runs from making the same thing at the same time."""
        with (self.folder / what).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def digest(sources: Iterable[Path]) -> str:
    """Return a name for the content of files, which changes with it and with their names."""
    found = hashlib.sha256()
    for source in sources:
        content = source.read_bytes()
        found.update(f"{source.name} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]
