"""The probes' histogram arithmetic, compiled for this machine, against Python's."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podtrace.wire.histogram import SLOTS, slot_lower, slot_of, slot_upper

HEADER = Path(__file__).parents[2] / "bpf" / "podtrace.h"
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
LONGEST = 2**64 - 1

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def kernel_slot_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], int]:
    """Return the function of the header, as this machine's compiler has it."""
    function = re.search(r"^ALWAYS_INLINE (u32 slot_of\(.*?^\})", HEADER.read_text(), re.M | re.S)
    assert function is not None
    folder = tmp_path_factory.mktemp("twin")
    source, library = folder / "twin.c", folder / "twin.so"
    source.write_text(
        "#include <stdint.h>\ntypedef uint64_t u64;\ntypedef uint32_t u32;\n" + function[1] + "\n"
    )
    assert COMPILER is not None
    subprocess.run([COMPILER, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    twin = ctypes.CDLL(str(library)).slot_of
    twin.argtypes = [ctypes.c_uint64]
    twin.restype = ctypes.c_uint32
    return twin


@needs_compiler
@given(nanoseconds=st.integers(0, LONGEST) | st.integers(0, 64).map(lambda n: (1 << n) % 2**64))
@example(nanoseconds=0)
@example(nanoseconds=LONGEST)
def test_kernel_and_python_agree(kernel_slot_of: Callable[[int], int], nanoseconds: int) -> None:
    assert kernel_slot_of(nanoseconds) == slot_of(nanoseconds)


@needs_compiler
def test_kernel_and_python_agree_at_both_edges_of_every_slot(
    kernel_slot_of: Callable[[int], int],
) -> None:
    for slot in range(SLOTS):
        assert kernel_slot_of(slot_lower(slot)) == slot
        assert kernel_slot_of(slot_upper(slot) - 1) == slot


def test_header_has_as_many_slots() -> None:
    defined = re.search(r"^#define SLOTS (\d+)$", HEADER.read_text(), re.M)
    assert defined is not None
    assert int(defined[1]) == SLOTS == slot_of(LONGEST) + 1
