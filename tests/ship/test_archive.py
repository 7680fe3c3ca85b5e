"""The archive: programs that need nothing of the machine but its C library."""

from __future__ import annotations

import ast
import os
import re
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from podtrace.wire.version import VERSION
from release.libc import needed_glibc
from release.platforms import ROOT
from scripted_server import ScriptedServer
from ship.artefacts import Artefacts
from ship.tools import RELEASE_BIN

START_SECONDS = 0.35
BUSY_SECONDS = 0.2
"""CPU time of a start, where the machine is too busy for the clock on the wall to say anything."""


@pytest.fixture(scope="module")
def unpacked(dist: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dist.unpack_archive(tmp_path_factory.mktemp("archive"))


def run(program: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words], env=environment, capture_output=True, text=True, timeout=60
    )


def test_archive_holds_regular_files_only(dist: Artefacts) -> None:
    # krew unpacks no links.
    with tarfile.open(dist.archive) as archive:
        members = archive.getmembers()
    assert all(member.isreg() and not member.name.startswith(("/", ".")) for member in members)
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "root")}
    assert {member.name.split("/")[0] for member in members} == {
        "LICENSE", "THIRD-PARTY-NOTICES", "kubectl-podtrace", "kubectl_complete-podtrace", "lib",
    }  # fmt: skip


def test_archive_starts_by_krews_kind_of_link_with_an_empty_path(
    unpacked: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store/podtrace"
    store.mkdir(parents=True)
    (store / "v1").symlink_to(unpacked)
    link = tmp_path / "bin/kubectl-podtrace"
    link.parent.mkdir()
    link.symlink_to(store / "v1/kubectl-podtrace")
    done = run(link, "--version", PATH="")
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith(f"podtrace {VERSION} ")
    completed = run(unpacked / "kubectl_complete-podtrace", "doc", PATH="")
    assert completed.stdout.splitlines()[-1] == ":4"
    assert "doctor\t" in completed.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_archive_needs_the_glibc_that_the_readme_names(unpacked: Path) -> None:
    promised = re.search(r"needs glibc (\d+\.\d+) or newer", (ROOT / "README.md").read_text())
    assert promised is not None
    # As people look it up, and without the code that the build itself asks.
    asked = subprocess.run(
        f"find '{unpacked}' -type f -exec objdump -T {{}} + 2>/dev/null | grep UND",
        shell=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    newest = max(
        tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_(\d+\.\d+)", asked)
    )
    assert newest <= tuple(map(int, promised[1].split(".")))
    assert needed_glibc(unpacked) == ".".join(map(str, newest))


def test_archive_brings_no_library_that_the_machine_would_have_to_match(unpacked: Path) -> None:
    libraries = {path.name.split(".so")[0] for path in unpacked.rglob("lib*.so*")}
    assert libraries == {f"libpython3.{sys_minor(unpacked)}"}


def sys_minor(unpacked: Path) -> str:
    (found,) = (unpacked / "lib").glob("python3.*")
    return found.name.split(".")[1]


def test_start_takes_no_longer_than_a_third_of_a_second(unpacked: Path) -> None:
    program = unpacked / "kubectl-podtrace"
    for words in (["--help"], ["--version"]):
        run(program, *words)
        wall, cpu = [], []
        for _ in range(15):
            begun, used = time.perf_counter(), sum(os.times()[2:4])
            assert run(program, *words, PATH="").returncode == 0
            wall.append(time.perf_counter() - begun)
            cpu.append(sum(os.times()[2:4]) - used)
        print(f"{words[0]}: wall {statistics.median(wall):.3f}, CPU {statistics.median(cpu):.3f} s")
        if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
            assert statistics.median(cpu) <= BUSY_SECONDS
        else:
            assert statistics.median(wall) <= START_SECONDS


def test_every_module_that_the_plugin_imports_is_in_it(unpacked: Path) -> None:
    have = modules(unpacked)
    wanted = set()
    for path in (ROOT / "plugin/podtrace").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                wanted.add(node.module)
    # That is another name of _collections_abc, which Python itself gives it.
    assert wanted - have == {"collections.abc"}


def modules(unpacked: Path) -> set[str]:
    """Return what the archive's Python finds: of its own archives, or built into it."""
    script = (
        "import sys; from PyInstaller.archive.readers import CArchiveReader as Reader\n"
        "from zipfile import ZipFile\n"
        "print(*Reader(sys.argv[1]).open_embedded_archive('PYZ.pyz').toc)\n"
        "names = ZipFile(sys.argv[2]).namelist()\n"
        "print(*[n.removesuffix('.pyc').removesuffix('/__init__').replace('/', '.') "
        "for n in names])\n"
        "print(*sys.builtin_module_names)\n"
    )
    done = subprocess.run(
        [RELEASE_BIN / "python", "-c", script,
         unpacked / "kubectl-podtrace", unpacked / "lib/base_library.zip"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    loaded = {path.name.split(".")[0] for path in (unpacked / "lib").rglob("lib-dynload/*.so")}
    return set(done.stdout.split()) | loaded


def test_archive_talks_to_a_cluster(unpacked: Path) -> None:
    answer = b'{"kind":"Status","status":"Failure","reason":"NotFound","code":404}'
    head = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with ScriptedServer(lambda request: head % len(answer) + answer) as server:
        done = run(
            unpacked / "kubectl-podtrace", "-n", "shop", "web-0", "--tracer-image", "tracer:1",
            "--server", server.url, "--diagnose", "1s", "--kubeconfig", "/dev/null", PATH="",
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no namespace shop\n")


def test_what_the_archive_starts_inherits_nothing_of_it(unpacked: Path, tmp_path: Path) -> None:
    shown = tmp_path / "python"
    shown.write_text(f"#!/bin/sh\n/usr/bin/env >{tmp_path}/seen\n")
    shown.chmod(0o755)
    run(unpacked / "kubectl-podtrace", "--local", "--pid", str(os.getpid()), "--diagnose", "1s",
        PATH="/usr/bin", PODTRACE_PYTHON=str(shown), LD_LIBRARY_PATH="/mine")  # fmt: skip
    if os.geteuid() != 0:
        pytest.skip("only root starts a tracer")
    seen = dict(line.partition("=")[::2] for line in (tmp_path / "seen").read_text().splitlines())
    assert seen["LD_LIBRARY_PATH"] == "/mine"
    assert [name for name in seen if name.startswith(("_PYI", "_MEI", "LD_LIBRARY_PATH_"))] == []


def test_licences_of_all_packages_in_it_are_told(unpacked: Path) -> None:
    text = (unpacked / "THIRD-PARTY-NOTICES").read_text()
    titles = re.findall(r"^={78}\n(\S+) \S+\n={78}$", text, re.MULTILINE)
    assert {"Python", "click", "kubernetes", "pysocks", "pyyaml", "rich", "urllib3"} <= set(titles)
    for part in re.split(r"^={78}\n\S+ \S+\n={78}$", text, flags=re.MULTILINE)[1:]:
        assert len(part.strip()) > 2
