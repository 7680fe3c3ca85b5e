"""The tracer's image for nodes with arm64, as far as that shows on a machine without.

The image is built and its programs are started. Whether a kernel of that architecture takes the
probes, only such a kernel tells.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.machine.emulation import emulated, obstacle
from e2e.machine.images import foreign_tracer_archive
from e2e.unpacked import UnpackedImage

# The first time, Debian is installed by emulated programs.
pytestmark = pytest.mark.timeout(1800)

_AARCH64 = (183).to_bytes(2, "little")
"""EM_AARCH64, behind 18 bytes of an ELF file."""
_MACHINE_OFFSET = 18


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> UnpackedImage:
    reason = "needs root" if os.geteuid() else obstacle()
    if reason is not None:
        pytest.skip(reason)
    return UnpackedImage.of(foreign_tracer_archive(), tmp_path_factory.mktemp("image"))


def run(image: UnpackedImage, *arguments: str) -> str:
    """Run the image's Python with these arguments and return what it prints."""
    line = emulated("chroot", str(image.root), image.entrypoint[0], *arguments)
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


def test_image_says_which_nodes_it_is_for(image: UnpackedImage) -> None:
    assert (image.config["os"], image.config["architecture"]) == ("linux", "arm64")


def test_every_program_and_library_is_for_arm64(image: UnpackedImage) -> None:
    machines = {
        path.name: head[_MACHINE_OFFSET:]
        for path, head in _heads(image.root)
        if head[:4] == b"\x7fELF"
    }
    assert {name for name, machine in machines.items() if machine != _AARCH64} == set()
    assert {"python3", "libbcc.so.0", "libz3.so.4"} <= set(machines)


def test_tracer_and_compiler_are_loaded(image: UnpackedImage) -> None:
    assert run(image, "-I", "-B", "-m", "podtracer", "--help").startswith("usage: podtracer")
    script = "import bcc, platform, sys; print(platform.machine(), bcc.lib.bcc_usdt_new_frompid)"
    assert run(image, "-I", "-B", "-c", script).startswith("aarch64 <_FuncPtr")


def _heads(root: Path) -> Iterator[tuple[Path, bytes]]:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                yield path, file.read(_MACHINE_OFFSET + 2)
