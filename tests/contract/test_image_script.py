"""What `make image` asks of whatever builds images here."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from podtrace.wire.version import VERSION

ROOT = Path(__file__).parents[2]
SCRIPT = Path("scripts/build-image.sh")
# It writes down its arguments, and the file that it is to save an image in.
BUILDER = """#!/bin/sh
echo "$@" >>{folder}/asked
case $1:$3 in
push:docker-archive:*) file=${{3#docker-archive:}}; echo image >"${{file%%:*}}" ;;
save:-o) echo image >"$4" ;;
esac
exit {code}
"""


def build(
    folder: Path,
    code: int = 0,
    kind: str = "buildah",
    root: Path = ROOT,
    cwd: Path | None = None,
    **wanted: str,
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run it with a builder of a kind; return what it printed, and what it asked for."""
    builder = folder / kind
    builder.write_text(BUILDER.format(folder=folder, code=code))
    builder.chmod(0o755)
    done = subprocess.run(
        [root / SCRIPT],
        env={"PATH": "/usr/bin:/bin", "BUILDER": str(builder), **wanted},
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    return done, (folder / "asked").read_text()


def copy_without_repository(folder: Path) -> Path:
    """Return a tree with what the script reads, as an archive of the sources has it."""
    for path in (SCRIPT, Path("plugin/podtrace/wire/version.py")):
        copy = folder / path
        copy.parent.mkdir(parents=True)
        copy.write_bytes((ROOT / path).read_bytes())
    (folder / SCRIPT).chmod(0o755)
    return folder


def commit_all(folder: Path) -> str:
    """Make a repository of a folder and return its commit."""

    def git(*words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
        line = ["git", "-C", str(folder), *who, *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message=one")
    return git("rev-parse", "HEAD")


def test_image_is_built_for_this_machine_and_named_for_the_version(tmp_path: Path) -> None:
    done, asked = build(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"--tag podtrace-tracer:{VERSION} " in asked
    assert f"--label org.opencontainers.image.version={VERSION} " in asked
    assert "--platform" not in asked
    assert "BASE=" not in asked
    assert "image.source" not in asked
    assert f"podtrace-tracer:{VERSION} is built" in done.stdout


def test_platform_base_name_source_and_file_are_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "y.tar"
    done, asked = build(
        tmp_path,
        PLATFORM="linux/arm64",
        BASE="mine/debian:1",
        IMAGE="a.b/c:1",
        SOURCE="https://a.b/c",
        OUTPUT=str(file),
    )
    assert done.returncode == 0, done.stderr
    built, saved = asked.splitlines()
    for words in (
        "--platform linux/arm64",
        "--build-arg BASE=mine/debian:1",
        "--tag a.b/c:1",
        "--label org.opencontainers.image.source=https://a.b/c",
    ):
        assert words in built
    assert saved == f"push a.b/c:1 docker-archive:{file}:a.b/c:1"


@pytest.mark.parametrize("platform", ["", "linux/arm64"])
def test_failed_build_says_what_another_platform_takes(tmp_path: Path, platform: str) -> None:
    done, _ = build(tmp_path, code=3, PLATFORM=platform)
    assert done.returncode == 3
    assert "is built" not in done.stdout
    assert ("qemu-user-static" in done.stderr) == bool(platform)


@pytest.mark.parametrize("kind", ["buildah", "podman", "docker"])
def test_file_is_where_the_caller_is_and_compressed_by_its_name(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "tracer.tar.gz"
    file.write_bytes(b"of an earlier build")
    done, _ = build(tmp_path, kind=kind, cwd=tmp_path, OUTPUT="tracer.tar.gz")
    assert done.returncode == 0, done.stderr
    assert gzip.decompress(file.read_bytes()) == b"image\n"
    assert f"    gunzip {file}\n" in done.stdout
    assert f"ctr -n k8s.io images import {file.with_suffix('')} " in done.stdout


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("buildah", f"docker.io/library/podtrace-tracer:{VERSION}"),
        ("docker", f"docker.io/library/podtrace-tracer:{VERSION}"),
        ("podman", f"localhost/podtrace-tracer:{VERSION}"),
    ],
)
def test_name_that_nodes_will_know_the_image_by_is_printed(
    tmp_path: Path, kind: str, name: str
) -> None:
    done, _ = build(tmp_path, kind=kind)
    assert f"--tracer-image {name} --image-pull-policy Never" in done.stdout


def test_time_of_the_image_can_be_given(tmp_path: Path) -> None:
    _, asked = build(tmp_path, SOURCE_DATE_EPOCH="86400")
    assert "--label org.opencontainers.image.created=1970-01-02T00:00:00Z" in asked


def test_revision_is_the_commit_and_says_when_files_are_changed(tmp_path: Path) -> None:
    root = copy_without_repository(tmp_path / "tree")
    commit = commit_all(root)
    _, asked = build(tmp_path, root=root)
    assert f"--label org.opencontainers.image.revision={commit} " in asked
    with (root / SCRIPT).open("a") as script:
        script.write("# changed\n")
    _, asked = build(tmp_path, root=root)
    assert f"--label org.opencontainers.image.revision={commit}-dirty " in asked


def test_files_without_a_repository_have_no_revision_not_that_of_one_around(tmp_path: Path) -> None:
    root = copy_without_repository(tmp_path / "around" / "tree")
    commit_all(tmp_path / "around")
    done, asked = build(tmp_path, root=root)
    assert done.returncode == 0, done.stderr
    assert "revision" not in asked


def test_base_is_one_image_whatever_its_tag_becomes() -> None:
    dockerfile = (ROOT / "tracer-image" / "Dockerfile").read_text()
    [base] = re.findall(r"^ARG BASE=(.*)$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/debian:\w+-\d{8}-slim@sha256:[0-9a-f]{64}", base)
    stages = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert stages == ["${BASE}", "packages", "scratch"]
