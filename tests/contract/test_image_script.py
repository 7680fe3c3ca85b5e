"""What `make image` asks of whatever builds images here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from podtrace.wire.version import VERSION

ROOT = Path(__file__).parents[2]


def build(
    folder: Path, code: int = 0, **wanted: str
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run it with a builder that writes down its arguments; return the answer and these."""
    builder = folder / "buildah"
    builder.write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\nexit {code}\n')
    builder.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "build-image.sh"],
        env={"PATH": "/usr/bin:/bin", "BUILDER": str(builder), **wanted},
        capture_output=True,
        text=True,
    )
    return done, (folder / "asked").read_text()


def test_image_is_built_for_this_machine_and_named_for_the_version(tmp_path: Path) -> None:
    done, asked = build(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"--tag podtrace-tracer:{VERSION} " in asked
    assert "--platform" not in asked
    assert "BASE=" not in asked
    assert f"podtrace-tracer:{VERSION} is built" in done.stdout


def test_platform_base_name_and_file_are_passed_on(tmp_path: Path) -> None:
    done, asked = build(
        tmp_path, PLATFORM="linux/arm64", BASE="mine/debian:1", IMAGE="a.b/c:1", OUTPUT="/x/y.tar"
    )
    assert done.returncode == 0, done.stderr
    built, saved = asked.splitlines()
    for words in ("--platform linux/arm64", "--build-arg BASE=mine/debian:1", "--tag a.b/c:1"):
        assert words in built
    assert saved == "push a.b/c:1 docker-archive:/x/y.tar:a.b/c:1"


@pytest.mark.parametrize("platform", ["", "linux/arm64"])
def test_failed_build_says_what_another_platform_takes(tmp_path: Path, platform: str) -> None:
    done, _ = build(tmp_path, code=3, PLATFORM=platform)
    assert done.returncode == 3
    assert "is built" not in done.stdout
    assert ("qemu-user-static" in done.stderr) == bool(platform)


def test_base_is_one_image_whatever_its_tag_becomes() -> None:
    dockerfile = (ROOT / "tracer-image" / "Dockerfile").read_text()
    [base] = re.findall(r"^ARG BASE=(.*)$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/debian:\w+-\d{8}-slim@sha256:[0-9a-f]{64}", base)
    stages = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert stages == ["${BASE}", "packages", "scratch"]
