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
from collections.abc import Mapping, Sequence
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

    def with_maps(self, others: Mapping[str, int]) -> Compiled:
        """Return the same programs, using other maps of the same names."""
        ours = {fd: others[name] for name, fd in self.maps.items()}
        return Compiled(
            dict(others), {name: _with_maps(code, ours) for name, code in self.code.items()}
        )


class Compiler:
    """Holds BCC; raises ImportError where it is not installed."""

    def __init__(self) -> None:
        # Half of a start's memory: only where it is needed.
        import bcc

        self._bcc = bcc
        self._modules: list[Any] = []
        self._texts = {name: (_FOLDER / name).read_text() for name in SOURCES}

    def compile(
        self, source: KernelSource, flags: Sequence[str], functions: frozenset[str]
    ) -> Compiled:
        """Compile C functions against the types of `source`.

        Raises CompileError. Those of families that are switched off have no code.
        """
        first_half = frozenset(
            name for file in _FIRST_HALF for name in _PROGRAM.findall(self._texts[file])
        )
        flags = [*flags, *source.flags]
        halves = [half for half in (functions & first_half, functions - first_half) if half]
        with source.compiling():
            if len(halves) < 2 or len(os.sched_getaffinity(0)) < 2:
                return self._compile(functions, flags)
            helper = _Helper(self, halves[1], flags)
            try:
                first = self._compile(halves[0], flags)
                second = helper.result() or self._compile(halves[1], flags)
            finally:
                helper.end()
        return Compiled(first.maps, {**first.code, **second.with_maps(first.maps).code})

    def _compile(self, functions: frozenset[str], flags: Sequence[str]) -> Compiled:
        """Compile some of the programs; what they share with others is in all."""

        def hide_unwanted(program: re.Match[str]) -> str:
            return program[0] if program[1] in functions else "static " + program[0]

        text = "\n".join(
            f'#line 1 "{name}"\n' + _PROGRAM.sub(hide_unwanted, body)
            for name, body in self._texts.items()
        )
        try:
            module = self._bcc.BPF(text=text, cflags=list(flags), allow_rlimit=True)
        except Exception as error:
            raise CompileError(str(error)) from error
        # Kept: the descriptors and the code are its own.
        self._modules.append(module)
        library: Any = self._bcc.libbcc.lib
        maps = {
            name: library.bpf_table_fd(module.module, name.encode())
            for body in self._texts.values()
            for name in _MAP.findall(body)
        }
        code = {}
        for name in functions:
            size = library.bpf_function_size(module.module, name.encode())
            if size:
                start = library.bpf_function_start(module.module, name.encode())
                code[name] = ctypes.string_at(start, size)
        return Compiled({name: fd for name, fd in maps.items() if fd >= 0}, code)


class _Helper:
    """A process that compiles some of the programs and hands over what came of it."""

    def __init__(self, compiler: Compiler, functions: frozenset[str], flags: Sequence[str]) -> None:
        self._read, write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                die_with_parent(signal.SIGKILL)
                with open(write, "wb") as out:
                    marshal.dump(tuple(compiler._compile(functions, flags)), out)
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
