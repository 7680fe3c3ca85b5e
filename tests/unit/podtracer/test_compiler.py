"""Half of the programs come from a helper process, and all of them use the same maps."""

from __future__ import annotations

import ctypes
import os
import re
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from podtracer import compiler
from podtracer.compiler import Compiled, CompileError, Compiler
from podtracer.kernel_source import KernelSource
from podtracer.probes import PROBES

FUNCTIONS = frozenset(probe.function(hook) for probe in PROBES for hook in probe.hooks)
MAP_LOAD = struct.Struct("=BBhiBBhi")
EXIT = b"\x95" + bytes(7)


class FakeBpf:
    """Compiles each program to a load of the map `targets`; descriptors differ by process."""

    texts: tuple[str, ...] = ()
    ours = os.getpid()
    refuse: tuple[bool, ...] = ()

    def __init__(self, text: str, cflags: list[str], allow_rlimit: bool) -> None:
        is_helper = os.getpid() != FakeBpf.ours
        if is_helper in FakeBpf.refuse:
            raise Exception("no module")
        FakeBpf.texts += (text,)
        self.maps = re.findall(r"^BPF_\w+\((\w+),", text, re.MULTILINE)
        self.base = 500 if is_helper else 100
        loaded = MAP_LOAD.pack(0x18, 0x11, 0, self.base + self.maps.index("targets"), *(0,) * 4)
        names = re.findall(r"^int (on_\w+)\(", text, re.MULTILINE)
        self.code = {name: ctypes.create_string_buffer(loaded + EXIT) for name in names}
        self.module = self


@pytest.fixture(autouse=True)
def bcc(monkeypatch: pytest.MonkeyPatch) -> None:
    def fd(module: FakeBpf, name: bytes) -> int:
        return module.base + module.maps.index(name.decode())

    def size(module: FakeBpf, name: bytes) -> int:
        code = module.code.get(name.decode())
        return len(code.raw) - 1 if code else 0

    def start(module: FakeBpf, name: bytes) -> int:
        return ctypes.addressof(module.code[name.decode()])

    library = SimpleNamespace(bpf_table_fd=fd, bpf_function_size=size, bpf_function_start=start)
    fake = SimpleNamespace(BPF=FakeBpf, libbcc=SimpleNamespace(lib=library))
    monkeypatch.setitem(sys.modules, "bcc", fake)
    monkeypatch.setattr(FakeBpf, "texts", ())
    monkeypatch.setattr(FakeBpf, "ours", os.getpid())
    monkeypatch.setattr(FakeBpf, "refuse", ())
    monkeypatch.setattr(compiler.os, "sched_getaffinity", lambda pid: {0, 1})


@pytest.fixture
def source(tmp_path: Path) -> KernelSource:
    return KernelSource(tmp_path, temporary=False, made=False)


def assert_whole(compiled: Compiled) -> None:
    assert set(compiled.code) == FUNCTIONS
    for code in compiled.code.values():
        assert MAP_LOAD.unpack_from(code)[3] == compiled.maps["targets"] < 500
        assert code.endswith(EXIT)


def test_programs_of_both_processes_use_our_maps(source: KernelSource) -> None:
    assert_whole(Compiler().compile(source, [], FUNCTIONS))
    assert len(FakeBpf.texts) == 1


def test_each_program_is_compiled_by_one_process(source: KernelSource) -> None:
    Compiler().compile(source, [], FUNCTIONS)
    [text] = FakeBpf.texts
    ours = set(re.findall(r"^int (on_\w+)\(", text, re.MULTILINE))
    theirs = set(re.findall(r"^static int (on_\w+)\(", text, re.MULTILINE))
    assert ours and theirs and not ours & theirs
    assert ours | theirs == FUNCTIONS


def test_only_what_is_asked_for_is_compiled(source: KernelSource) -> None:
    compiled = Compiler().compile(source, [], frozenset({"on_sys_exit"}))
    assert set(compiled.code) == {"on_sys_exit"}
    [text] = FakeBpf.texts
    assert re.findall(r"^int (on_\w+)\(", text, re.MULTILINE) == ["on_sys_exit"]


def test_programs_can_be_pointed_to_the_maps_of_others(source: KernelSource) -> None:
    compiled = Compiler().compile(source, [], frozenset({"on_sys_exit"}))
    moved = compiled.with_maps(dict.fromkeys(compiled.maps, 7))
    assert MAP_LOAD.unpack_from(moved.code["on_sys_exit"])[3] == 7
    assert moved.maps["targets"] == 7


def test_what_the_helper_cannot_do_is_done_without_it(
    source: KernelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeBpf, "refuse", (True,))
    assert_whole(Compiler().compile(source, [], FUNCTIONS))
    assert len(FakeBpf.texts) == 2


def test_on_one_processor_there_is_no_helper(
    source: KernelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler.os, "sched_getaffinity", lambda pid: {0})
    monkeypatch.setattr(os, "fork", None)
    assert_whole(Compiler().compile(source, [], FUNCTIONS))
    assert len(FakeBpf.texts) == 1


def test_a_refusal_is_an_error_and_the_helper_is_gone(
    source: KernelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeBpf, "refuse", (True, False))
    with pytest.raises(CompileError, match="no module"):
        Compiler().compile(source, [], FUNCTIONS)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_without_bcc_it_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcc", None)
    with pytest.raises(ImportError):
        Compiler()
