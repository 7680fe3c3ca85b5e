"""Where BCC compiles: in a folder that it takes for the kernel's source tree, and nowhere else.

BCC puts the current directory first on its include path and clang obeys CPATH, so the process
enters the folder and such variables are taken away for the time being.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# What would let a compiler or BCC look elsewhere than into the tree.
_MISLEADING: Final = (
    "ARCH",
    "BCC_KERNEL_MODULES_SUFFIX",
    "BCC_LINUX_VERSION_CODE",
    "CPATH",
    "C_INCLUDE_PATH",
)


@contextlib.contextmanager
def within(folder: Path, closed: bool) -> Iterator[None]:
    """Make this process compile in `folder`; with `closed` and the right to, it sees no other.

    That saves a fifth of a second: BCC reads all of /proc/kallsyms to learn of one helper that
    every kernel with BTF has, and finds the two lines of the folder instead.
    """
    # The caller's folder may be one that this process cannot get back to, or be gone.
    before = "/"
    with contextlib.suppress(OSError):
        before = os.getcwd()
    environment = {name: os.environ.pop(name, None) for name in _MISLEADING}
    environment["BCC_KERNEL_SOURCE"] = os.environ.get("BCC_KERNEL_SOURCE")
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    moved = False
    try:
        if closed:
            with contextlib.suppress(PermissionError):
                os.chroot(folder)
                moved = True
        inside = Path("/") if moved else folder
        os.environ["BCC_KERNEL_SOURCE"] = str(inside)
        os.chdir(inside)
        yield
    finally:
        if moved:
            os.fchdir(root)
            os.chroot(".")
        os.close(root)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        with contextlib.suppress(OSError):
            os.chdir("/")
            os.chdir(before)
