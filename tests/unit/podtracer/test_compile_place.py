"""The folder that is compiled in is left again, whatever has become of the one before."""

from __future__ import annotations

from pathlib import Path

import pytest

from podtracer.compile_place import within


def test_process_returns_to_the_folder_that_it_was_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = tmp_path / "tree"
    tree.mkdir()
    with within(tree, closed=False):
        assert Path.cwd() == tree
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_folder_that_is_gone_is_none_to_return_to(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, tree = tmp_path / "gone", tmp_path / "tree"
    gone.mkdir()
    tree.mkdir()
    monkeypatch.chdir(gone)
    if when == "before":
        gone.rmdir()
    with within(tree, closed=False):
        assert Path.cwd() == tree
        if when == "meanwhile":
            gone.rmdir()
    assert Path.cwd() == Path("/")
