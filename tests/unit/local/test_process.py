"""A tracer process as a line source: its stream, its last words, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factories import encoded, end, hello, stream, tick
from podtrace.errors import StartError, StreamError
from podtrace.local.process import TracerProcess, run_cleanup

FAKE = Path(__file__).parents[2] / "fake_tracer.py"
WHOLE = stream(hello(), tick(), tick(), end())


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    play(tmp_path, monkeypatch)
    return [sys.executable, str(FAKE), "-c", "boot", "folder"]


def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    (tmp_path / "stream").write_bytes(
        encoded(WHOLE if settings.get("then", "exit") == "exit" else WHOLE[:-1])
    )
    monkeypatch.setenv("FAKE_STREAM", str(tmp_path / "stream"))
    for name, value in settings.items():
        monkeypatch.setenv(f"FAKE_{name.upper()}", value)


def tracer_pid(tmp_path: Path) -> int:
    return int((tmp_path / "log").read_text().split()[1])


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_stream_is_delivered_whole(fake: list[str]) -> None:
    source = TracerProcess(fake)
    assert b"".join(source) == encoded(WHOLE)


def test_quiet_tracer_gives_empty_chunks_and_stops_on_request(
    fake: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, then="wait")
    source = TracerProcess(fake)
    received = b""
    for chunk in source:
        received += chunk
        if chunk == b"" and b"health" in received:
            source.stop()
    assert b'"reason": "signal"' in received
    assert "signal SIGINT\nexit" in (tmp_path / "log").read_text()


def test_tracer_runs_in_a_session_of_its_own(
    fake: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, then="wait")
    source = TracerProcess(fake)
    for chunk in source:
        if chunk:
            pid = tracer_pid(tmp_path)
            assert os.getsid(pid) == pid
            source.stop()


def test_close_kills_a_tracer_that_is_deaf(
    fake: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, then="hang")
    source = TracerProcess(fake)
    for chunk in source:
        if chunk == b"" and (tmp_path / "log").exists():
            source.stop()
            source.close()
    assert not is_running(tracer_pid(tmp_path))
    source.close()


@pytest.mark.parametrize("then", ["wait", "flood"])
def test_close_lets_a_tracer_end_by_itself(
    fake: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    play(tmp_path, monkeypatch, then=then)
    source = TracerProcess(fake, cleanup=[*fake, "--cleanup"])
    for chunk in source:
        if b"health" in chunk:
            source.close()
    log = (tmp_path / "log").read_text()
    assert log.endswith("signal SIGINT\nexit\n")
    assert "--cleanup" not in log


def test_last_words_are_read_when_they_come_between_two_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tracer writes and exits after a look at its pipe and before the look at itself."""
    script = "import os, time; time.sleep(0.6); os.write(1, b'the end'); os._exit(0)"
    monkeypatch.setattr(subprocess.Popen, "poll", lambda process: process.wait())
    assert b"".join(TracerProcess([sys.executable, "-c", script])) == b"the end"


def test_killed_tracer_is_named_with_its_signal(
    fake: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, then="kill")
    source = TracerProcess(fake)
    assert b"".join(source) == encoded(WHOLE[:-1])
    trouble = source.trouble()
    assert isinstance(trouble, StreamError)
    assert f"(PID {tracer_pid(tmp_path)}) was killed by SIGKILL" in trouble.message
    assert "run the same command again" in (trouble.hint or "")


def test_crashed_tracer_gives_its_last_words(
    fake: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, then="crash")
    source = TracerProcess(fake)
    for _ in source:
        pass
    trouble = source.trouble()
    assert trouble is not None
    assert "ended with exit code 1" in trouble.message
    assert trouble.details[-1] == "RuntimeError: the map is \x1b[31mgone"
    assert len(trouble.details) <= 8


def test_flood_on_standard_error_is_cut_to_its_end() -> None:
    flood = "import sys; [sys.stderr.write('x' * 999 + f'{i}\\n') for i in range(3000)]"
    source = TracerProcess([sys.executable, "-c", flood])
    for _ in source:
        pass
    trouble = source.trouble()
    assert trouble is not None
    assert trouble.details[-1] == "x" * 999 + "2999"


def test_dead_tracer_of_a_command_is_cleaned_up_after(
    fake: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, then="kill")
    source = TracerProcess(fake, cleanup=[*fake, "--cleanup"], passes_output=True)
    for _ in source:
        pass
    assert '["--cleanup"]' in (tmp_path / "log").read_text()


def test_tracer_that_ended_by_itself_is_not_cleaned_up_after(
    fake: list[str], tmp_path: Path
) -> None:
    for _ in TracerProcess(fake, cleanup=[*fake, "--cleanup"]):
        pass
    assert "--cleanup" not in (tmp_path / "log").read_text()


def test_descendant_that_holds_the_pipe_does_not_keep_us_waiting() -> None:
    script = "import subprocess as s, sys; s.Popen([sys.executable, '-c', sys.argv[1]])"
    source = TracerProcess([sys.executable, "-c", script, "import time; time.sleep(8)"])
    begun = time.monotonic()
    assert b"".join(source) == b""
    assert time.monotonic() - begun < 6
    process = source._process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)


def test_stop_before_the_start_means_no_start(fake: list[str], tmp_path: Path) -> None:
    source = TracerProcess(fake)
    source.stop()
    assert list(source) == []
    assert not (tmp_path / "log").exists()
    assert source.trouble() is None


def test_command_reads_standard_input(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"from the user")
    copy = [sys.executable, "-c", "import sys; sys.stdout.write(sys.stdin.read())"]
    with (tmp_path / "input").open("rb") as file:
        assert b"".join(TracerProcess(copy, stdin=file.fileno())) == b"from the user"
    assert b"".join(TracerProcess(copy)) == b""


def test_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    source = TracerProcess([str(tmp_path / "none")])
    with pytest.raises(StartError, match="none: No such file or directory"):
        list(source)
    with pytest.raises(StartError, match="none: No such file or directory"):
        run_cleanup([str(tmp_path / "none")])


def test_clean_up_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podtrace.local.process._CLEANUP_SECONDS", 0.2)
    with pytest.raises(StartError, match="did not end"):
        run_cleanup([sys.executable, "-c", "import time; time.sleep(60)"])
