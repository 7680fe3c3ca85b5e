"""The files of a release: whole, the same when made again, and what they say they are."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from podtrace.wire.version import VERSION
from release.platforms import ROOT
from ship import tools
from ship.artefacts import Artefacts

MAKE = ["make", "--no-print-directory"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tree, at another path and without git's folder."""
    folder = tmp_path_factory.mktemp("elsewhere") / "tree"
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.split(b"\0")  # fmt: skip
    names = b"\0".join(name for name in listed if name and name != b".venv")
    subprocess.run(
        f"tar -c --null -T - | tar -x -C '{folder}'", shell=True, cwd=ROOT, input=names, check=True
    )
    return folder


def commit_time() -> str:
    line = ["git", "log", "-1", "--format=%ct"]
    return subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def test_second_build_elsewhere_is_the_same_bytes(dist: Artefacts, copy: Path) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": commit_time()}
    venv = f"RELEASE_VENV={tools.RELEASE_BIN.parent}"
    subprocess.run([*MAKE, "dist", venv], cwd=copy, env=environment, check=True)
    again = Artefacts(copy / "dist")
    differing = [
        first.name
        for first, second in zip(dist.all(), again.all(), strict=True)
        if first.read_bytes() != second.read_bytes()
    ]
    assert differing == []


def test_sums_are_of_all_files(dist: Artefacts) -> None:
    listed = dict(line.split()[::-1] for line in dist.sums.read_text().splitlines())
    assert listed == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in dist.all()
        if path != dist.sums
    }


def test_wheel_of_the_sdist_is_the_wheel(dist: Artefacts, tmp_path: Path) -> None:
    with tarfile.open(dist.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=tmp_path / f"podtrace-{VERSION}", check=True, capture_output=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": commit_time()},
    )  # fmt: skip
    (made,) = tmp_path.glob("*.whl")
    with ZipFile(made) as mine, ZipFile(dist.wheel) as theirs:
        assert {each.filename: each.CRC for each in mine.infolist()} == {
            each.filename: each.CRC for each in theirs.infolist()
        }


def test_wheel_brings_both_programs(dist: Artefacts) -> None:
    with ZipFile(dist.wheel) as wheel:
        entries = wheel.read(f"podtrace-{VERSION}.dist-info/entry_points.txt").decode()
    assert re.findall(r"^(\S+) = ", entries, re.MULTILINE) == [
        "kubectl-podtrace", "kubectl_complete-podtrace"
    ]  # fmt: skip


def test_archive_and_wheel_carry_the_same_tracer(dist: Artefacts) -> None:
    folder = "podtrace/_tracer/"
    with ZipFile(dist.wheel) as wheel:
        expected = {name: wheel.read(name) for name in wheel.namelist() if folder in name}
    with tarfile.open(dist.archive) as archive:
        carried = {
            member.name.removeprefix("lib/"): archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive.getmembers()
            if folder in member.name
        }
    assert len(expected) > 30
    assert carried == expected


def test_bill_lists_what_the_lock_pins(dist: Artefacts) -> None:
    bill = json.loads(dist.bill.read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", VERSION)
    lock = (ROOT / "requirements-release.lock").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    packages = {
        each["name"]: each["version"] for each in bill["components"] if "pypi" in each["purl"]
    }
    assert {"click", "kubernetes", "pysocks", "pyyaml", "rich", "urllib3"} <= set(packages)
    assert not {"pyinstaller", "twine", "uv"} & set(packages)
    assert {name: pinned[name] for name in packages} == packages
    depends = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    assert {"click", "kubernetes", "pysocks", "pyyaml", "rich"} <= set(depends["podtrace"])
    assert "urllib3" in depends["kubernetes"]


def test_manifest_passes_the_checks_of_krews_index(dist: Artefacts) -> None:
    done = subprocess.run(
        [tools.manifest_checker(), "-manifest", dist.manifest, "-skip-install"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (entry,) = yaml.safe_load(dist.manifest.read_text())["spec"]["platforms"]
    assert entry["sha256"] == hashlib.sha256(dist.archive.read_bytes()).hexdigest()
    assert entry["uri"].endswith(f"/{dist.archive.name}")
