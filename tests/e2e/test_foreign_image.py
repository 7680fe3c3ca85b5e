"""The tracer's image for nodes with arm64, as far as that shows on a machine without.

The image is built and its programs are started. Whether a kernel of that architecture takes the
probes, only such a kernel tells.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.machine.emulation import emulated, obstacle
from e2e.machine.images import foreign_tracer_archive

# The first time, Debian is installed by emulated programs.
pytestmark = pytest.mark.timeout(1800)

_AARCH64 = (183).to_bytes(2, "little")
"""EM_AARCH64, behind 18 bytes of an ELF file."""
_MACHINE_OFFSET = 18


@dataclass(frozen=True)
class Image:
    """An image that is unpacked: what it says of itself, and its root."""

    config: dict[str, Any]
    root: Path

    def run(self, *arguments: str) -> str:
        """Run its Python with these arguments and return what it prints."""
        python, *_ = self.config["config"]["Entrypoint"]
        line = emulated("chroot", str(self.root), python, *arguments)
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    reason = "needs root" if os.geteuid() else obstacle()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("image")
    _unpack(foreign_tracer_archive(), folder)
    [manifest] = json.loads((folder / "manifest.json").read_text())
    root = folder / "root"
    root.mkdir()
    for layer in manifest["Layers"]:
        _unpack(folder / layer, root)
    return Image(json.loads((folder / manifest["Config"]).read_text()), root)


def test_image_says_which_nodes_it_is_for(image: Image) -> None:
    assert (image.config["os"], image.config["architecture"]) == ("linux", "arm64")


def test_every_program_and_library_is_for_arm64(image: Image) -> None:
    machines = {
        path.name: head[_MACHINE_OFFSET:]
        for path, head in _heads(image.root)
        if head[:4] == b"\x7fELF"
    }
    assert {name for name, machine in machines.items() if machine != _AARCH64} == set()
    assert {"python3", "libbcc.so.0", "libz3.so.4"} <= set(machines)


def test_tracer_and_compiler_are_loaded(image: Image) -> None:
    assert image.run("-I", "-B", "-m", "podtracer", "--help").startswith("usage: podtracer")
    script = "import bcc, platform, sys; print(platform.machine(), bcc.lib.bcc_usdt_new_frompid)"
    assert image.run("-I", "-B", "-c", script).startswith("aarch64 <_FuncPtr")


def _heads(root: Path) -> Iterator[tuple[Path, bytes]]:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                yield path, file.read(_MACHINE_OFFSET + 2)


def _unpack(archive: Path, folder: Path) -> None:
    subprocess.run(["tar", "-x", "-f", archive, "-C", folder], check=True)
