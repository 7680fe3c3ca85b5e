"""The kernel's header in memory that nobody can change, for a tracer that is not root.

It then runs as a user whose other processes lack its capabilities (capabilities(7)). Files that it
wrote would be theirs too, and what they put into one in time would run in the kernel.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Mapping
from typing import Final

from podtracer.btf import Btf
from podtracer.compile_place import within
from podtracer.header import emit
from podtracer.kernel_source import STUBS, KernelSource, KernelSourceError, machine_header
from podtracer.needs import Needs

# fcntl has names for them from Python 3.10 on only.
_ADD_SEALS: Final = 1033
_ALL_SEALS: Final = 0xF
"""F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE."""


class SealedSource(KernelSource):
    """The stubs where they are installed, including two files in memory."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(STUBS, temporary=False, made=True)
        self._files = {name: _sealed(name, text) for name, text in headers.items()}

    @property
    def flags(self) -> list[str]:
        """Where the stubs find the files; the descriptors are inherited by helpers."""
        return [f'-D{name}="/proc/self/fd/{fd}"' for name, fd in self._files.items()]

    def compiling(self) -> contextlib.AbstractContextManager[None]:
        """Make this process compile against the stubs; /proc stays in sight for the files."""
        return within(self.path, closed=False)

    def cleanup(self) -> None:
        """Give the memory back."""
        while self._files:
            os.close(self._files.popitem()[1])


def sealed_source(btf: Btf, needs: Needs) -> SealedSource:
    """Make the header for `needs`.

    Raises BtfError for unreadable BTF and KernelSourceError if memory does not take it.
    """
    machine = machine_header(os.uname().release, os.sysconf("SC_PAGE_SIZE"))
    headers = {"PODTRACE_KERNEL_H": emit(btf, needs), "PODTRACE_MACHINE_H": machine}
    try:
        return SealedSource(headers)
    except OSError as error:
        raise KernelSourceError(f"a file in memory: {error.strerror}") from error


def _sealed(name: str, text: str) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(text.encode())
    fcntl.fcntl(descriptor, _ADD_SEALS, _ALL_SEALS)
    return descriptor
