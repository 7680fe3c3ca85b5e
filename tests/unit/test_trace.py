"""Whole runs of the program against a tracer that is played: exit codes, output, nothing left.

The program is a process of its own here, with a real tracer command line, signals and pipes; only
the Python that would run the tracer is replaced.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factories import Line, Tick, encoded, end, error, event, hello, process, series, stream, tick

TESTS = Path(__file__).parents[1]
FAKE = TESTS / "fake_tracer.py"
# Starting the tracer takes root; whether a user has it is tested elsewhere.
BOOT = (
    "import sys; from podtrace.local import installation; "
    "installation.check_rights = lambda python, argv: None; "
    "from podtrace.cli import main; sys.exit(main())"
)
HEALTHY = (tick(process(), series("read", count=3, duration_ns=2_000)), tick())
CRITICAL = (
    tick(series("connect_attempt", count=50, peer="10.0.0.1:80")),
    tick(series("connect", 0, errors={"ECONNREFUSED": 50}, peer="10.0.0.1:80")),
)


class Program:
    """Runs podtrace with a played tracer and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SUDO_")},
            "PYTHONPATH": str(TESTS.parent / "plugin"),
            "PODTRACE_PYTHON": str(FAKE),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "FAKE_STREAM": str(folder / "stream"),
            "FAKE_LOG": str(self.log),
            "TERM": "xterm",
        }
        self.play(*HEALTHY)

    def play(self, *ticks: Tick, last: Line | None = None, **settings: str) -> None:
        """Choose what the tracer sends and does then."""
        lines = stream(hello(), *ticks, *([last] if last is not None else []))
        if settings.get("then", "exit") == "exit" and last is None:
            lines = stream(hello(), *ticks, end())
        (self.folder / "stream").write_bytes(encoded(lines))
        for name, value in settings.items():
            self.environment[f"FAKE_{name.upper()}"] = value

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        settings: dict[str, object] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            [sys.executable, "-c", BOOT, *arguments], env=self.environment, text=True, **settings
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def wait_for_tracer(self, text: str = "start") -> int:
        """Wait until the tracer's log has the text; return the tracer's process id."""
        for _ in range(500):
            if self.log.exists() and text in self.log.read_text():
                return int(self.log.read_text().split()[1])
            time.sleep(0.02)
        raise AssertionError(f"the tracer never wrote {text}")

    def tracer_is_gone(self) -> bool:
        pid = self.wait_for_tracer()
        for _ in range(100):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.02)
        return False


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    if program.log.exists():
        assert program.tracer_is_gone()


def test_diagnose_prints_the_report_and_nothing_else(program: Program) -> None:
    done = program.run("--local", "--pid", "1", "--diagnose", "20s")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("podtrace report: cgroup demo\n")
    assert '"--pid=1", "--for", "20.000000000"]' in program.log.read_text()


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_diagnose_prints_one_tree(program: Program, form: str) -> None:
    import yaml

    done = program.run("--local", "--pid", "1", "--diagnose", "20s", "-o", form)
    tree = json.loads(done.stdout) if form == "json" else yaml.safe_load(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert tree["summary"]["events"] == 3


@pytest.mark.parametrize(
    ("lowest", "ticks", "code"),
    [("info", HEALTHY, 0), ("critical", CRITICAL, 4), ("warning", CRITICAL, 4)],
)
def test_findings_decide_the_exit_code(
    program: Program, lowest: str, ticks: tuple[Tick, ...], code: int
) -> None:
    program.play(*ticks)
    done = program.run("--local", "--pid", "1", "--diagnose", "20s", "--fail-on", lowest)
    assert (done.returncode, done.stderr) == (code, "")


def test_finding_below_the_threshold_of_an_option_is_none(program: Program) -> None:
    program.play(*CRITICAL)
    arguments = ["--local", "--pid", "1", "--diagnose", "20s", "--fail-on", "info"]
    assert program.run(*arguments).returncode == 4
    assert program.run(*arguments, "--least-count", "1000").returncode == 0


def test_replay_gives_the_same_json_as_the_run(program: Program) -> None:
    program.play(*CRITICAL, tick(event("reset", peer="10.0.0.1:80")))
    for name in ("run.jsonl", "run.jsonl.gz"):
        file = str(program.folder / name)
        report = ["-o", "json", "--dns-slow-p95", "1ms"]
        run = program.run("--local", "--pid", "1", "--diagnose", "9s", "--record", file, *report)
        replay = program.run("replay", file, *report)
        assert (run.returncode, replay.returncode) == (0, 0)
        assert run.stdout == replay.stdout


def test_error_of_the_tracer_is_ours(program: Program) -> None:
    program.environment["FAKE_STREAM"] = str(program.folder / "error")
    line = error("no_such_cgroup", "no cgroup at /x", "list them with systemd-cgls")
    (program.folder / "error").write_bytes(encoded(stream(line)))
    done = program.run("--local", "--cgroup", "/x", "--diagnose", "20s")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: no cgroup at /x\nhint: list them with systemd-cgls\n"


def test_killed_tracer_gives_an_incomplete_report_and_exit_code_1(program: Program) -> None:
    program.play(*HEALTHY, then="kill")
    done = program.run("--local", "--pid", "1", "--diagnose", "20s", "-o", "json")
    assert done.returncode == 1
    window = json.loads(done.stdout)["window"]
    assert (window["complete"], window["ticks"]) == (False, 2)
    assert "was killed by SIGKILL before the trace was complete" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_crashed_tracers_last_words_are_shown_without_control_characters(
    program: Program,
) -> None:
    program.play(*HEALTHY, then="crash")
    done = program.run("--local", "--pid", "1", "--diagnose", "20s")
    assert done.returncode == 1
    assert "  RuntimeError: the map is \\x1b[31mgone" in done.stderr.splitlines()
    assert done.stdout.startswith("podtrace report")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_gives_the_report_now(program: Program, number: int) -> None:
    program.play(*HEALTHY, then="wait")
    run = program.start("--local", "--pid", "1", "--diagnose", "1h", "-o", "json")
    program.wait_for_tracer()
    time.sleep(0.3)
    run.send_signal(number)
    out, err = run.communicate(timeout=20)
    assert (run.returncode, err) == (0, "")
    assert json.loads(out)["window"]["end_reason"] == "signal"
    assert "signal SIGINT\nexit\n" in program.log.read_text()


def test_second_interrupt_leaves_at_once_without_a_report(program: Program) -> None:
    program.play(*HEALTHY, then="hang")
    run = program.start("--local", "--pid", "1", "--diagnose", "1h")
    program.wait_for_tracer()
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=5)
    assert (run.returncode, out) == (130, "")
    assert err.startswith("error: interrupted twice")


def test_interrupt_before_the_first_line_is_130(program: Program) -> None:
    (program.folder / "stream").write_bytes(b"")
    program.environment["FAKE_THEN"] = "hang"
    run = program.start("--local", "--pid", "1", "--diagnose", "1h")
    pid = program.wait_for_tracer()
    run.send_signal(signal.SIGINT)
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    out, err = run.communicate(timeout=20)
    assert (run.returncode, out) == (130, "")
    assert err == "error: interrupted before there was anything to report\n"


def test_reader_that_leaves_ends_everything_quietly(program: Program) -> None:
    program.play(*HEALTHY, then="flood")
    run = program.start("--local", "--pid", "1", "-o", "json")
    assert run.stdout is not None
    assert '"hello"' in run.stdout.readline()
    run.stdout.close()
    assert run.stderr is not None
    assert run.stderr.read() == ""
    assert run.wait(timeout=10) == 141
    run.stderr.close()


def test_reader_that_leaves_before_the_report_is_noticed(program: Program) -> None:
    program.play(*HEALTHY, then="wait")
    run = program.start("--local", "--pid", "1", "--diagnose", "1h")
    program.wait_for_tracer()
    assert run.stdout is not None
    run.stdout.close()
    assert run.wait(timeout=5) == 141
    assert run.stderr is not None
    run.stderr.close()


def test_full_output_is_an_error(program: Program) -> None:
    with open("/dev/full", "w") as full:
        run = program.start("--local", "--pid", "1", "--diagnose", "9s", stdout=full)
        _, err = run.communicate(timeout=20)
    assert run.returncode == 1
    assert err.startswith("error: cannot write to standard output: No space left on device\n")


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


def test_live_json_is_the_raw_stream(program: Program) -> None:
    done = program.run("--local", "--pid", "1", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (program.folder / "stream").read_text()


def test_live_text_off_a_terminal_is_lines_and_then_the_report(program: Program) -> None:
    program.play(tick(event("connect_failed", peer="10.0.0.1:80", error="ECONNREFUSED")))
    done = program.run("--local", "--pid", "1")
    assert done.returncode == 0
    assert "refused: connect to 10.0.0.1:80" in done.stdout
    assert "podtrace report: cgroup demo" in done.stdout
    assert "\x1b" not in done.stdout


def on_terminal(program: Program, *arguments: str) -> tuple[int, str]:
    """Run on a pseudo terminal; return the exit code and all that was written to it."""
    leader, follower = pty.openpty()
    run = program.start(*arguments, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    written = b""
    try:
        while chunk := os.read(leader, 65536):
            written += chunk
    except OSError:
        pass  # how Linux says that the other end was closed
    os.close(leader)
    return run.wait(timeout=20), written.decode()


def test_progress_is_shown_on_a_terminal_and_removed(program: Program) -> None:
    program.play(*HEALTHY, pace="0.4")
    program.environment["NO_COLOR"] = "1"
    code, text = on_terminal(program, "--local", "--pid", "1", "--diagnose", "20s")
    assert code == 0
    assert "tracing demo… 20s left" in text
    assert "3 events, Ctrl-C for the report now" in text
    *_, last = text.split("\x1b[K")
    assert last.startswith("podtrace report")


def test_live_view_gives_the_terminal_back_before_the_report(program: Program) -> None:
    program.play(*HEALTHY, pace="0.4")
    code, text = on_terminal(program, "--local", "--pid", "1")
    assert code == 0
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1
    assert "podtrace report" in text.split("\x1b[?1049l")[1]


def test_no_color_means_no_redraw_either(program: Program) -> None:
    _, text = on_terminal(program, "--local", "--pid", "1", "--no-color")
    assert "\x1b" not in text
    assert "podtrace report" in text


def test_command_is_passed_word_for_word(program: Program) -> None:
    program.run("--local", "--diagnose", "9s", "--", "sh", "-c", "echo $0 --cgroup", "--", "-o")
    log = program.log.read_text()
    assert '"--", "sh", "-c", "echo $0 --cgroup", "--", "-o"]' in log


def test_command_of_a_killed_tracer_is_cleaned_up_after(program: Program) -> None:
    program.play(*HEALTHY, then="kill")
    assert program.run("--local", "--diagnose", "9s", "--", "sleep", "60").returncode == 1
    assert '["--cleanup"]' in program.log.read_text()


def test_cleanup_says_what_was_removed(program: Program) -> None:
    assert program.run("cleanup", "--local").stdout == "nothing was left behind\n"
    program.environment["FAKE_LEFT"] = "/sys/fs/cgroup/podtrace-1"
    done = program.run("cleanup", "--local")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "removed /sys/fs/cgroup/podtrace-1\n"


def test_missing_tracer_python_is_named(program: Program) -> None:
    program.environment["PODTRACE_PYTHON"] = "/none/python3"
    done = program.run("--local", "--pid", "1", "--diagnose", "9s")
    assert done.returncode == 1
    assert done.stderr.startswith("error: PODTRACE_PYTHON names /none/python3")


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
