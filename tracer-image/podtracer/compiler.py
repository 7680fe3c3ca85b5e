"""The C of bpf/ made into maps and programs by BCC: the only module that imports it.

LLVM works on one program after the other for most of a second, so a helper process compiles half
of them at the same time. It gets maps of its own from BCC; its programs are pointed to ours, and
the helper's go with it.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import re
import signal
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from podtracer import bpf
from podtracer.kernel_source import KernelSource
from podtracer.lifetime import die_with_parent
from podtracer.probes import SOURCES

_FOLDER = Path(__file__).resolve().parent.parent / "bpf"
_FIRST_HALF = frozenset({"sched.c", "syscalls.c", "snapshot.c"})
"""Files with programs that take about as long as those of all others."""
_PROGRAM = re.compile(r"^int (on_\w+)\(", re.MULTILINE)
_MAP = re.compile(r"^BPF_\w+\((\w+),", re.MULTILINE)
_LOAD_IMMEDIATE = 0x18
_PSEUDO_MAP = 1


class CompileError(Exception):
    """BCC refused; what it has to say is on the standard error."""


class Compiled(NamedTuple):
    """Descriptors of the maps, and the bytes of the programs by the names of their functions."""

    maps: dict[str, int]
    code: dict[str, bytes]


class Compiler:
    """Holds BCC; raises ImportError where it is not installed."""

    def __init__(self) -> None:
        # Half of a start's memory: only where it is needed.
        import bcc

        self._bcc = bcc
        self._texts = {name: (_FOLDER / name).read_text() for name in SOURCES}

    def compile(self, source: KernelSource, flags: Sequence[str]) -> Compiled:
        """Compile all programs against the types of `source`.

        Raises CompileError. Those of families that are switched off have no code.
        """
        rest = frozenset(SOURCES) - _FIRST_HALF
        with source.compiling():
            if len(os.sched_getaffinity(0)) < 2:
                return self._compile(frozenset(SOURCES), flags)
            helper = _Helper(self, rest, flags)
            try:
                first = self._compile(_FIRST_HALF, flags)
                second = helper.result() or self._compile(rest, flags)
            finally:
                helper.end()
        ours = {fd: first.maps[name] for name, fd in second.maps.items()}
        moved = {name: _with_maps(code, ours) for name, code in second.code.items()}
        return Compiled(first.maps, {**first.code, **moved})

    def _compile(self, files: frozenset[str], flags: Sequence[str]) -> Compiled:
        """Compile the programs of some of the files; what they share with others is in all."""
        text = "\n".join(
            f'#line 1 "{name}"\n' + (body if name in files else _PROGRAM.sub(r"static \g<0>", body))
            for name, body in self._texts.items()
        )
        try:
            # Kept: the descriptors and the code are its own.
            self._module = self._bcc.BPF(text=text, cflags=list(flags), allow_rlimit=True)
        except Exception as error:
            raise CompileError(str(error)) from error
        library: Any = self._bcc.libbcc.lib
        module = self._module.module
        maps = {
            name: library.bpf_table_fd(module, name.encode())
            for body in self._texts.values()
            for name in _MAP.findall(body)
        }
        code = {}
        for file in sorted(files):
            for name in _PROGRAM.findall(self._texts[file]):
                size = library.bpf_function_size(module, name.encode())
                if size:
                    start = library.bpf_function_start(module, name.encode())
                    code[name] = ctypes.string_at(start, size)
        return Compiled({name: fd for name, fd in maps.items() if fd >= 0}, code)


class _Helper:
    """A process that compiles some of the files and hands over what came of it."""

    def __init__(self, compiler: Compiler, files: frozenset[str], flags: Sequence[str]) -> None:
        self._read, write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                die_with_parent(signal.SIGKILL)
                with open(write, "wb") as out:
                    marshal.dump(tuple(compiler._compile(files, flags)), out)
            finally:
                os._exit(0)
        os.close(write)

    def result(self) -> Compiled | None:
        """Wait for what it made; None if it failed, which then tells why where we do the same."""
        with open(self._read, "rb", closefd=False) as data:
            try:
                return Compiled(*marshal.load(data))
            except (EOFError, ValueError, TypeError):
                return None

    def end(self) -> None:
        os.close(self._read)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _with_maps(code: bytes, maps: dict[int, int]) -> bytes:
    """Put other descriptors of maps into a program."""
    changed = bytearray(code)
    for at in range(0, len(code), bpf.INSTRUCTION_BYTES):
        opcode, registers, offset, immediate = struct.unpack_from("=BBhi", code, at)
        if opcode == _LOAD_IMMEDIATE and registers >> 4 == _PSEUDO_MAP:
            struct.pack_into("=BBhi", changed, at, opcode, registers, offset, maps[immediate])
    return bytes(changed)
