"""The header in memory: what it holds, that it stays so, and how it is found."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from btf_blob import Blob
from podtracer import loading
from podtracer.btf import Btf
from podtracer.kernel_source import STUBS
from podtracer.sealed_source import SealedSource, sealed_source

NEEDS = {"struct task_struct": ("pid",)}


@pytest.fixture
def btf() -> Btf:
    made = Blob()
    u32 = made.integer("unsigned int", 4)
    made.struct("task_struct", 64, [("pid", u32, 0)])
    return Btf(made.encoded())


def files(source: SealedSource) -> dict[str, str]:
    """Return the path of each file by the macro that names it."""
    matches = [re.fullmatch(r'-D(\w+)="(.*)"', flag) for flag in source.flags]
    return {match[1]: match[2] for match in matches if match}


def test_header_and_numbers_of_the_machine_are_in_memory(btf: Btf) -> None:
    with sealed_source(btf, NEEDS) as source:
        paths = files(source)
        assert "u32 pid;" in Path(paths["PODTRACE_KERNEL_H"]).read_text()
        assert "#define PAGE_SIZE" in Path(paths["PODTRACE_MACHINE_H"]).read_text()


def test_files_cannot_be_changed_by_who_opens_them(btf: Btf) -> None:
    with sealed_source(btf, NEEDS) as source:
        for path in files(source).values():
            descriptor = os.open(path, os.O_RDWR)
            with pytest.raises(PermissionError):
                os.write(descriptor, b"#error")
            with pytest.raises(PermissionError):
                os.truncate(descriptor, 0)
            os.close(descriptor)


def test_stubs_include_exactly_the_files_that_are_named(btf: Btf) -> None:
    included = {
        match
        for file in (STUBS / "include" / "podtrace").iterdir()
        for match in re.findall(r"#include (PODTRACE_\w+)", file.read_text())
    }
    with sealed_source(btf, NEEDS) as source:
        assert set(files(source)) == included


def test_cleanup_gives_the_memory_back_and_may_be_called_twice(btf: Btf) -> None:
    source = sealed_source(btf, NEEDS)
    descriptors = [int(path.rpartition("/")[2]) for path in files(source).values()]
    source.cleanup()
    source.cleanup()
    for descriptor in descriptors:
        with pytest.raises(OSError):
            os.fstat(descriptor)


def test_who_is_not_root_writes_no_file(
    btf: Btf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with loading._source(btf, NEEDS) as source:
        assert isinstance(source, SealedSource)
    assert list(tmp_path.iterdir()) == []
