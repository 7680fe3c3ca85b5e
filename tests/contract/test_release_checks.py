"""No release is made of a tree that is not what its tag says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from release import checks


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    monkeypatch.setattr(checks, "version", lambda: "1.2.3")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-11-25)\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *words], check=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "A change")


def test_tagged_clean_tree_is_released(tree: Path) -> None:
    git(tree, "tag", "v1.2.3")
    assert checks.obstacles() == []


def test_commit_without_its_tag_is_refused(tree: Path) -> None:
    git(tree, "tag", "v1.2.2")
    (found,) = checks.obstacles()
    assert "does not have the tag v1.2.3 of its version, it has v1.2.2" in found


@pytest.mark.parametrize("name", ["CHANGELOG.md", "new.py"])
def test_uncommitted_change_is_refused(name: str, tree: Path) -> None:
    git(tree, "tag", "v1.2.3")
    with (tree / name).open("a") as file:
        file.write("x\n")
    (found,) = checks.obstacles()
    assert name in found


def test_version_without_a_change_is_refused(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 1.2.30 (2026-11-25)\n")
    commit(tree)
    git(tree, "tag", "v1.2.3")
    (found,) = checks.obstacles()
    assert "no section `## 1.2.3" in found
