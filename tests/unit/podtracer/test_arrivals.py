"""inotify on folders, as it is on those of cgroups."""

from __future__ import annotations

import select
from pathlib import Path

import pytest

from podtracer.arrivals import PAUSE_NS, Arrivals


@pytest.fixture
def arrivals() -> Arrivals:
    return Arrivals()


def came(arrivals: Arrivals) -> bool:
    """Whether something has come; takes it."""
    readable = bool(select.select([arrivals.fd], [], [], 0.2)[0])
    if readable:
        arrivals.note()
    return readable


def test_new_directory_makes_a_look_due(arrivals: Arrivals, tmp_path: Path) -> None:
    arrivals.watch([str(tmp_path)], 1000)
    assert arrivals.due_ns is None
    (tmp_path / "pod").mkdir()
    assert came(arrivals)
    assert arrivals.due_ns == 1000 + PAUSE_NS
    arrivals.watch([str(tmp_path)], 2000)
    assert arrivals.due_ns is None
    assert not came(arrivals)


def test_directory_that_is_watched_no_more_is_silent(arrivals: Arrivals, tmp_path: Path) -> None:
    arrivals.watch([str(tmp_path)], 0)
    arrivals.watch([], 0)
    came(arrivals)
    (tmp_path / "pod").mkdir()
    assert not came(arrivals)


def test_directory_made_anew_is_watched_again(arrivals: Arrivals, tmp_path: Path) -> None:
    folder = tmp_path / "kubepods"
    folder.mkdir()
    arrivals.watch([str(folder)], 0)
    folder.rmdir()
    assert came(arrivals)
    folder.mkdir()
    arrivals.watch([str(folder)], 0)
    (folder / "pod").mkdir()
    assert came(arrivals)


def test_directory_that_is_not_there_is_passed_over(arrivals: Arrivals, tmp_path: Path) -> None:
    arrivals.watch([str(tmp_path / "none"), str(tmp_path)], 0)
    (tmp_path / "pod").mkdir()
    assert came(arrivals)


def test_without_inotify_nothing_ever_comes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arrivals = Arrivals()
    arrivals.fd = -1
    arrivals.watch([str(tmp_path)], 0)
    assert arrivals.due_ns is None
