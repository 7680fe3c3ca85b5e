"""A file system in memory whose reads, writes and fsyncs take a known time.

It speaks the kernel's FUSE protocol (linux/fuse.h, 7.31) on /dev/fuse by itself, so it needs no
library: one flat directory of regular files, one request at a time. `--every N` delays only each
N-th operation of a kind. Files are opened for direct I/O: every read and write comes here.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import select
import stat
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import gate
import urgency

_LOOKUP, _FORGET, _GETATTR, _SETATTR = 1, 2, 3, 4
_UNLINK, _OPEN, _READ, _WRITE, _RELEASE, _FSYNC = 10, 14, 15, 16, 18, 20
_FLUSH, _INIT, _OPENDIR, _RELEASEDIR, _CREATE = 25, 26, 27, 29, 35
_BATCH_FORGET = 42
_MNT_DETACH = 2
_ROOT = 1
_DIRECT_IO = 1
_REQUEST = struct.Struct("IIQQIIIHH")
_ATTRIBUTES = struct.Struct("QQQQQQIIIIIIIIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class File:
    """One regular file."""

    node: int
    content: bytearray = field(default_factory=bytearray)


class SlowDisk:
    """Serves one mount until it is told to stop."""

    def __init__(self, device: int, delays_ns: dict[str, int], every: int) -> None:
        """Serve the requests of an open /dev/fuse."""
        self.device = device
        self.delays_ns = delays_ns
        self.every = every
        self.names: dict[bytes, File] = {}
        self.files: dict[int, File] = {}
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        """Answer requests until standard input has a line or ends."""
        while True:
            ready = select.select([0, self.device], [], [])[0]
            if 0 in ready:
                return
            try:
                data = os.read(self.device, 1 << 18)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                raise
            _, operation, unique, node, *_ = _REQUEST.unpack_from(data)
            if operation in (_FORGET, _BATCH_FORGET):
                continue
            try:
                code, reply = 0, self._perform(operation, node, data[_REQUEST.size :])
            except OSError as error:
                code, reply = -(error.errno or errno.EIO), b""
            with contextlib.suppress(FileNotFoundError):
                os.write(self.device, struct.pack("IiQ", 16 + len(reply), code, unique) + reply)

    def _perform(self, operation: int, node: int, body: bytes) -> bytes:
        if operation == _INIT:
            return struct.pack("IIIIHHI", 7, 31, 0, 0, 12, 10, 1 << 17) + bytes(40)
        if operation == _LOOKUP:
            return self._entry(self._named(body.rstrip(b"\0")))
        if operation == _CREATE:
            name = body[16:].rstrip(b"\0")
            file = self.names.setdefault(name, File(len(self.files) + 2))
            self.files[file.node] = file
            return self._entry(file) + struct.pack("QII", 0, _DIRECT_IO, 0)
        if operation in (_GETATTR, _SETATTR):
            return struct.pack("QII", 0, 0, 0) + self._attributes(node)
        if operation in (_OPEN, _OPENDIR):
            return struct.pack("QII", 0, _DIRECT_IO if operation == _OPEN else 0, 0)
        if operation == _READ:
            self._delay("read")
            _, offset, size = struct.unpack_from("QQI", body)
            return bytes(self.files[node].content[offset : offset + size])
        if operation == _WRITE:
            self._delay("write")
            _, offset, size = struct.unpack_from("QQI", body)
            content = self.files[node].content
            content.extend(bytes(max(offset + size - len(content), 0)))
            content[offset : offset + size] = body[40 : 40 + size]
            return struct.pack("II", size, 0)
        if operation == _FSYNC:
            self._delay("fsync")
            return b""
        if operation == _UNLINK:
            self.names.pop(body.rstrip(b"\0"))
            return b""
        if operation in (_FLUSH, _RELEASE, _RELEASEDIR):
            return b""
        raise OSError(errno.ENOSYS, "not provided")

    def _named(self, name: bytes) -> File:
        if name not in self.names:
            raise OSError(errno.ENOENT, "no such file")
        return self.names[name]

    def _entry(self, file: File) -> bytes:
        return struct.pack("QQQQII", file.node, 0, 0, 0, 0, 0) + self._attributes(file.node)

    def _attributes(self, node: int) -> bytes:
        if node == _ROOT:
            size, mode, links = 0, stat.S_IFDIR | 0o777, 2
        else:
            size, mode, links = len(self.files[node].content), stat.S_IFREG | 0o666, 1
        blocks = (size + 511) // 512
        return _ATTRIBUTES.pack(
            node, size, blocks, 0, 0, 0, 0, 0, 0, mode, links, os.getuid(), os.getgid(), 0, 4096, 0
        )

    def _delay(self, kind: str) -> None:
        self.counts[f"{kind}s"] += 1
        delay_ns = self.delays_ns[kind]
        if delay_ns and self.counts[f"{kind}s"] % self.every == 0:
            self.counts[f"slow_{kind}s"] += 1
            due_ns = time.monotonic_ns() + delay_ns
            time.sleep(max(delay_ns - urgency.SPIN_NS, 0) / 1e9)
            urgency.spin_until(due_ns)


def mount(directory: str) -> int:
    """Mount on a directory and return the open FUSE device. Raises OSError without the right."""
    device = os.open("/dev/fuse", os.O_RDWR)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    result = _LIBC.mount(b"slow_disk", os.fsencode(directory), b"fuse", 0, data.encode())
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), directory)
    return device


def unmount(directory: str) -> None:
    """Take the mount away even while it is in use."""
    _LIBC.umount2(os.fsencode(directory), _MNT_DETACH)


def main() -> None:
    """Serve until told to stop, then print the truth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    for kind in ("read", "write", "fsync"):
        parser.add_argument(f"--{kind}-ms", type=float, default=0.0)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    delays_ns: dict[str, Any] = {
        kind: int(getattr(options, f"{kind}_ms") * 1e6) for kind in ("read", "write", "fsync")
    }
    device = mount(options.directory)
    try:
        urgency.claim()
        disk = SlowDisk(device, delays_ns, options.every)
        gate.say("ready", directory=options.directory)
        disk.run()
    finally:
        unmount(options.directory)
    gate.say("truth", **disk.counts)


if __name__ == "__main__":
    main()
