"""Recording a run and replaying it: the same report, and clear words for files that are none."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from factories import encoded, end, event, hello, stream, tick
from program import CRITICAL, HEALTHY, Program, on_terminal


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_replay_gives_the_same_json_as_the_run(program: Program) -> None:
    program.play(*CRITICAL, tick(event("reset", peer="10.0.0.1:80")))
    for name in ("run.jsonl", "run.jsonl.gz"):
        file = str(program.folder / name)
        report = ["-o", "json", "--dns-slow-p95", "1ms"]
        run = program.run("--local", "--pid", "1", "--diagnose", "9s", "--record", file, *report)
        replay = program.run("replay", file, *report)
        assert (run.returncode, replay.returncode) == (0, 0)
        assert run.stdout == replay.stdout


def test_full_disk_under_a_recording_does_not_stop_the_report(program: Program) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    program.environment["FAKE_LOG"] = ""
    file = program.folder / "run.jsonl"
    arguments = ["--local", "--pid", "1", "--diagnose", "9s", "--record", str(file)]
    run = program.start(*arguments, preexec_fn=limit)
    out, err = run.communicate(timeout=20)
    assert run.returncode == 1
    assert "error: cannot write the recording" in err
    assert out.startswith("podtrace report")
    assert file.stat().st_size == 100


def recording(program: Program, content: bytes) -> str:
    (program.folder / "recording").write_bytes(content)
    return str(program.folder / "recording")


WHOLE = encoded(stream(hello(), *HEALTHY, end()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02" * 100, "is no recording of podtrace"),
        (b"# notes\n", "is no recording of podtrace"),
        (encoded(stream(hello(schema="2.0"), end())), "schema version 2.0, this podtrace reads 1"),
        (encoded(stream(hello())), "is cut: its last line is missing"),
        (WHOLE[:1200], "is cut: its last line is missing"),
    ],
)
def test_bad_recording_is_an_error_without_a_report(
    program: Program, content: bytes, message: str
) -> None:
    done = program.run("replay", recording(program, content))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "hint: " in done.stderr


def test_cut_recording_gives_the_report_of_what_it_holds(program: Program) -> None:
    done = program.run("replay", recording(program, WHOLE[:-40]), "-o", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["window"]["complete"] is False
    assert "is cut: its last line is missing" in done.stderr


def test_replayed_live_json_is_the_recording(program: Program) -> None:
    done = program.run("replay", "--live", "-o", "json", recording(program, WHOLE))
    assert done.stdout.encode() == WHOLE


def test_replay_on_a_terminal_takes_its_time(program: Program) -> None:
    lines = encoded(stream(hello(), tick(), tick(), tick(), end()))
    begun = time.monotonic()
    code, text = on_terminal(program, "replay", "--live", recording(program, lines))
    assert (code, text.count("\x1b[?1049l")) == (0, 1)
    assert 2.0 < time.monotonic() - begun < 10
