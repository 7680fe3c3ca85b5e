"""Whole runs of the program against a tracer that is played: exit codes, output, nothing left."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factories import Tick, encoded, end, error, event, hello, stream, tick
from program import CRITICAL, HEALTHY, Program, on_terminal


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


def test_metrics_are_told_as_the_tracer_offers_them(program: Program) -> None:
    program.environment["FAKE_STREAM"] = str(program.folder / "metrics")
    lines = stream(hello(metrics="127.0.0.1:43210"), *HEALTHY, end())
    (program.folder / "metrics").write_bytes(encoded(lines))
    line = ("--local", "--pid", "1", "--diagnose", "20s", "--metrics", "--metrics-port", "0")
    done = program.run(*line)
    assert (done.returncode, done.stderr) == (0, "metrics at http://127.0.0.1:43210/metrics\n")
    assert '"--metrics", "127.0.0.1:0", "--metrics-processes", "100"]' in program.log.read_text()


def test_metrics_that_other_machines_reach_are_warned_of(program: Program) -> None:
    line = ("--local", "--pid", "1", "--diagnose", "20s", "--metrics", "--metrics-address", "::")
    done = program.run(*line)
    assert done.stderr == (
        "warning: whoever reaches [::]:3000 on this machine reads the metrics, unasked\n"
    )


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


def test_finding_below_the_threshold_of_an_option_is_no_warning(program: Program) -> None:
    program.play(*CRITICAL)
    arguments = ["--local", "--pid", "1", "--diagnose", "20s", "--fail-on", "warning"]
    assert program.run(*arguments).returncode == 4
    assert program.run(*arguments, "--least-count", "1000").returncode == 0


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
