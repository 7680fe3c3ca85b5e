from __future__ import annotations

from pathlib import Path

import pytest

from podtracer.log_opens import LogOpens


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text("")
    return path


def test_each_open_is_seen_once(log: Path) -> None:
    opens = LogOpens(str(log))
    assert not opens.seen()
    log.read_text()
    assert opens.seen()
    assert not opens.seen()
    opens.close()


def test_other_files_and_the_folder_do_not_count(log: Path) -> None:
    opens = LogOpens(str(log))
    (log.parent / "1.log").write_text("")
    list(log.parent.iterdir())
    assert not opens.seen()
    opens.close()


def rotate(log: Path) -> None:
    log.rename(log.parent / "0.log.20300101-000000")
    log.write_text("")


def test_rotation_is_taken_for_a_reader_until_it_has_settled(log: Path) -> None:
    opens = LogOpens(str(log))
    rotate(log)
    assert [opens.seen() for _ in range(3)] == [True, True, False]
    log.read_text()
    assert opens.seen()
    opens.close()


def test_log_that_is_rotated_again_and_again_may_be_read(log: Path) -> None:
    opens = LogOpens(str(log))
    for _ in range(5):
        rotate(log)
        assert opens.seen()
    opens.close()


def test_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LogOpens(str(tmp_path / "gone/0.log"))
