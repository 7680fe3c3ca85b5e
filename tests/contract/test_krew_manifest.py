"""The manifest by krew's rules, which are in its internal/index/validation/validate.go."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from krew import manifest
from podtrace.wire.version import VERSION
from release.platforms import PLATFORMS, archive_name, this_platform

ADDRESS = "https://example.org/releases/download/v1/"
SEMVER = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-.]+)?")


def with_archives(folder: Path, *platforms: tuple[str, str]) -> Path:
    for each in platforms:
        (folder / archive_name(*each)).write_bytes(" ".join(each).encode())
    return folder


def written(folder: Path, *options: str) -> dict[str, Any]:
    assert manifest.main([str(folder), *options]) == 0
    tree: dict[str, Any] = yaml.safe_load((folder / "podtrace.yaml").read_text())
    return tree


def test_manifest_is_as_krew_wants_it(tmp_path: Path) -> None:
    tree = written(with_archives(tmp_path, *PLATFORMS), "--release-url", ADDRESS)
    assert tree["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert tree["kind"] == "Plugin"
    assert re.fullmatch(r"[\w-]+", tree["metadata"]["name"])
    spec = tree["spec"]
    assert SEMVER.fullmatch(spec["version"])
    assert spec["version"] == f"v{VERSION}"
    assert 0 < len(spec["shortDescription"]) <= 50
    assert "\n" not in spec["shortDescription"]
    assert set(spec) <= {
        "version", "shortDescription", "description", "caveats", "homepage", "platforms"
    }  # fmt: skip
    for entry in spec["platforms"]:
        assert set(entry) == {"selector", "uri", "sha256", "bin"}
        assert set(entry["selector"]) == {"matchLabels"}
        assert set(entry["selector"]["matchLabels"]) == {"os", "arch"}
        assert re.fullmatch("[a-f0-9]{64}", entry["sha256"])
        assert entry["bin"] == "kubectl-podtrace"


def test_each_platform_has_its_own_archive_and_its_checksum(tmp_path: Path) -> None:
    tree = written(with_archives(tmp_path, *PLATFORMS), "--release-url", ADDRESS)
    assert {
        (entry["selector"]["matchLabels"]["os"], entry["selector"]["matchLabels"]["arch"]): (
            entry["uri"], entry["sha256"]
        )
        for entry in tree["spec"]["platforms"]
    } == {
        (system, machine): (
            f"{ADDRESS}podtrace-v{VERSION}-{system}-{machine}.tar.gz",
            hashlib.sha256(f"{system} {machine}".encode()).hexdigest(),
        )
        for system in ("linux", "darwin")
        for machine in ("amd64", "arm64")
    }  # fmt: skip


@pytest.mark.parametrize("absent", PLATFORMS, ids="-".join)
def test_missing_archive_is_named_and_nothing_is_written(
    absent: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_archives(tmp_path, *(each for each in PLATFORMS if each != absent))
    assert manifest.main([str(tmp_path), "--release-url", ADDRESS]) == 1
    err = capsys.readouterr().err
    assert f"lacks {archive_name(*absent)}\n" in err
    assert "PARTIAL=1" in err
    assert not (tmp_path / "podtrace.yaml").exists()


def test_partial_manifest_has_this_platform_alone(tmp_path: Path) -> None:
    tree = written(with_archives(tmp_path, this_platform()), "--partial")
    (entry,) = tree["spec"]["platforms"]
    assert tuple(entry["selector"]["matchLabels"].values()) == this_platform()


def test_partial_manifest_needs_its_archive_too(tmp_path: Path) -> None:
    assert manifest.main([str(tmp_path), "--partial"]) == 1


def test_whole_manifest_says_where_archives_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert manifest.main([str(with_archives(tmp_path, *PLATFORMS))]) == 1
    assert "RELEASE_URL" in capsys.readouterr().err


def test_homepage_is_told_where_there_is_one(tmp_path: Path) -> None:
    folder = with_archives(tmp_path, this_platform())
    assert "homepage" not in written(folder, "--partial")["spec"]
    given = written(folder, "--partial", "--homepage", "https://example.org/podtrace")
    assert given["spec"]["homepage"] == "https://example.org/podtrace"


def test_version_that_krew_would_not_take_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "version", lambda: "0.1")
    folder = with_archives(tmp_path, this_platform())
    with pytest.raises(ValueError, match=r"MAJOR\.MINOR\.PATCH"):
        manifest.main([str(folder), "--partial"])


def test_manifest_of_earlier_archives_does_not_outlive_a_refusal(tmp_path: Path) -> None:
    with_archives(tmp_path, this_platform())
    written(tmp_path, "--partial")
    assert manifest.main([str(tmp_path), "--release-url", ADDRESS]) != 0
    assert not (tmp_path / "podtrace.yaml").exists()
