"""The live view: what a frame shows at every size, when it is drawn, and what plain lines say."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pty
import select
import struct
import termios
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import factories
from podtrace.model.notable import Notable
from podtrace.model.session import Session
from podtrace.report.escape import cell_width
from podtrace.report.live import LiveView
from podtrace.report.live_frame import Frame, FrameBuilder, Kind
from podtrace.report.live_layout import EVENTS_HEADING, FOOTER, frame_lines
from podtrace.report.paint import painted_frame
from podtrace.report.plain_live import MOST_EVENTS, PlainLiveView
from podtrace.report.style import Style
from unit.report import examples

SIZES = [(60, 15), (80, 24), (100, 40), (140, 30), (220, 60), (20, 5), (1, 1)]
COLOURS = {"TERM": "xterm-256color"}


def busy_frame() -> Frame:
    sentences = (f"23:14:{second:02d} refused: connect by nginx (pid 12)" for second in range(20))
    return Frame(
        snapshot=examples.busy(),
        recent_seconds=10.0,
        recent_events_per_second=812.0,
        kinds=(
            Kind("DNS look-up", True, 4.1, 0.0152, 0.0725, 0.0915, 8),
            Kind("TCP connect", True, 2.3, 0.0311, 0.148, 0.187, 7),
            *(Kind(f"kind {number}", True) for number in range(10)),
            Kind("file fsync", False),
        ),
        notable=tuple(sentences),
    )


def pods_frame() -> Frame:
    return dataclasses.replace(busy_frame(), snapshot=examples.pods())


def busy_stream(seconds: int = 12) -> list[factories.Line]:
    ticks = [
        factories.tick(
            factories.process(100, "nginx"),
            factories.series("read", 1000, duration_ns=2_000_000),
            factories.series("dns", 5, duration_ns=9_000_000, name="db.example"),
            factories.event("dns_timeout", name=f"silent-{second}.example"),
            factories.event("connect", peer="10.0.0.5:80"),
        )
        for second in range(seconds)
    ]
    return factories.stream(factories.hello(degraded=["tcp"], blank=["cpu"]), *ticks)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    set_size(master, 80, 24)
    yield master, slave
    for descriptor in (master, slave):
        with suppress(OSError):
            os.close(descriptor)


def set_size(descriptor: int, columns: int, lines: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def drawn(master: int) -> str:
    """Everything that was written to the terminal since the last look."""
    output = b""
    while select.select([master], [], [], 0.05)[0]:
        output += os.read(master, 65536)
    return output.decode()


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("frame", [busy_frame, pods_frame])
def test_frame_fills_the_terminal_and_never_leaves_it(
    width: int, height: int, unicode: bool, frame: Callable[[], Frame]
) -> None:
    lines = frame_lines(frame(), 12.0, Style(unicode=unicode, width=width), height)
    assert len(lines) == height
    assert max(map(cell_width, lines)) <= width
    assert unicode or all(line.isascii() for line in lines)


@settings(max_examples=40)
@given(
    st.text(st.characters(codec=None, exclude_categories=()), max_size=200),
    st.sampled_from([0, 1, 10**12]),
    st.sampled_from(SIZES),
    st.booleans(),
)
def test_hostile_input_stays_inside_the_frame(
    text: str, scale: int, size: tuple[int, int], pods: bool
) -> None:
    snapshot = examples.hostile(text, scale, examples.pods() if pods else None)
    frame = dataclasses.replace(busy_frame(), snapshot=snapshot)
    lines = frame_lines(frame, 12.0, Style(width=size[0]), size[1])
    assert len(lines) == size[1]
    for line in lines:
        assert cell_width(line) <= size[0]
        assert not any(unicodedata.category(character)[0] == "C" for character in line)


def test_smallest_frame_has_header_kinds_and_events() -> None:
    lines = frame_lines(busy_frame(), 12.0, Style(width=60), 15)
    assert lines[0] == "cgroup shop"
    assert lines[1].startswith("0:12   812/s events   lost 0   cost 0.6 % CPU, 18.5 MiB")
    assert any(
        line.startswith("  TCP connect     2.30/s  31.1 ms   148 ms   187 ms") for line in lines
    )
    assert f"  {EVENTS_HEADING}" in lines
    assert "  23:14:19 refused: connect by nginx (pid 12)" in lines
    assert lines[-1] == FOOTER


def test_larger_frame_adds_processes_and_targets() -> None:
    text = "\n".join(frame_lines(busy_frame(), 12.0, Style(width=100), 45))
    assert "top processes" in text
    assert "shop-api" in text
    assert "top targets" in text
    assert "10.0.0.5:5432" in text
    assert "missing.shop.example" in text
    low = "\n".join(frame_lines(busy_frame(), 12.0, Style(width=60), 15))
    assert "top targets" not in low


def test_several_pods_have_a_panel_on_a_usual_terminal() -> None:
    lines = frame_lines(pods_frame(), 12.0, Style(), 24)
    assert lines[0].startswith("3 pods of shop")
    assert [line.split()[0] for line in lines if line.startswith("  web-7d4b9c6f5d")] == [
        "web-7d4b9c6f5d-x2x9k",
        "web-7d4b9c6f5d-8qpl4",
        "web-7d4b9c6f5d-zz7wm",
    ]
    assert any(line.startswith("  web-7d4b9c6f5d-zz7wm on node-b ") for line in lines)
    assert "refused: connect" in "".join(lines)


def test_large_frame_says_of_which_pod_a_process_is() -> None:
    lines = frame_lines(pods_frame(), 12.0, Style(width=80), 45)
    (process,) = [line for line in lines if "burner" in line]
    assert "web-7d4b9c6f5d-x2x9k" in process
    assert not any("pods" in line for line in frame_lines(busy_frame(), 12.0, Style(), 45))


def test_processes_of_several_containers_say_of_which_they_are() -> None:
    snapshot = examples.pod()
    assert snapshot.cpu_usage is not None
    uses = tuple(
        dataclasses.replace(snapshot.cpu_usage[0], container=container)
        for container in ("app", "sidecar")
    )
    several = dataclasses.replace(snapshot, cpu_usage=uses)
    lines = frame_lines(dataclasses.replace(busy_frame(), snapshot=several), 1.0, Style(), 45)
    assert any("top processes" in line and "container" in line for line in lines)
    assert any("burner" in line and "sidecar" in line for line in lines)
    lines = frame_lines(dataclasses.replace(busy_frame(), snapshot=snapshot), 1.0, Style(), 45)
    assert not any("top processes" in line and "container" in line for line in lines)


def test_header_names_the_nodes_that_are_waited_for() -> None:
    session = Session()
    session.streams_expected = 2
    session.name_nodes({1: "node-a", 2: "node-b"})
    session.fold([line | {"stream": 1} for line in busy_stream(2)])
    lines = frame_lines(FrameBuilder(Style()).frame(session), 2.0, Style(), 24)
    assert "counting on 1 of 2 nodes; waiting for node-b" in lines


def test_many_pods_say_how_many_are_left_out() -> None:
    snapshot = examples.pods()
    many = dataclasses.replace(snapshot.target, members=snapshot.target.members * 5)
    frame = dataclasses.replace(pods_frame(), snapshot=dataclasses.replace(snapshot, target=many))
    assert any("pods (6 of 15)" in line for line in frame_lines(frame, 1.0, Style(), 45))


def test_not_measured_kind_differs_from_an_idle_one() -> None:
    lines = frame_lines(busy_frame(), 12.0, Style(), 40)
    assert next(line for line in lines if "file fsync" in line).endswith("unknown")
    assert next(line for line in lines if "kind 3" in line).split()[2:] == [
        "0/s",
        "-",
        "-",
        "-",
        "0",
    ]


def test_degraded_probes_show_in_the_header() -> None:
    frame = dataclasses.replace(busy_frame(), snapshot=examples.blind())
    lines = frame_lines(frame, 12.0, Style(), 24)
    assert lines[1].startswith("degraded: 2 of 11 probes not attached, dns blank, filesystem blank")
    assert not any("degraded" in line for line in frame_lines(busy_frame(), 1.0, Style(), 24))


def test_paint_changes_no_character() -> None:
    from rich.text import Text

    lines = frame_lines(busy_frame(), 12.0, Style(width=100), 40)
    painted = painted_frame(lines, COLOURS)
    assert [Text.from_ansi(line).plain for line in painted] == lines
    assert painted[0].startswith("\x1b[1m")


def test_frame_of_a_session_tells_rates_errors_and_sentences() -> None:
    session, builder = Session(), FrameBuilder(Style())
    builder.note(session.fold(busy_stream()))
    frame = builder.frame(session)
    kinds = {kind.name: kind for kind in frame.kinds}
    assert frame.recent_seconds == 10
    assert kinds["file read"].per_second == pytest.approx(1000)
    assert kinds["file read"].p50_seconds == pytest.approx(0.002, rel=0.032)
    assert kinds["TCP connect"] == Kind("TCP connect", measured=True)
    assert not kinds["blocked"].measured
    assert len(frame.notable) == 12
    assert frame.notable[-1].endswith("no answer: look-up of silent-11.example by nginx (pid 1)")


def test_screen_is_drawn_at_most_four_times_a_second(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    now = [100.0]
    session = Session()
    session.fold(busy_stream())
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        view = LiveView(stream, clock=lambda: now[0], environment=COLOURS)
        assert "starting the tracer…" in drawn(master)
        view.begin(session)
        frames = 0
        for _ in range(100):
            now[0] += 0.01
            view.update([], session)
            frames += drawn_frames(master)
        assert frames == 4 or frames == 3
        view.close()
        view.close()
        assert drawn(master) == "\x1b[0m\x1b[?25h\x1b[?1049l"


def drawn_frames(master: int) -> int:
    if not select.select([master], [], [], 0)[0]:
        return 0
    return os.read(master, 65536).count(b"\x1b[H")


def test_view_follows_the_size_and_the_time_without_new_data(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    now = [100.0]
    session = Session()
    session.fold(busy_stream())
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        view = LiveView(stream, clock=lambda: now[0], environment=COLOURS)
        now[0] += 1
        view.begin(session)
        assert "cgroup demo" in drawn(master)
        now[0] += 0.3
        view.idle(session)
        assert drawn(master) == ""
        set_size(master, 61, 16)
        view.idle(session)
        resized = drawn(master)
        assert resized.count("\r\n") == 15
        now[0] += 1.0
        view.idle(session)
        assert "0:01" in drawn(master)
        view.ending()
        assert "ending; Ctrl-C again leaves at once" in drawn(master).rpartition("\r\n")[2]
        view.close()


def test_notice_stays_above_the_foot_of_the_screen_and_is_said_once_more(
    terminal: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    master, slave = terminal
    set_size(master, 80, 24)
    now = [100.0]
    session = Session()
    session.fold(busy_stream())
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        view = LiveView(stream, clock=lambda: now[0], environment=COLOURS)
        drawn(master)
        view.notice("metrics at http://127.0.0.1:3000/metrics")
        assert "metrics at http" in drawn(master)
        now[0] += 1
        view.begin(session)
        shown = drawn(master)
        assert shown.count("\r\n") == 23
        *_, last_but_one, last = shown.split("\r\n")
        assert "metrics at http://127.0.0.1:3000/metrics" in last_but_one
        assert FOOTER in last
        set_size(master, 60, 15)
        now[0] += 1
        view.idle(session)
        low = drawn(master)
        assert low.count("\r\n") == 14
        assert "metrics at" not in low
        view.close()
    assert capsys.readouterr().err == "metrics at http://127.0.0.1:3000/metrics\n"


def test_plain_view_writes_a_line_for_each_notable_event_and_sums_up() -> None:
    written: list[str] = []
    session = Session()
    view = PlainLiveView(written.append)
    begun = False
    for line in busy_stream():
        events = session.fold([line])
        if not begun:
            view.begin(session)
            begun = True
        if line["kind"] == "health":
            view.update(events, session)
    lines = "".join(written).splitlines()
    assert lines[0] == "tracing cgroup demo on kernel 6.18.44; times are UTC"
    assert "not fully measured: tcp (some probe is missing)" in lines
    assert sum("no answer: look-up of silent-" in line for line in lines) == 12
    assert not any("10.0.0.5:80" in line for line in lines)
    sums = [line for line in lines if "so far" in line]
    assert len(sums) == 2
    assert "1.00 k/s events, 5,025 so far, 0 errors so far, lost 0" in sums[0]
    assert "DNS p50 9." in sums[0]


def test_storm_of_events_is_cut_and_counted() -> None:
    written: list[str] = []
    view = PlainLiveView(written.append, Style(unicode=False))
    storm = [
        examples.notable("reset", peer=f"\x1b[2J:{number}") for number in range(MOST_EVENTS + 7)
    ]
    view.update([*storm, storm[-1]], Session())
    lines = "".join(written).splitlines()
    assert len(lines) == MOST_EVENTS + 1
    assert lines[-1] == "... and 8 notable events more"
    assert r"connection reset by \x1b[2J:0: nginx (pid 12)" in lines[0]


def refused(pid: int, seconds: float, peer: str = "10.0.0.1:80") -> Notable:
    fields = {"peer": peer, "error": "ECONNREFUSED", "pid": pid, "duration_seconds": seconds}
    return examples.notable("connect_failed", **fields)


def test_equal_events_take_one_line() -> None:
    written: list[str] = []
    events = [refused(number, number / 1000) for number in range(1, 31)]
    events.insert(7, refused(12, 0.001, peer="10.0.0.2:81"))
    PlainLiveView(written.append).update(events, Session())
    lines = [line[9:] for line in "".join(written).splitlines()]
    assert lines == [
        "refused: connect to 10.0.0.2:81 by nginx (pid 12) after 1.00 ms",
        "x30 refused: connect to 10.0.0.1:80 by nginx after up to 30.0 ms",
    ]


def test_equal_events_of_all_ticks_are_one_in_the_frame() -> None:
    builder = FrameBuilder(Style())
    session = Session()
    session.fold(busy_stream())
    for _ in range(3):
        builder.note([refused(12, 0.001), refused(12, 0.002)])
    [line] = builder.frame(session).notable
    assert line[9:] == "x6 refused: connect to 10.0.0.1:80 by nginx (pid 12) after up to 2.00 ms"


def test_frame_says_how_many_events_it_does_not_know() -> None:
    frame = busy_frame()
    quality = dataclasses.replace(frame.snapshot.quality, suppressed=4321)
    snapshot = dataclasses.replace(frame.snapshot, quality=quality)
    lines = frame_lines(dataclasses.replace(frame, snapshot=snapshot), 12.0, Style(), 40)
    assert f"  {EVENTS_HEADING} (4,321 more are in the counts alone)" in lines
    heading = [line for line in lines if line.split()[-3:] == ["errors", "so", "far"]]
    assert len(heading) == 1


@pytest.mark.parametrize("answers", [0, 5])
def test_look_ups_without_an_answer_count_in_the_rate(answers: int) -> None:
    series = [factories.series("dns", answers, duration_ns=9_000_000)] if answers else []
    ticks = [
        factories.tick(*series, factories.series("dns_timeout", 2, name="a.example"))
        for _ in range(10)
    ]
    session = Session()
    session.fold(factories.stream(factories.hello(), *ticks))
    dns = FrameBuilder(Style()).frame(session).kinds[0]
    assert (dns.name, dns.errors) == ("DNS look-up", 20)
    assert dns.per_second == pytest.approx(answers + 2)


def pod(number: int) -> factories.Line:
    name = f"web-{number}"
    return factories.target(number, name, type="pod", namespace="shop", pod=name)


def test_plain_view_tells_pods_apart_as_their_tracers_come() -> None:
    def lines(number: int) -> list[factories.Line]:
        ticks = [
            factories.tick(
                factories.process(100, "app", target=number),
                factories.series("read", 10 * number, target=number),
                factories.series(
                    "connect", 0, peer="10.0.0.1:80", errors={"ECONNREFUSED": 1}, target=number
                ),
                factories.event("oom_kill", target=number),
            )
            for _ in range(6)
        ]
        hello = factories.hello(targets=[pod(number)], node=f"node-{number}")
        return [line | {"stream": number} for line in factories.stream(hello, *ticks)]

    written: list[str] = []
    session, view = Session(), PlainLiveView(written.append)
    first, second = lines(1), lines(2)
    session.fold(first[:1])
    view.begin(session)
    for one, two in zip(first[1:], second[1:], strict=True):
        if two["seq"] == 2:
            session.fold(second[:1])
        for line in (one, two):
            events = session.fold([line])
            if line["kind"] == "health":
                view.update(events, session)
    told = "".join(written).splitlines()
    assert told[0] == "tracing pod shop/web-1 on kernel 6.18.44; times are UTC"
    assert told[1] == "also tracing pod shop/web-2"
    assert told[2].endswith("[web-1/main] out of memory: app (pid 1) was killed")
    assert told[3].endswith("[web-2/main] out of memory: app (pid 1) was killed")
    sums = [line for line in told if "by pod so far" in line]
    assert sums[0].endswith("by pod so far: web-2 84 events 4 errors, web-1 55 events 5 errors")
