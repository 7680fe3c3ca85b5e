"""Builders of streams for the tests: every line valid, `seq` and `tick` numbered by themselves.

A stream is built from parts in order:

    stream(hello(), tick(series("read", count=3, duration_ns=2_000_000)), tick(), end())

Parts without a place in a tick (`hello`, `end`, `error`) stand alone; `tick` closes its lines with
a `health` line. `encoded` gives the bytes that a tracer would have written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from podtrace.wire.codec import encode
from podtrace.wire.histogram import slot_of

Line = dict[str, Any]

SECOND = 1_000_000_000
START_NS = 1_760_000_000 * SECOND
"""Wall-clock time at which built streams begin: 20 seconds past a whole minute."""

SECTIONS = (
    "dns",
    "tcp",
    "connections",
    "filesystem",
    "io_other",
    "cpu",
    "cpu_usage",
    "process_activity",
)


class Tick(list[Line]):
    """The lines of one tick; `interval_ns` is its length."""

    interval_ns = SECOND


def hello(
    *,
    blank: Iterable[str] = (),
    degraded: Iterable[str] = (),
    targets: Sequence[Line] | None = None,
    **fields: Any,
) -> Line:
    """Return a hello line; sections in `blank` and `degraded` are so, the others full."""
    states = dict.fromkeys(SECTIONS, "full")
    states |= dict.fromkeys(degraded, "degraded") | dict.fromkeys(blank, "blank")
    reasons = {"full": None, "degraded": "some probe is missing", "blank": "no probe attached"}
    line: Line = {
        "kind": "hello",
        "schema": "1.1",
        "tracer": "0.1.0",
        "kernel": "6.18.44",
        "arch": "x86_64",
        "cgroup_mode": "v2",
        "cpus": 2,
        "window_start_ns": START_NS,
        "targets": [target()] if targets is None else list(targets),
        "probes": [probe("connect", family="tcp"), probe("read", family="filesystem")],
        "sections": {
            name: {"state": state, "reason": reasons[state]} for name, state in states.items()
        },
        "thresholds": {
            "rtt_spike_ns": 100_000_000,
            "slow_file_ns": 10_000_000,
            "long_block_ns": 100_000_000,
            "dns_timeout_ns": 5 * SECOND,
        },
        "map_bytes": 8 << 20,
        "deadline_ns": None,
    }
    return line | fields


def target(number: int = 1, name: str = "demo", **fields: Any) -> Line:
    """Return one entry of hello's `targets`."""
    line: Line = {
        "id": number,
        "type": "cgroup",
        "name": name,
        "cgroup": f"/sys/fs/cgroup/{name}",
        "pid": None,
        "namespace": None,
        "pod": None,
    }
    return line | fields


def probe(name: str, *, family: str, state: str = "attached", **fields: Any) -> Line:
    """Return one entry of hello's `probes`."""
    line: Line = {
        "name": name,
        "family": family,
        "hook": f"tp_btf/{name}",
        "state": state,
        "reason": None if state == "attached" else "this kernel does not have it",
    }
    return line | fields


def series(
    metric: str,
    count: int | None = None,
    *,
    process: int = 100,
    duration_ns: int | Sequence[int] | None = None,
    **fields: Any,
) -> Line:
    """Return a series line.

    `duration_ns` is one duration for all `count` operations, or one for each; it fills `sum_ns`,
    `max_ns` and `slots`.
    """
    line: Line = {"kind": "series", "metric": metric, "process": process, "target": 1}
    if isinstance(duration_ns, int):
        durations: Sequence[int] = [duration_ns] * (1 if count is None else count)
    else:
        durations = [] if duration_ns is None else duration_ns
    line["count"] = len(durations) if count is None else count
    if durations:
        slots: dict[int, int] = {}
        for duration in durations:
            slots[slot_of(duration)] = slots.get(slot_of(duration), 0) + 1
        line |= {"sum_ns": sum(durations), "max_ns": max(durations)}
        line["slots"] = [[slot, number] for slot, number in sorted(slots.items())]
    return line | fields


def process(number: int = 100, name: str = "app", **fields: Any) -> Line:
    """Return a process line; the PID in the container is the host PID minus 99."""
    line: Line = {
        "kind": "process",
        "process": number,
        "pid": number - 99,
        "parent": 1,
        "name": name,
        "container": "main",
        "target": 1,
        "start_ns": None,
        "exit_ns": None,
        "exit_code": None,
        "entered": False,
    }
    return line | fields


def event(name: str, /, *, process: int = 100, **fields: Any) -> Line:
    """Return an event line."""
    return {"kind": "event", "event": name, "process": process, "target": 1, **fields}


def health(**fields: Any) -> Line:
    """Return a health line; `tick` and `stream` fill `lines` and the times."""
    line: Line = {
        "kind": "health",
        "lost": {},
        "suppressed": 0,
        "overflow": 0,
        "gauges": {"dns_pending": 0, "connects_in_progress": 0, "processes": 1},
        "tracer_cpu_ns": 1_000_000,
        "tracer_rss_bytes": 20 << 20,
        "tracer_cgroup_bytes": None,
        "bpf_ns_estimate": None,
    }
    return line | fields


def tick(*lines: Line, seconds: float = 1, **health_fields: Any) -> Tick:
    """Return a tick of these lines, closed by a health line with these fields."""
    closed = Tick(lines)
    closed.interval_ns = round(seconds * SECOND)
    closed.append(
        health(**{"lines": len(lines) + 1, "interval_ns": closed.interval_ns, **health_fields})
    )
    return closed


def end(reason: str = "deadline", *, exit_code: int | None = None) -> Line:
    """Return an end line; `stream` fills the totals."""
    return {"kind": "end", "reason": reason, "exit_code": exit_code}


def error(code: str = "no_btf", message: str = "no BTF", hint: str = "newer kernel") -> Line:
    """Return an error line."""
    return {"kind": "error", "code": code, "message": message, "hint": hint}


def stream(*parts: Line | Tick, start_ns: int = START_NS) -> list[Line]:
    """Return the lines of all parts in order, numbered and timed; ticks follow each other."""
    lines: list[Line] = []
    now_ns = start_ns
    ticks = 0
    for part in parts:
        if isinstance(part, Tick):
            ticks += 1
            now_ns += part.interval_ns
        for line in part if isinstance(part, Tick) else [part]:
            numbered = {"kind": line["kind"], "seq": len(lines) + 1, "time_ns": now_ns}
            numbered["tick"] = 0 if line["kind"] == "hello" else ticks
            if line["kind"] == "end":
                numbered["totals"] = {"lines": len(lines) + 1, "ticks": ticks, "lost": {}}
            lines.append(numbered | {key: line[key] for key in line if key != "kind"})
    return lines


def encoded(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the lines as the tracer writes them."""
    return b"".join(encode(dict(line)) for line in lines)
