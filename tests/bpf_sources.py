"""The C sources of the probes as text, and parts of them compiled for this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

BPF = Path(__file__).parents[1] / "bpf"
HEADER = (BPF / "podtrace.h").read_text()
SOURCES = {path.name: path.read_text() for path in sorted(BPF.glob("*.[ch]"))}
EVERYTHING = "\n".join(SOURCES.values())
CODE = re.sub(r"//[^\n]*", "", EVERYTHING)
COMPILER = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
TYPES = """
#include <stdbool.h>
#include <stdint.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
typedef int32_t s32; typedef int64_t s64;
"""


needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

DEFINITIONS = "".join(
    re.findall(
        r"^(?:#define \w+ +(?:0x[0-9a-f]+|\d+|[A-Z_]+)\n|(?:enum|struct) \w+ \{.*?\};\n)",
        HEADER,
        re.M | re.S,
    )
)
"""What the header defines, without what needs BCC."""


def compiled(source: str, target: Path, *options: str) -> Path:
    """Compile a source and return the program, or with these options the library."""
    assert COMPILER is not None
    path = target.with_suffix(".c")
    path.write_text(TYPES + source)
    subprocess.run([COMPILER, "-O2", "-Wall", *options, "-o", str(target), str(path)], check=True)
    return target


def function(name: str) -> str:
    """Return an inline function of the probes as it stands, without its storage class."""
    text = re.search(rf"^ALWAYS_INLINE (\w+ {name}\(.*?^\}})\n", EVERYTHING, re.M | re.S)
    assert text is not None
    return text[1] + "\n"
