"""The launcher compiles where the C library is as old as the oldest kernels that it is for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "launcher/launcher.c"
OLD = """\
#define _GNU_SOURCE
#include <sys/syscall.h>
#undef SYS_close_range
"""
"""Debian 11: the headers of its kernel, 5.10, and glibc 2.31."""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_launcher_compiles_with_the_c_library_of_debian_11(tmp_path: Path) -> None:
    (tmp_path / "old.h").write_text(OLD)
    done = subprocess.run(
        ["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
         "-include", tmp_path / "old.h", '-DTRACER="/t"', '-DPACKAGES="/p"', SOURCE],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
