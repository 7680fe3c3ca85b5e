"""The bpf(2) system call: maps, programs, links and iterators.

It is spoken directly, so that the tracer that stays after start-up needs neither BCC nor LLVM in
memory. Numbers are from the kernel's include/uapi/linux/bpf.h and never change.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from typing import NamedTuple

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_libc = ctypes.CDLL(None, use_errno=True)

MAP_CREATE, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM = 0, 1, 2, 3
PROG_LOAD, PROG_TEST_RUN, OBJ_GET_INFO_BY_FD, RAW_TRACEPOINT_OPEN = 5, 10, 15, 17
MAP_LOOKUP_BATCH, LINK_CREATE, ENABLE_STATS, ITER_CREATE = 24, 28, 32, 33

MAP_TYPE_ARRAY = 2
PROG_TYPE_KPROBE, PROG_TYPE_CGROUP_SKB = 2, 8
PROG_TYPE_RAW_TRACEPOINT, PROG_TYPE_TRACING = 17, 26
ATTACH_CGROUP_INGRESS, ATTACH_CGROUP_EGRESS = 0, 1
ATTACH_TRACE_RAW_TP, ATTACH_TRACE_FENTRY, ATTACH_TRACE_FEXIT, ATTACH_TRACE_ITER = 23, 24, 25, 28

PSEUDO_KFUNC_CALL = 2
INSTRUCTION_BYTES = 8
_CALL = 0x85
_ATTR_BYTES = 128


class BpfError(OSError):
    """A bpf(2) command failed; `log` is what the verifier said, shortened to its end."""

    def __init__(self, code: int, what: str, log: str = "") -> None:
        super().__init__(code, f"{what}: {os.strerror(code)}")
        self.log = log


def command(number: int, attr: bytes, what: str, retry: bool = True) -> int:
    """Run one bpf(2) command with the bytes of its attributes and return its result."""
    code, result, _ = _command(number, ctypes.create_string_buffer(attr, _ATTR_BYTES), retry)
    if result < 0:
        raise BpfError(code, what)
    return result


def _command(
    number: int, attr: ctypes.Array[ctypes.c_char], retry: bool = True
) -> tuple[int, int, bytes]:
    while True:
        result = _libc.syscall(_SYSCALL[platform.machine()], number, attr, _ATTR_BYTES)
        code = ctypes.get_errno()
        # The verifier gives EAGAIN when a signal came while it was at work.
        if result >= 0 or not retry or code not in (errno.EAGAIN, errno.EINTR):
            return code, result, attr.raw


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


class Map:
    """A map by its descriptor, with keys and values as bytes."""

    def __init__(self, fd: int, key_bytes: int, value_bytes: int, entries: int) -> None:
        self.fd = fd
        self.entries = entries
        self._key = ctypes.create_string_buffer(key_bytes)
        self._value = ctypes.create_string_buffer(value_bytes)
        self._key_bytes = key_bytes
        self._value_bytes = value_bytes
        self._batch: _Batch | None = None
        self._attr = struct.pack("=IxxxxQQQ", fd, _address(self._key), _address(self._value), 0)
        # The kernel refuses a delete whose attributes say anything behind the key.
        self._delete_attr = struct.pack("=IxxxxQ", fd, _address(self._key))

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value of a key, None where there is none."""
        self._key.raw = key
        try:
            command(MAP_LOOKUP_ELEM, self._attr, "map lookup")
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return self._value.raw

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self._key.raw = key
        self._value.raw = value
        command(MAP_UPDATE_ELEM, self._attr, "map update")

    def delete(self, key: bytes) -> bool:
        """Delete a key; False where it was gone already."""
        self._key.raw = key
        try:
            command(MAP_DELETE_ELEM, self._delete_attr, "map delete")
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def batches(self) -> Iterator[tuple[memoryview, memoryview, int]]:
        """Yield (keys, values, count) of a hash until all its entries were seen.

        The buffers are reused by the next step.
        """
        if self._batch is None:
            self._batch = _Batch(self.fd, self._key_bytes, self._value_bytes, self.entries)
        return self._batch.run()


class _Batch:
    """Buffers for BPF_MAP_LOOKUP_BATCH, kept from one drain to the next."""

    _MOST = 1024

    def __init__(self, fd: int, key_bytes: int, value_bytes: int, entries: int) -> None:
        self._fd = fd
        # A batch must be able to hold any one bucket; a hash of few entries has few buckets.
        self._room = min(max(entries, 16), self._MOST)
        self._keys = bytearray(key_bytes * self._room)
        self._values = bytearray(value_bytes * self._room)
        self._addresses = tuple(
            _address((ctypes.c_char * len(buffer)).from_buffer(buffer))
            for buffer in (self._keys, self._values)
        )
        self._position = ctypes.create_string_buffer(max(key_bytes, 8))
        self._attr = ctypes.create_string_buffer(_ATTR_BYTES)

    def run(self) -> Iterator[tuple[memoryview, memoryview, int]]:
        keys, values = memoryview(self._keys), memoryview(self._values)
        first = True
        while True:
            attr = struct.pack(
                "=QQQQIIQQ",
                0 if first else _address(self._position),
                _address(self._position),
                *self._addresses,
                self._room,
                self._fd,
                0,
                0,
            )
            self._attr.raw = attr.ljust(_ATTR_BYTES, b"\0")
            code, result, after = _command(MAP_LOOKUP_BATCH, self._attr)
            (count,) = struct.unpack_from("=I", after, 32)
            done = result < 0 and code == errno.ENOENT
            if result < 0 and not done:
                raise BpfError(code, "map batch lookup")
            if count:
                yield keys, values, count
            if done:
                return
            first = False


def load_program(
    code: bytes,
    name: str,
    prog_type: int,
    attach_type: int,
    btf_id: int,
    kernel_functions: dict[int, int],
) -> int:
    """Load a program and return its descriptor.

    `kernel_functions` maps marks, put into the code as helper numbers, to BTF ids of the kernel
    functions that are really called. Raises BpfError with the end of the verifier's log.
    """
    patched = _call_kernel_functions(code, kernel_functions)
    instructions = ctypes.create_string_buffer(patched, len(patched))
    license_name = ctypes.create_string_buffer(b"GPL")

    def attempt(log: ctypes.Array[ctypes.c_char] | None) -> tuple[int, int]:
        attr = struct.pack(
            "=IIQQIIQII16sIIIIQIIQII",
            prog_type,
            len(patched) // INSTRUCTION_BYTES,
            _address(instructions),
            _address(license_name),
            1 if log else 0,
            len(log) if log else 0,
            _address(log) if log else 0,
            0,
            0,
            name.encode()[:15],
            0,
            attach_type,
            *(0,) * 7,
            btf_id,
        )
        buffer = ctypes.create_string_buffer(attr, _ATTR_BYTES)
        error, result, _ = _command(PROG_LOAD, buffer)
        return error, result

    error, fd = attempt(None)
    if fd >= 0:
        return fd
    log = ctypes.create_string_buffer(1 << 22)
    again, fd = attempt(log)
    if fd >= 0:
        return fd
    text = log.value.decode(errors="replace")
    raise BpfError(error or again, f"program {name} was not accepted", text[-4000:])


def _call_kernel_functions(code: bytes, functions: dict[int, int]) -> bytes:
    patched = bytearray(code)
    for start in range(0, len(patched), INSTRUCTION_BYTES):
        opcode, registers, _offset, immediate = struct.unpack_from("=BBhi", patched, start)
        if opcode == _CALL and registers >> 4 == 0 and immediate in functions:
            struct.pack_into(
                "=BBhi", patched, start, opcode, PSEUDO_KFUNC_CALL << 4, 0, functions[immediate]
            )
    return bytes(patched)


def open_tracepoint(prog_fd: int, name: str = "") -> int:
    """Attach to a raw tracepoint, without a name to what the program was loaded for; return a link.

    The latter are BTF tracepoints and the entries and exits of kernel functions.
    """
    text = ctypes.create_string_buffer(name.encode())
    attr = struct.pack("=QI", _address(text) if name else 0, prog_fd)
    return command(RAW_TRACEPOINT_OPEN, attr, "attach to tracepoint")


def create_link(prog_fd: int, target_fd: int, attach_type: int) -> int:
    """Attach a program to a cgroup, or make a link of an iterator, and return the link."""
    attr = struct.pack("=IIII", prog_fd, target_fd, attach_type, 0)
    return command(LINK_CREATE, attr, "attach by link")


def create_map(kind: int, key_bytes: int, value_bytes: int, entries: int) -> int:
    """Make a map and return its descriptor."""
    attr = struct.pack("=IIII", kind, key_bytes, value_bytes, entries)
    return command(MAP_CREATE, attr, "create map")


def run_once(prog_fd: int) -> None:
    """Run a raw tracepoint program once, as this process (Linux 5.10)."""
    command(PROG_TEST_RUN, struct.pack("=I", prog_fd), "run program")


def run_iterator(prog_fd: int) -> None:
    """Run an iterator program once over everything it iterates."""
    link = create_link(prog_fd, 0, ATTACH_TRACE_ITER)
    try:
        fd = command(ITER_CREATE, struct.pack("=II", link, 0), "create iterator")
        try:
            while os.read(fd, 4096):
                pass
        finally:
            os.close(fd)
    finally:
        os.close(link)


def enable_run_time_statistics() -> int:
    """Make the kernel measure programs while the returned descriptor is open."""
    return command(ENABLE_STATS, struct.pack("=I", 0), "enable statistics")


class ProgramInfo(NamedTuple):
    """What the kernel counted of a program."""

    run_time_ns: int
    run_count: int
    recursion_misses: int


def program_info(prog_fd: int) -> ProgramInfo:
    """Read a program's counters; kernels before 5.12 do not count recursion misses: 0."""
    info = ctypes.create_string_buffer(232)
    attr = struct.pack("=IIQ", prog_fd, len(info), _address(info))
    command(OBJ_GET_INFO_BY_FD, attr, "read program information")
    run_time_ns, run_count, misses = struct.unpack_from("=QQQ", info, 192)
    return ProgramInfo(run_time_ns, run_count, misses)


def map_bytes(map_fd: int) -> int:
    """Memory of a map as the kernel accounts it (the memlock line of its fdinfo)."""
    with open(f"/proc/self/fdinfo/{map_fd}") as lines:
        for line in lines:
            if line.startswith("memlock:"):
                return int(line.split()[1])
    return 0
