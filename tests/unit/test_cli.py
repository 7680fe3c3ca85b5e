"""The command line: which words mean what, and what every mistake in it is answered with."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from podtrace import cli, trace
from podtrace.errors import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    PodtraceError,
    StartError,
)
from podtrace.metricsoptions import MetricsOptions
from podtrace.options import TraceOptions
from podtrace.suboptions import ReplayOptions


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> list[object]:
    """Collect what would be traced, replayed and cleaned up."""
    seen: list[object] = []

    def take(options: object, tell: object) -> int:
        seen.append(options)
        return 0

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(trace, "run_trace", take)
    monkeypatch.setattr(trace, "run_replay", take)
    monkeypatch.setattr(trace, "run_cleanup_command", lambda: take("cleanup", None))
    return seen


def traced(calls: list[object], line: str) -> TraceOptions:
    assert cli.main(line.split()) == EXIT_OK
    (options,) = calls
    assert isinstance(options, TraceOptions)
    return options


def replayed(calls: list[object], line: str) -> ReplayOptions:
    assert cli.main(line.split()) == EXIT_OK
    (options,) = calls
    assert isinstance(options, ReplayOptions)
    return options


def test_words_behind_two_dashes_are_the_command(calls: list[object]) -> None:
    options = traced(calls, "--local --diagnose 20s -- sh -c --help -- -o xml --pid x")
    assert options.scope.command == ("sh", "-c", "--help", "--", "-o", "xml", "--pid", "x")
    assert options.diagnose_ns == 20_000_000_000


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("--local --cgroup /sys/fs/cgroup/demo", "/sys/fs/cgroup/demo"),
        ("--cgroup=/x --local", "/x"),
        ("--local --pid 42", "process 42"),
        ("--local -c abc", "container abc"),
        ("--local --container abc", "container abc"),
        ("--local -- ls -l", "ls"),
    ],
)
def test_each_target_is_understood(calls: list[object], line: str, label: str) -> None:
    assert traced(calls, line).scope.label == label


def test_trace_options_are_read(calls: list[object]) -> None:
    options = traced(
        calls,
        "--local --pid 1 --for 1m30s --record f.gz -o json --fail-on critical -v --no-color "
        "--dns-slow-p95 250ms --lost-ratio 5% --rtt-spike 50ms",
    )
    assert (options.diagnose_ns, options.limit_ns) == (None, 90_000_000_000)
    assert options.record == "f.gz"
    report = options.report
    assert (report.format, report.fail_on, report.verbose, report.no_color) == (
        "json", "critical", True, True,
    )  # fmt: skip
    assert report.settings.thresholds.dns_slow_p95_seconds == pytest.approx(0.25)
    assert report.settings.thresholds.lost_ratio == pytest.approx(0.05)
    assert report.settings.rtt_spike_ns == 50_000_000


@pytest.mark.parametrize(
    ("line", "metrics"),
    [
        ("", None),
        ("--metrics", MetricsOptions("127.0.0.1", 3000, 100)),
        ("--metrics --metrics-port 0 --metrics-processes 7", MetricsOptions("127.0.0.1", 0, 7)),
        ("--metrics --metrics-address localhost", MetricsOptions("127.0.0.1", 3000, 100)),
        ("--metrics --metrics-address [::]", MetricsOptions("::", 3000, 100)),
    ],
)
def test_metrics_are_offered_where_the_line_says(
    calls: list[object], line: str, metrics: MetricsOptions | None
) -> None:
    assert traced(calls, f"--local --pid 1 {line}").metrics == metrics


@pytest.mark.parametrize(
    ("address", "warned"),
    [("127.0.0.1", False), ("127.9.9.9", False), ("::1", False), ("0.0.0.0", True), ("::", True)],
)
def test_address_that_others_reach_is_warned_of(address: str, warned: bool) -> None:
    assert bool(MetricsOptions(address).warning) == warned


def test_port_that_is_not_known_yet_is_not_named() -> None:
    warning = MetricsOptions("::", 0).warning
    assert warning == "warning: whoever reaches :: on this machine reads the metrics, unasked"


@pytest.mark.parametrize(
    "line",
    [
        "replay run.jsonl -o json",
        "-o json replay run.jsonl",
        "-ojson replay run.jsonl",
        "--output=json replay run.jsonl",
        "-vo json replay run.jsonl",
        "-o json -v replay run.jsonl",
        "replay -o json -- run.jsonl",
    ],
)
def test_subcommand_is_the_first_word_that_is_no_option(calls: list[object], line: str) -> None:
    options = replayed(calls, line)
    assert (options.file, options.report.format, options.live) == ("run.jsonl", "json", False)


@pytest.mark.parametrize(
    "option", ["-n shop", "-n=shop", "--context=x", "--as me", "-s https://x", "--token t",
               "--insecure-skip-tls-verify", "--as-group a --as-group b"],
)  # fmt: skip
def test_command_without_a_cluster_ignores_how_to_reach_one(
    option: str, calls: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (f"{option} replay f", f"replay {option} f", f"replay f {option}"):
        assert replayed(calls, line).file == "f"
        calls.clear()
    for command, answer in (("version", "podtrace "), ("completion zsh", "#compdef")):
        for line in (f"{option} {command}", f"{command} {option}"):
            assert cli.main(line.split()) == EXIT_OK
            assert capsys.readouterr().out.startswith(answer)


def test_value_of_an_option_is_no_subcommand(calls: list[object]) -> None:
    assert traced(calls, "--local --cgroup replay").scope.cgroup == "replay"
    calls.clear()
    assert replayed(calls, "replay replay").file == "replay"


def test_cleanup_is_found(calls: list[object]) -> None:
    assert cli.main(["cleanup", "--local"]) == EXIT_OK
    assert cli.main(["--local", "cleanup"]) == EXIT_OK
    assert calls == ["cleanup", "cleanup"]


BAD = [
    # no target, or more than one
    ("--local", EXIT_USAGE, "--local does not say what to trace", "-- COMMAND"),
    ("--local --diagnose 5s", EXIT_USAGE, "does not say what to trace", "for example"),
    ("--local --pid 1 --cgroup /x", EXIT_USAGE, "--cgroup and --pid name more than", "example"),
    ("--local --pid 1 -- ls", EXIT_USAGE, "--pid and -- COMMAND name more than one", "example"),
    ("--local --", EXIT_USAGE, "there is no COMMAND after --", "-- COMMAND"),
    ("--local web-0", EXIT_USAGE, "web-0 is for pods in a cluster", "--container ID"),
    ("--local -n shop --pid 1", EXIT_USAGE, "--namespace is for pods", "--pid N"),
    ("--pid 1", EXIT_USAGE, "--pid is for tracing this machine and needs --local", "--local"),
    ("-- ls", EXIT_USAGE, "-- COMMAND is for tracing this machine", "--local"),
    ("--local --pid abc", EXIT_USAGE, "--pid abc: this is no process id", "number"),
    ("--local --pid 0", EXIT_USAGE, "--pid 0: this is no process id", "number"),
    ("--local --pid -5", EXIT_USAGE, "--pid -5: this is no process id", "number"),
    ("--local --pid 99999999999", EXIT_USAGE, "this is no process id", "number"),
    ("--local --cgroup=", EXIT_USAGE, "--cgroup is empty", "for example"),
    # durations
    ("--local --pid 1 --diagnose 20", EXIT_USAGE, "--diagnose 20: the unit is missing", "20s"),
    ("--local --pid 1 --diagnose 0s", EXIT_USAGE, "--diagnose 0s: the duration must be", "20s"),
    ("--local --pid 1 --diagnose -5s", EXIT_USAGE, "--diagnose -5s: the duration must", "20s"),
    ("--local --pid 1 --diagnose abc", EXIT_USAGE, "--diagnose abc: this is no duration", "20s"),
    ("--local --pid 1 --diagnose 25h", EXIT_USAGE, "--diagnose 25h: the longest", "24h"),
    ("--local --pid 1 --for 25h", EXIT_USAGE, "--for 25h: the longest duration is 24h", "24h"),
    ("--local --pid 1 --diagnose", EXIT_USAGE, "option '--diagnose' requires an arg", "--help"),
    ("--local --pid 1 --diagnose 5s --for 5s", EXIT_USAGE, "both say how long", "--for"),
    # output
    ("--local --pid 1 -o yaml", EXIT_USAGE, "-o yaml is a report", "--diagnose 20s"),
    ("--local --pid 1 -o xml", EXIT_USAGE, "'xml' is not one of", "--help"),
    ("--local --pid 1 --fail-on bad", EXIT_USAGE, "'bad' is not one of", "--help"),
    ("--local --pid 1 --diagnoze 5s", EXIT_USAGE, "no such option", "--diagnose"),
    ("--local --pid 1 --lost-ratio 7", EXIT_USAGE, "--lost-ratio 7: the ratio must", "5%"),
    ("--local --pid 1 --config /none", EXIT_USAGE, "/none: No such file", "--config"),
    ("--local --pid 1 a b", EXIT_USAGE, "a is for pods in a cluster", "--pid N"),
    # metrics
    ("web-0 --metrics-port 3001", EXIT_USAGE, "--metrics-port says nothing without", "--metrics"),
    ("web-0 --metrics-address ::1", EXIT_USAGE, "--metrics-address says nothing", "--metrics"),
    ("web-0 --metrics-processes 5", EXIT_USAGE, "--metrics-processes says nothing", "--metrics"),
    ("web-0 --metrics --metrics-port 99999", EXIT_USAGE, "is no number from 0 to 65535", "3000"),
    (f"web-0 --metrics --metrics-port {'0' * 20}99999", EXIT_USAGE, "is no number from", "3000"),
    ("web-0 --metrics --metrics-port -1", EXIT_USAGE, "--metrics-port -1: this is no", "3000"),
    ("web-0 --metrics --metrics-port abc", EXIT_USAGE, "--metrics-port abc: this is", "3000"),
    ("web-0 --metrics --metrics-port=", EXIT_USAGE, "this is no number", "3000"),
    ("web-0 --metrics --metrics-processes 0", EXIT_USAGE, "this is no number from 1", "100"),
    ("web-0 --metrics --metrics-address a.b", EXIT_USAGE, "a.b: this is no IP address", "0.0.0.0"),
    ("replay f --metrics", EXIT_USAGE, "replay has no option --metrics", "replay --help"),
    ("doctor web-0 --metrics", EXIT_USAGE, "doctor has no option --metrics", "doctor --help"),
    # replay
    ("replay", EXIT_USAGE, "replay needs one FILE", "replay slow.jsonl"),
    ("replay -- a b", EXIT_USAGE, "replay needs one FILE, and got 2", "replay slow.jsonl"),
    ("replay f --live -o yaml", EXIT_USAGE, "-o yaml is a report", "leave out --live"),
    ("replay f --rtt-spike 1s", EXIT_USAGE, "replay has no option --rtt-spike", "see: "),
    ("--diagnose 5s replay f", EXIT_USAGE, "replay has no option --diagnose", "replay --help"),
    ("--tracer-image x version", EXIT_USAGE, "version has no option --tracer-image", "see: "),
    ("replay f --lost-rati 1", EXIT_USAGE, "replay has no option --lost-rati", "--lost-ratio"),
    ("completion", EXIT_USAGE, "missing argument", "Choose from: bash, zsh, fish"),
    ("completion tcsh", EXIT_USAGE, "'tcsh' is not one of", "--help"),
    # pods
    ("web-0 -l app=web", EXIT_USAGE, "web-0 and --selector both say which", "one of them"),
    ("web-0 --pid 1", EXIT_USAGE, "--pid is for tracing this machine and needs --local", "--local"),
    ("web-0 -- ls", EXIT_USAGE, "-- COMMAND is for tracing this machine", "--local"),
    ("-n= web-0", EXIT_USAGE, "--namespace is empty", "-n shop web-0"),
    ("-c= web-0", EXIT_USAGE, "--container is empty", "-n shop web-0"),
    ("deployment/", EXIT_USAGE, "deployment/ is neither POD nor TYPE/NAME", "-n shop web-0"),
    ("/web", EXIT_USAGE, "/web is neither POD nor TYPE/NAME", "-n shop web-0"),
    ("web-0 -o yaml", EXIT_USAGE, "-o yaml is a report", "--diagnose 20s"),
    ("web-0 --profile all", EXIT_USAGE, "'all' is not one of", "--help"),
    ("web-0 --dry-run", EXIT_USAGE, "option '--dry-run' requires an argument", "--help"),
    ("web-0 --dry-run=yes", EXIT_USAGE, "'yes' is not one of", "--help"),
    ("web-0 --request-timeout 1x", EXIT_USAGE, "--request-timeout 1x: this is no", "20s"),
    ("--local --pid 1 --keep", EXIT_USAGE, "--keep is for pods in a cluster", "--pid N"),
    ("--local --pid 1 --profile capabilities", EXIT_USAGE, "--profile is for pods", "--pid N"),
    ("--local --pid 1 --as me", EXIT_USAGE, "--as is for pods in a cluster", "--pid N"),
    ("cleanup --local -n shop", EXIT_USAGE, "--local is for this machine", "leave it out"),
    ("cleanup -A -n shop", EXIT_USAGE, "--all-namespaces and --namespace", "use one"),
    ("doctor web-0 -l app=web", EXIT_USAGE, "web-0 and --selector both say", "one of them"),
]


@pytest.mark.parametrize(("line", "code", "message", "hint"), BAD, ids=[row[0] for row in BAD])
def test_mistake_is_answered_with_the_next_step(
    line: str,
    code: int,
    message: str,
    hint: str,
    calls: list[object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(line.split()) == code
    out, err = capsys.readouterr()
    assert calls == []
    assert out == ""
    first, *rest = err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert rest[-1].startswith("hint: ")
    assert hint in rest[-1]


def test_what_the_user_wrote_cannot_act_on_the_terminal(
    calls: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--local", "--pid", "1", "--diagnose", "\x1b[2J\r5s\nerror: fake"]) == 2
    _, err = capsys.readouterr()
    assert "\x1b" not in err
    assert len(err.splitlines()) == 2


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: object, tell: object) -> int:
        raise error

    monkeypatch.setattr(trace, "run_trace", fail)


def test_error_is_printed_with_details_and_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(StartError("it broke", "mend it", ["line \x1b[0m one", "line two"]), monkeypatch)
    assert cli.main(["--local", "--pid", "1"]) == EXIT_ERROR
    assert capsys.readouterr().err.splitlines() == [
        "error: it broke",
        "  line \\x1b[0m one",
        "  line two",
        "hint: mend it",
    ]


def test_unexpected_failure_shows_its_traceback_only_with_v(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(ZeroDivisionError("by zero"), monkeypatch)
    assert cli.main(["--local", "--pid", "1"]) == EXIT_ERROR
    err = capsys.readouterr().err
    assert err.startswith("error: podtrace itself failed: ZeroDivisionError: by zero\nhint: ")
    assert cli.main(["--local", "--pid", "1", "-v"]) == EXIT_ERROR
    assert "Traceback (most recent call last):" in capsys.readouterr().err


def test_interrupt_before_a_result_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert cli.main(["--local", "--pid", "1"]) == EXIT_INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_error_survives_a_closed_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    cli.print_error(PodtraceError("nobody hears it"))


@pytest.mark.parametrize("command", ["", "replay", "version", "completion", "cleanup"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_its_help(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command.split(), option]) == EXIT_OK
    out, err = capsys.readouterr()
    assert out.replace("kubectl podtrace", "kubectl-podtrace").startswith(
        "Usage: kubectl-podtrace " + command
    )
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("line", ["version", "--version", "-n shop --version", "pod-a --version"])
def test_version_is_printed(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == EXIT_OK
    assert capsys.readouterr().out.startswith("podtrace 0.1.0 (stream schema 1.1, Python ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == EXIT_OK
    out = capsys.readouterr().out
    assert "_KUBECTL_PODTRACE_COMPLETE" in out
    assert "kubectl-podtrace" in out


def complete(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_KUBECTL_PODTRACE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(["kubectl-podtrace", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setenv("KUBECONFIG", "/none")
    assert cli.main([]) == EXIT_OK


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["--diag"], "plain,--diagnose"),
        (["--loc"], "plain,--local"),
        (["--local", "--cg"], "plain,--cgroup"),
        (["--local", "--cgroup", "/s"], "dir,/s"),
        (["--record", "a"], "file,a"),
        (["replay", "a"], "file,a"),
        (["rep"], "plain,replay"),
        (["--local", "clean"], "plain,cleanup"),
        (["replay", "--li"], "plain,--live"),
        (["-o", "js"], "plain,json"),
        (["completion", "z"], "plain,zsh"),
    ],
)
def test_words_are_completed(
    words: list[str],
    offered: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    complete(words, monkeypatch)
    assert offered in capsys.readouterr().out.splitlines()


def test_nothing_of_a_traced_command_is_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complete(["--local", "--", "ls", "--diag"], monkeypatch)
    capsys.readouterr()
