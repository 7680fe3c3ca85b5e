"""The initial file system of a guest: modules for its disks, in order, and what loads them.

The format is "newc", Documentation/driver-api/early-userspace/buffer-format.rst in the kernel.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from kernels.guest.kernel import Kernel

_INIT = Path(__file__).resolve().parent / "inside" / "initrd.sh"


def write(path: Path, kernel: Kernel, busybox: Path) -> None:
    """Write the archive for a kernel."""
    modules = kernel.modules
    entries: list[tuple[str, int, bytes]] = [
        *((name, stat.S_IFDIR | 0o755, b"") for name in ("dev", "proc", "root", "modules", "bin")),
        ("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()),
        ("init", stat.S_IFREG | 0o755, _INIT.read_bytes()),
        ("modules/order", stat.S_IFREG | 0o644, "\n".join(m.name for m in modules).encode()),
        *((f"modules/{m.name}", stat.S_IFREG | 0o644, m.read_bytes()) for m in modules),
    ]
    path.write_bytes(_archive(entries))


def _archive(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    parts = []
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        header = b"070701" + b"".join(f"{field:08x}".encode() for field in fields)
        parts += [header + name.encode() + b"\0", content]
    return b"".join(part + bytes(-len(part) % 4) for part in parts)
