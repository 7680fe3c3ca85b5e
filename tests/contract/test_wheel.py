"""The wheel carries the tracer as plain files that run without anything else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
TRACER = ROOT / "tracer-image"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def sources(*folders: Path) -> dict[str, bytes]:
    """Return the content of each source file by its path below the folder's parent."""
    return {
        str(path.relative_to(folder.parent)): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_tracer_is_carried_whole(unpacked: Path) -> None:
    packed = unpacked / "podtrace" / "_tracer"
    carried = sources(packed / "podtracer", packed / "bpf", packed / "podtrace")
    expected = sources(TRACER / "podtracer", TRACER / "bpf", TRACER / "podtrace")
    # rglob does not follow the link to the wire package on every version of Python.
    expected |= {
        f"podtrace/{name}": content for name, content in sources(TRACER / "podtrace/wire").items()
    }
    assert carried == expected


def test_launcher_is_carried_with_what_sets_it_up(unpacked: Path) -> None:
    packed = unpacked / "podtrace" / "_tracer"
    for source in ("launcher/launcher.c", "scripts/setup-capabilities.sh"):
        assert (packed / Path(source).name).read_bytes() == (ROOT / source).read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set it up")
def test_carried_launcher_is_set_up_from_where_it_is(unpacked: Path) -> None:
    packed = unpacked / "podtrace" / "_tracer"
    line = ["bash", packed / "setup-capabilities.sh", "--dry-run", "--prefix", "/opt/podtrace-none"]
    done = subprocess.run(line, capture_output=True, text=True)
    if "is missing" in done.stderr or "has no BCC" in done.stderr:
        pytest.skip(done.stderr.splitlines()[0])
    assert done.returncode == 0, done.stderr
    assert f"{packed}/podtracer {packed}/bpf {packed}/podtrace " in done.stdout


def test_plugin_is_carried_whole_and_nothing_beside_it(unpacked: Path) -> None:
    carried = {
        name: content
        for name, content in sources(unpacked / "podtrace").items()
        if not name.startswith("podtrace/_tracer/")
    }
    assert carried == sources(ROOT / "plugin" / "podtrace")


def test_carried_tracer_imports_with_its_folder_alone(unpacked: Path) -> None:
    folder = unpacked / "podtrace" / "_tracer"
    command = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "import podtrace.wire.schema, podtracer.__main__\n"
        "print(podtrace.wire.schema.__file__)"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c", command], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.startswith(str(folder))
