from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from podtrace.wire.codec import Decoder
from podtracer import __main__ as command_line
from podtracer import lifetime
from podtracer import tracer as tracer_run
from podtracer.address import Address
from podtracer.emit import Stream, StreamClosed
from podtracer.loader import Loader
from podtracer.own_pod import OwnPod
from podtracer.plan import Thresholds
from podtracer.pods import Pod
from podtracer.request import Request

TRACER = Path(__file__).parents[3] / "tracer-image"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Return the requests that the command line makes, which are not carried out."""
    made: list[Request] = []

    def run(request: Request, stream: Stream, loader: Loader) -> int:
        made.append(request)
        return 0

    monkeypatch.setattr(tracer_run, "run", run)
    monkeypatch.setattr(command_line, "Loader", lambda hidden: contextlib.nullcontext())
    monkeypatch.setattr(lifetime, "set_name", lambda name: None)
    monkeypatch.delenv("PODTRACE_HIDE", raising=False)
    return made


@pytest.mark.parametrize(
    ("words", "request_made"),
    [
        ("--cgroup demo/app", Request(cgroup="demo/app")),
        ("--pid 77 --name web", Request(pid=77, name="web")),
        ("--container 0123456789ab", Request(container="0123456789ab")),
        ("--command -- ls -l --pid 3", Request(command=("ls", "-l", "--pid", "3"))),
        ("--command -- sh -c -- x", Request(command=("sh", "-c", "--", "x"))),
        ("--cgroup a --for 2.5", Request(cgroup="a", seconds=2.5)),
        ("--cgroup a --for 0", Request(cgroup="a", seconds=0)),
        (
            "--cgroup a --rtt-spike 1 --slow-file 2 --long-block 3",
            Request(cgroup="a", thresholds=Thresholds(1, 2, 3)),
        ),
        ("--pid 1 --until-unheard 30", Request(pid=1, unheard_seconds=30)),
        (
            "--pid 1 --metrics [::]:3000 --metrics-processes 7",
            Request(pid=1, metrics=Address("::", 3000), metrics_processes=7),
        ),
        (
            '--pods [{"id":1,"namespace":"n","pod":"p","uid":"a-1"}]',
            Request(pods=(Pod(1, "n", "p", "a-1"),)),
        ),
        ("--command --uid 5 --gid 6 -- ls", Request(command=("ls",), uid=5, gid=6)),
    ],
)
def test_words_become_a_request(requests: list[Request], words: str, request_made: Request) -> None:
    assert command_line.main(words.split()) == 0
    assert requests == [request_made]


def test_members_to_hide_come_from_the_environment(
    requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODTRACE_HIDE", "tracepoint tcp_probe,struct mount,")
    command_line.main(["--pid", "1"])
    assert requests[0].hidden == {"tracepoint tcp_probe", "struct mount"}


def test_life_is_limited_before_anything_else(
    requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    monkeypatch.setattr(lifetime, "limit_life", limits.append)
    command_line.main(["--pid", "1", "--limit", "140"])
    command_line.main(["--pid", "1"])
    assert limits == [140]


def test_own_pod_comes_from_the_environment(
    requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODTRACE_NODE", "node-a")
    command_line.main(["--pid", "1"])
    assert requests[0].own == OwnPod(node="node-a")


def test_tracer_is_bound_to_the_parent_that_is_named(
    requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[int] = []
    monkeypatch.setattr(lifetime, "die_with_parent_of", bound.append)
    command_line.main(["--pid", "1", "--parent", "99"])
    command_line.main(["--pid", "1"])
    assert (bound, [request.parent for request in requests]) == ([99], [99, None])


def test_a_closed_stream_is_no_success(
    requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(request: Request, stream: Stream, loader: Loader) -> int:
        raise StreamClosed

    monkeypatch.setattr(tracer_run, "run", run)
    assert command_line.main(["--pid", "1"]) == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "is required"),
        ("--name x", "is required"),
        ("--cgroup a --pid 1", "not allowed with"),
        ("--pid one", "invalid int value"),
        ("--command", "--command needs -- COMMAND"),
        ("--command --", "--command needs -- COMMAND"),
        ("--pid 1 -- ls", "-- COMMAND needs --command"),
        ("--pid 1 extra", "unrecognized arguments: extra"),
        ("--pid 1 --for soon", "--for: invalid"),
        ("--pods {}", "--pods: not a list of pods"),
        ("--pods [] --pid 1", "--pods: not a list of pods"),
        ("--pid 1 --limit soon", "--limit: invalid"),
        ("--pid 1 --until-unheard x", "--until-unheard: invalid"),
        ("--pid 1 --for nan", "--for: invalid"),
        ("--pid 1 --for inf", "--for: invalid"),
        ("--pid 1 --for=-1", "--for: invalid"),
    ],
)
def test_words_that_make_no_request(
    requests: list[Request], capsys: pytest.CaptureFixture[str], words: str, complaint: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.main(words.split())
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err
    assert requests == []


def tracer(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "podtracer", *words],
        env={**os.environ, "PYTHONPATH": str(TRACER)},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--cgroup", "no/such/cgroup"], {"no_cgroup", "no_cgroups"}),
        (["--cgroup", "é" * 9000], {"no_cgroup", "no_cgroups"}),
        (["--pid", "0"], {"no_process"}),
        (["--container", "nginx"], {"bad_container"}),
        (["--command", "--", "/no/such/program"], {"no_command"}),
        (["--command", "--", "/"], {"not_executable"}),
    ],
)
def test_what_cannot_be_traced_is_an_error_line_and_nothing_else(
    words: list[str], code: set[str]
) -> None:
    result = tracer(*words)
    assert (result.returncode, result.stderr) == (1, b"")
    decoder = Decoder()
    (line,) = decoder.feed(result.stdout)
    assert (line["kind"], line["seq"], decoder.damage) == ("error", 1, {})
    assert line["code"] in code
    assert line["message"] and line["hint"]
    assert json.loads(result.stdout) == line
