"""The folder that stands in for kernel headers when BCC compiles: BCC_KERNEL_SOURCE.

BCC insists on a kernel source tree. This one holds the header made from BTF, the machine's own
numbers, and the few files of kernel_stubs that BCC opens by name. Trees are cached under the hash
of all that goes into them; it is apart because of what a cache needs: trust, tearing, races.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from podtracer.btf import Btf
from podtracer.compile_place import within
from podtracer.header import emit
from podtracer.needs import Needs

_PACKAGE: Final = Path(__file__).resolve().parent
STUBS: Final = _PACKAGE / "kernel_stubs"
_GENERATORS: Final = ("btf.py", "btf_types.py", "needs.py", "header.py", "kernel_source.py")
_KERNEL_H: Final = "include/podtrace/kernel.h"
_MACHINE_H: Final = "include/podtrace/machine.h"
_MANIFEST: Final = "manifest.json"
_LOCK: Final = ".lock"
_TEMPORARY: Final = "podtrace-header-"
_MEMORY: Final = Path("/dev/shm")
_LOCK_SECONDS: Final = 2.0
_KEPT_SECONDS: Final = 30 * 86400.0
_UNFINISHED_SECONDS: Final = 3600.0


class KernelSourceError(Exception):
    """Neither the cache nor a temporary folder could hold the header."""


class KernelSource:
    """A tree to compile against; as a context manager it removes a temporary tree at the end.

    `temporary` trees belong to this object: `cleanup()` deletes them. Cached trees stay.
    `made` tells whether the header had to be generated.
    """

    def __init__(self, path: Path, *, temporary: bool, made: bool) -> None:
        self.path = path
        self.temporary = temporary
        self.made = made

    def __fspath__(self) -> str:
        return str(self.path)

    def __enter__(self) -> KernelSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """Delete the tree if it is temporary; may be called twice."""
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def flags(self) -> list[str]:
        """What the compiler has to be told of it."""
        return []

    def compiling(self) -> contextlib.AbstractContextManager[None]:
        """Make this process compile against the tree and nothing else."""
        return within(self.path, closed=True)


def prepare(cache_dir: Path, btf: Btf | bytes, needs: Needs) -> KernelSource:
    """Return a tree with the header for `needs`, from the cache or made now.

    A cached tree is used only if its files hash to what its manifest says. A cache folder that
    cannot be used, or that others could write into, is passed over for a temporary folder.
    Raises BtfError for unreadable BTF and KernelSourceError if there is no place to write to.
    """
    data = btf if isinstance(btf, bytes) else btf.data
    static = _static_files()
    key = _key(data, needs, static)
    try:
        _claim(cache_dir)
        tree = cache_dir.resolve() / key
        if _is_whole(tree, key):
            os.utime(tree)
            return KernelSource(tree, temporary=False, made=False)
    except OSError:
        tree = None
    files = dict(static)
    files[_KERNEL_H] = emit(btf if isinstance(btf, Btf) else Btf(data), needs).encode()
    if tree is not None:
        with contextlib.suppress(OSError):
            _store(tree, key, files)
            return KernelSource(tree, temporary=False, made=True)
    try:
        temporary = _temporary_folder()
        _write(temporary, key, files)
    except OSError as error:
        raise KernelSourceError(f"{error.filename}: {error.strerror}") from error
    return KernelSource(temporary, temporary=True, made=True)


def _temporary_folder() -> Path:
    """Make a folder of our own: in the usual place, or in memory where that is read-only."""
    try:
        return Path(tempfile.mkdtemp(prefix=_TEMPORARY))
    except OSError:
        if not _MEMORY.is_dir():
            raise
        return Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=_MEMORY))


def _static_files() -> dict[str, bytes]:
    files = {
        str(path.relative_to(STUBS)): path.read_bytes()
        for path in sorted(STUBS.rglob("*"))
        if path.is_file()
    }
    files[_MACHINE_H] = machine_header(os.uname().release, os.sysconf("SC_PAGE_SIZE")).encode()
    return files


def machine_header(release: str, page_size: int) -> str:
    """The header with what BTF does not tell of this machine."""
    numbers = [int(part) for part in re.findall(r"\d+", release.partition("-")[0])[:3]]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    code = (major << 16) + (minor << 8) + min(patch, 255)
    lines = (
        "#pragma once",
        "",
        f"#define LINUX_VERSION_CODE {code}",
        f"#define PAGE_SIZE {page_size}",
        f"#define PAGE_SHIFT {page_size.bit_length() - 1}",
    )
    return "\n".join(lines) + "\n"


def _key(data: bytes, needs: Needs, static: dict[str, bytes]) -> str:
    digest = hashlib.sha256(data)
    asked = [(name, list(members)) for name, members in needs.items()]
    parts = [json.dumps(asked).encode(), *(_PACKAGE.joinpath(n).read_bytes() for n in _GENERATORS)]
    for path, content in static.items():
        parts += [path.encode(), content]
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def _claim(cache_dir: Path) -> None:
    """Create the cache folder if need be; raise OSError unless only we can change it."""
    cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = cache_dir.resolve()
    for folder in (own, *own.parents):
        status = folder.lstat()
        trusted = {os.geteuid()} if folder == own else {os.geteuid(), 0}
        # In a sticky folder such as /tmp others can add entries but not exchange ours.
        shared = folder != own and bool(status.st_mode & stat.S_ISVTX)
        writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not shared
        if writable or status.st_uid not in trusted:
            raise PermissionError(f"{folder} can be changed by others")


def _is_whole(tree: Path, key: str) -> bool:
    """Whether the tree holds exactly the files of its manifest, with exactly their content."""
    try:
        manifest = json.loads((tree / _MANIFEST).read_bytes())
        found = {path: hashlib.sha256(content).hexdigest() for path, content in _contents(tree)}
    except (OSError, ValueError):
        return False
    found.pop(_MANIFEST, None)
    return isinstance(manifest, dict) and manifest == {"key": key, "files": found} and bool(found)


def _contents(tree: Path) -> Iterator[tuple[str, bytes]]:
    folders = [tree]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    yield str(path.relative_to(tree)), path.read_bytes()
                else:
                    raise ValueError(f"{path} is no plain file")


def _write(tree: Path, key: str, files: dict[str, bytes]) -> None:
    hashes = {}
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    manifest = json.dumps({"key": key, "files": hashes}, indent=1)
    (tree / _MANIFEST).write_text(manifest, encoding="ascii")


def _store(tree: Path, key: str, files: dict[str, bytes]) -> None:
    """Put a finished tree in place, unless another process was faster."""
    cache_dir = tree.parent
    with _locked(cache_dir):
        if _is_whole(tree, key):
            return
        if tree.is_symlink() or tree.is_file():
            tree.unlink()
        else:
            shutil.rmtree(tree, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=cache_dir))
        try:
            _write(fresh, key, files)
            fresh.rename(tree)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        _prune(cache_dir, tree)


@contextlib.contextmanager
def _locked(cache_dir: Path) -> Iterator[None]:
    """Hold the right to replace trees; raise OSError if another process keeps it too long."""
    descriptor = os.open(cache_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _prune(cache_dir: Path, tree: Path) -> None:
    """Delete trees of other kernels or versions that nobody used for long, and unfinished ones."""
    now = time.time()
    for path in cache_dir.iterdir():
        unfinished = path.name.startswith(".new-")
        if path == tree or not (unfinished or re.fullmatch(r"[0-9a-f]{64}", path.name)):
            continue
        with contextlib.suppress(OSError):
            kept = _UNFINISHED_SECONDS if unfinished else _KEPT_SECONDS
            if now - path.lstat().st_mtime > kept:
                shutil.rmtree(path, ignore_errors=True)
