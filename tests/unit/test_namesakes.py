from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from podtrace import cli
from podtrace.errors import EXIT_OK, EXIT_USAGE
from podtrace.namesakes import warning

NAME = "kubectl-podtrace"


def program(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def search(*folders: Path) -> dict[str, str]:
    return {"PATH": os.pathsep.join(map(str, folders))}


def test_program_alone_on_path_is_not_warned_of(tmp_path: Path) -> None:
    mine = program(tmp_path / "a")
    assert warning(NAME, str(mine), search(tmp_path / "a", tmp_path / "nothing")) is None


def test_links_to_this_program_are_not_another_one(tmp_path: Path) -> None:
    mine = program(tmp_path / "store")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / NAME).symlink_to(mine)
    own = str(tmp_path / "bin" / NAME)
    assert warning(NAME, own, search(tmp_path / "bin", tmp_path / "store")) is None


def test_program_that_kubectl_would_run_instead_is_named(tmp_path: Path) -> None:
    mine, other = program(tmp_path / "a"), program(tmp_path / "b")
    line = warning(NAME, str(mine), search(tmp_path / "b", tmp_path / "a"))
    assert line is not None
    assert line.startswith(
        f"warning: `kubectl podtrace` runs {other}, and not this program, {mine}"
    )


def test_program_behind_this_one_is_named_too(tmp_path: Path) -> None:
    mine, other = program(tmp_path / "a"), program(tmp_path / "b")
    line = warning(NAME, str(mine), search(tmp_path / "a", tmp_path / "b"))
    assert line is not None
    assert f"another kubectl plugin of this name, {other}, and PATH has this one first" in line


def test_plugin_of_krew_is_removed_by_krew(tmp_path: Path) -> None:
    mine = program(tmp_path / "a")
    other = program(tmp_path / "krew/store/podtrace/v0.9.0")
    (tmp_path / "krew/bin").mkdir()
    (tmp_path / "krew/bin" / NAME).symlink_to(other)
    line = warning(NAME, str(mine), search(tmp_path / "krew/bin", tmp_path / "a"))
    assert line is not None
    assert line.endswith("`kubectl krew uninstall podtrace`")


def test_file_that_kubectl_would_not_run_is_none(tmp_path: Path) -> None:
    mine, other = program(tmp_path / "a"), program(tmp_path / "b")
    other.chmod(0o644)
    (tmp_path / "c" / NAME).mkdir(parents=True)
    folders = search(tmp_path / "b", tmp_path / "c", tmp_path / "a")
    assert warning(NAME, str(mine), folders) is None


@pytest.mark.parametrize("line", ["version", "--version"])
def test_version_warns_and_still_prints(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = program(tmp_path / "b\x1b[2J")
    monkeypatch.setenv("PATH", str(other.parent))
    monkeypatch.setattr(sys, "argv", [str(program(tmp_path / "a"))])
    assert cli.main([line]) == EXIT_OK
    out, err = capsys.readouterr()
    assert out.startswith("podtrace ")
    assert err.startswith("warning: ")
    assert "\x1b" not in err


def test_wrong_usage_may_have_been_meant_for_the_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(program(tmp_path / "b").parent))
    monkeypatch.setattr(sys, "argv", [str(program(tmp_path / "a"))])
    assert cli.main(["--tracing"]) == EXIT_USAGE
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "error", "hint", "warning",
    ]  # fmt: skip
