"""Several tracers in one session: added up where they add up, kept apart where they do not."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import SECOND, START_NS, Tick, end, error, hello, process, series, stream, target
from factories import tick as tick_of
from podtrace.model.session import Session
from podtrace.model.snapshot import Snapshot, to_tree
from unit.model.test_session import VALIDATOR, everything

Line = dict[str, Any]


def numbered(number: int, *parts: Line | Tick, start_ns: int = START_NS) -> list[Line]:
    """Return the lines of one tracer, with the number of its stream."""
    return [line | {"stream": number} for line in stream(*parts, start_ns=start_ns)]


def node(name: str, target_id: int, **fields: Any) -> Line:
    """Return the hello of a tracer on a node, with one pod."""
    pod = f"web-{target_id}"
    pods = [target(target_id, pod, type="pod", namespace="shop", pod=pod)]
    return hello(node=name, targets=pods, **fields)


def merged(*streams: list[Line]) -> list[Line]:
    """Return the lines of several tracers in turn."""
    turns = itertools.zip_longest(*streams)
    return [line for turn in turns for line in turn if line is not None]


def folded(*streams: list[Line], expected: int = 0, finish: bool = True) -> Session:
    session = Session()
    session.streams_expected = expected
    session.fold(merged(*streams))
    if finish:
        session.finish()
    return session


def report(*streams: list[Line], expected: int = 0, finish: bool = True) -> Snapshot:
    snapshot = folded(*streams, expected=expected, finish=finish).snapshot()
    VALIDATOR.validate(to_tree(snapshot))
    return snapshot


def reads(count: int, **fields: Any) -> Tick:
    return tick_of(series("read", count=count, **fields))


def test_time_that_two_tracers_measured_counts_once() -> None:
    parts = [reads(10) for _ in range(20)]
    found = report(
        numbered(1, node("a", 1), *parts, end()), numbered(2, node("b", 2), *parts, end())
    )
    assert (found.window.seconds, found.window.measured_seconds, found.window.ticks) == (20, 20, 20)
    assert (found.summary.events, found.summary.events_per_second) == (400, 20)
    assert found.window.complete
    assert [bucket.seconds for bucket in found.timeline.buckets] == [1] * 20
    assert [bucket.events for bucket in found.timeline.buckets] == [20] * 20
    assert found.quality.stream.missing_lines == found.quality.stream.repeated_lines == 0
    assert found.target.nodes == ("a", "b")


def test_tracers_that_begin_apart_cover_the_time_of_both() -> None:
    late = START_NS + 3 * SECOND
    found = report(
        numbered(1, node("a", 1), *(reads(10) for _ in range(20)), end()),
        numbered(
            2,
            node("b", 2, window_start_ns=late),
            *(reads(10) for _ in range(20)),
            end(),
            start_ns=late,
        ),
    )
    assert (found.window.seconds, found.window.measured_seconds) == (23, 23)
    assert found.window.complete
    assert [bucket.events for bucket in found.timeline.buckets] == [10] * 3 + [20] * 17 + [10] * 3


def test_same_pid_on_two_nodes_is_two_processes() -> None:
    streams = [
        numbered(
            number,
            node(name, number),
            tick_of(
                process(100, f"app-{name}", target=number, start_ns=5),
                series("read", count=number, target=number),
                series("read", count=3, target=number, process=0),
                series("cpu", count=0, sum_ns=number * SECOND, target=number),
            ),
            end(),
        )
        for number, name in enumerate("ab", start=1)
    ]
    found = report(*streams)
    assert found.process_activity
    assert found.cpu_usage
    rows = [(row.process, row.host_pid, row.pod, row.events) for row in found.process_activity]
    assert sorted(rows, key=str) == [
        ("(unknown)", None, "web-1", 3),
        ("(unknown)", None, "web-2", 3),
        ("app-a", 100, "web-1", 1),
        ("app-b", 100, "web-2", 2),
    ]
    assert [(row.process, row.pod, row.cpu_seconds) for row in found.cpu_usage] == [
        ("app-b", "web-2", 2),
        ("app-a", "web-1", 1),
    ]
    assert found.summary.processes == 2


def test_gauges_and_costs_are_sums_over_the_tracers() -> None:
    def lines(number: int, name: str, pending: int) -> list[Line]:
        first = tick_of(gauges={"dns_pending": 50}, tracer_rss_bytes=40 << 20)
        last = tick_of(
            gauges={"dns_pending": pending, "connects_in_progress": 1},
            tracer_rss_bytes=number << 20,
            lost={"ring_full": number},
            suppressed=2,
            overflow=3,
        )
        return numbered(number, node(name, number), first, last, end())

    found = report(lines(1, "a", 4), lines(2, "b", 7))
    assert found.dns
    assert found.connections
    assert (found.dns.pending, found.connections.in_progress) == (11, 2)
    quality = found.quality
    assert quality.tracer_memory_bytes == 80 << 20
    assert quality.map_bytes == 16 << 20
    assert quality.tracer_cpu_seconds == 0.004
    assert (quality.lost, quality.suppressed, quality.overflow) == ({"ring_full": 3}, 4, 6)
    assert [(row.node, row.lost_total, row.memory_bytes) for row in quality.tracers] == [
        ("a", 1, 40 << 20),
        ("b", 2, 40 << 20),
    ]


def test_section_is_degraded_where_one_node_lacks_it_and_names_the_node() -> None:
    found = report(
        numbered(1, node("a", 1), reads(1), end()),
        numbered(2, node("b", 2, blank=["dns"], degraded=["tcp"]), reads(1), end()),
    )
    assert found.dns is not None
    assert [
        (item.section, item.state, item.reason) for item in found.quality.degraded_sections
    ] == [
        ("dns", "degraded", "on b: not measured: no probe attached"),
        ("tcp", "degraded", "on b: some probe is missing"),
    ]
    assert [probe.node for probe in found.quality.probes] == ["a", "a", "b", "b"]


def test_section_that_no_node_has_is_blank_with_its_reason() -> None:
    streams = [
        numbered(n, node(f"n{n}", n, blank=["dns"], unmeasured=["rtt"]), reads(1), end())
        for n in (1, 2)
    ]
    found = report(*streams)
    assert found.dns is None
    assert found.tcp is not None
    assert found.tcp.rtt is None
    (section,) = found.quality.degraded_sections
    assert (section.state, section.reason) == ("blank", "no probe attached")


def test_metric_that_one_node_measures_is_measured() -> None:
    found = report(
        numbered(1, node("a", 1, unmeasured=["rtt"]), reads(1), end()),
        numbered(2, node("b", 2), reads(1), end()),
    )
    assert found.tcp
    assert found.tcp.rtt is not None


def test_tracer_that_never_came_makes_the_trace_incomplete() -> None:
    session = Session()
    session.streams_expected = 3
    session.name_nodes({1: "a", 2: "b", 3: "c"})
    session.fold(merged(numbered(1, node("a", 1), reads(1), end())))
    assert session.hello is not None
    assert session.end is None
    assert session.snapshot().window.incomplete_reason == "tracing goes on"
    session.finish()
    found = session.snapshot()
    assert not found.window.complete
    assert found.window.incomplete_reason == "on b, c: nothing was received from the tracer"
    assert [row.complete for row in found.quality.tracers] == [True, False, False]
    assert found.verdict.status == "incomplete"


def test_stream_that_breaks_off_names_its_node() -> None:
    found = report(
        numbered(1, node("a", 1), reads(1), reads(1), end()), numbered(2, node("b", 2), reads(1))
    )
    assert found.window.incomplete_reason == "on b: the tracer ended without its last line"


def test_missing_tick_names_its_node() -> None:
    torn = [
        line for line in numbered(2, node("b", 2), reads(1), reads(1), end()) if line["seq"] != 2
    ]
    found = report(numbered(1, node("a", 1), reads(1), reads(1), end()), torn)
    assert found.window.incomplete_reason == "on b: 1 of 2 ticks did not arrive whole"
    assert found.quality.stream.incomplete_ticks == 1


def test_tracer_that_ends_long_before_the_others_is_incomplete_and_says_why() -> None:
    early = numbered(2, node("b", 2), reads(1), end("target_gone"))
    late = numbered(1, node("a", 1), *(reads(1) for _ in range(12)), end())
    found = report(late, early)
    assert found.window.incomplete_reason == (
        "on b: the tracer ended 11 s before the others: the target was gone"
    )
    assert found.window.end_reason == "deadline"


@pytest.mark.parametrize("reason", ["deadline", "signal"])
def test_ends_close_to_each_other_are_complete(reason: str) -> None:
    first = numbered(1, node("a", 1), *(reads(1) for _ in range(3)), end(reason))
    other = numbered(2, node("b", 2), *(reads(1) for _ in range(5)), end(reason))
    assert report(first, other).window.complete


def test_clocks_apart_do_not_make_an_early_end() -> None:
    behind = START_NS - 3600 * SECOND
    found = report(
        numbered(1, node("a", 1), *(reads(1) for _ in range(4)), end("signal")),
        numbered(
            2,
            node("b", 2, window_start_ns=behind),
            *(reads(1) for _ in range(4)),
            end("signal"),
            start_ns=behind,
        ),
    )
    assert found.window.complete


def test_end_comes_when_every_stream_has_ended() -> None:
    one = numbered(1, node("a", 1), reads(1), end("signal"))
    two = numbered(2, node("b", 2), reads(1), reads(1), end("deadline"))
    session = folded(one, two[:-1], finish=False)
    assert session.end is None
    session.fold(two[-1:])
    assert session.end is not None
    assert session.end["reason"] == "deadline"
    assert session.end["tick"] == 2


def test_error_comes_when_the_others_do_not_go_on() -> None:
    one = numbered(1, node("a", 1), reads(1), reads(1), end())
    gone = numbered(2, error(message="no BTF"))
    session = folded(one[:-1], gone, finish=False)
    assert session.error is None
    assert session.snapshot().window.incomplete_reason == "on tracer 2: the tracer gave up: no BTF"
    session.fold(one[-1:])
    assert session.error is not None
    assert session.error["message"] == "on tracer 2: no BTF"
    assert session.end is None


def test_recent_rates_are_those_of_all_tracers_whatever_their_clocks_say() -> None:
    behind = START_NS - 3600 * SECOND
    parts = [reads(100, duration_ns=1_000_000) for _ in range(20)]
    session = folded(
        numbered(1, node("a", 1), *parts),
        numbered(2, node("b", 2, window_start_ns=behind), *parts, start_ns=behind),
        finish=False,
    )
    recent = session.recent(10)
    assert (recent.seconds, recent.events, recent.events_per_second) == (10, 2000, 200)


def test_recent_rates_wait_for_the_tracers_that_are_due() -> None:
    parts = [reads(100) for _ in range(6)]
    lines = merged(numbered(1, node("a", 1), *parts), numbered(2, node("b", 2), *parts))
    session = folded(lines[:-1], finish=False)
    assert lines[-1]["kind"] == "health"
    recent = session.recent(3)
    assert (recent.seconds, recent.events_per_second) == (3, 200)


def test_recent_rates_do_not_wait_for_a_tracer_that_is_gone() -> None:
    one = numbered(1, node("a", 1), *(reads(100) for _ in range(8)))
    two = numbered(2, node("b", 2), reads(100), end("target_gone"))
    assert folded(one, two, finish=False).recent(3).events_per_second == 100


def test_peak_is_that_of_all_tracers_together() -> None:
    parts = [tick_of(series("send", count=1, bytes=size)) for size in (100, 900, 100)]
    found = report(
        numbered(1, node("a", 1), *parts, end()), numbered(2, node("b", 2), *parts, end())
    )
    assert found.network_io
    assert found.network_io.peak_sent_bytes_per_second == 1800
    assert found.network_io.peak_start == "2025-10-09T08:53:21.000Z"


def whole_tree(lines: list[Line]) -> dict[str, Any]:
    session = Session()
    session.fold(lines)
    session.finish()
    tree = to_tree(session.snapshot())
    for period in tree["bursts"]["periods"]:
        del period["leading_process"]
    for name in ("target", "quality"):
        del tree[name]
    return tree


def split(ticks: list[list[Line]], streams: int, of: dict[int, int]) -> list[list[Line]]:
    """Return the streams of tracers that have the processes that `of` gives them."""
    gauges = {"dns_pending": 0, "connects_in_progress": 0}
    parts: list[list[Line]] = []
    for number in range(1, streams + 1):
        own = [
            tick_of(*(line for line in lines if of[line["process"]] == number), gauges=gauges)
            for lines in ticks
        ]
        parts.append(numbered(number, hello(node=f"n{number}"), *own, end()))
    return parts


METRICS = ["read", "connect", "dns", "dns_timeout", "send", "rtt", "retransmit", "open", "cpu"]


@st.composite
def ticks_of_processes(draw: st.DrawFn) -> list[list[Line]]:
    def one() -> Line:
        metric = draw(st.sampled_from(METRICS))
        fields: Line = {"process": draw(st.integers(1, 6))}
        if metric in ("connect", "rtt", "retransmit"):
            fields["peer"] = draw(st.sampled_from(["10.0.0.1:80", "[::1]:82"]))
        if metric in ("dns", "dns_timeout"):
            fields["name"] = draw(st.sampled_from(["a.example", "b.example"]))
        if metric in ("connect", "dns", "open"):
            fields["errors"] = {"EIO": draw(st.integers(0, 3))}
        if metric == "cpu":
            return series(metric, count=0, sum_ns=draw(st.integers(0, SECOND)), **fields)
        durations = draw(st.lists(st.integers(1, 10**10), min_size=1, max_size=4))
        return series(metric, duration_ns=durations, bytes=draw(st.integers(0, 10**6)), **fields)

    return [[one() for _ in range(draw(st.integers(0, 6)))] for _ in range(draw(st.integers(1, 8)))]


@settings(max_examples=60)
@given(ticks_of_processes(), st.integers(2, 4), st.randoms(use_true_random=False))
def test_a_stream_split_by_process_gives_the_same_report(
    ticks: list[list[Line]], streams: int, chance: random.Random
) -> None:
    of = {pid: chance.randint(1, streams) for pid in range(1, 7)}
    gauges = {"dns_pending": 0, "connects_in_progress": 0}
    single = stream(hello(), *(tick_of(*lines, gauges=gauges) for lines in ticks), end())
    queues = split(ticks, streams, of)
    shuffled: list[Line] = []
    while any(queues):
        shuffled.append(chance.choice([queue for queue in queues if queue]).pop(0))
    assert whole_tree(shuffled) == whole_tree(single)


def test_everything_of_two_nodes_is_the_double_of_one() -> None:
    one = report(numbered(1, node("a", 1), tick_of(*everything()), end()))
    both = report(
        numbered(1, node("a", 1), tick_of(*everything()), end()),
        numbered(2, node("b", 2), tick_of(*everything()), end()),
    )
    assert one.summary.events
    assert both.summary.events == 2 * one.summary.events
    assert both.window == one.window


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from([0, 1, 2, 1000, 1001, 2**63, -1, None, "1", 1.0, True, [], {}]),
        ),
        max_size=40,
    )
)
def test_hostile_numbers_of_streams_are_damage_and_never_raise(
    picked: list[tuple[int, object]],
) -> None:
    lines = numbered(0, node("a", 1), reads(3, target=2**60), end())
    session = Session()
    for index, number in picked:
        session.feed(json.dumps(lines[index % len(lines)] | {"stream": number}).encode() + b"\n")
    session.finish()
    snapshot = session.snapshot()
    VALIDATOR.validate(to_tree(snapshot))
    streams = {
        number or 0
        for _, number in picked
        if number is None or (type(number) is int and 0 <= number <= 1000)
    }
    assert {row.stream for row in snapshot.quality.tracers} == streams
    bad = sum(
        number is not None and (type(number) is not int or not 0 <= number <= 1000)
        for _, number in picked
    )
    assert sum(snapshot.quality.stream.damaged.values()) == bad
