"""Which fields a line must and may have, and of which type.

A line that fails here is damage: it is dropped whole, so that nothing behind the decoder needs to
look at types again. Fields and kinds that are not listed belong to a newer minor version of the
schema and are passed over unread.
"""

from __future__ import annotations

from typing import Any, Callable

from podtrace.wire import schema
from podtrace.wire.histogram import SLOTS

Check = Callable[[Any], bool]

_LARGEST = 2**64


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _number(value: Any) -> bool:
    return type(value) is int and -_LARGEST < value < _LARGEST


def _text(value: Any) -> bool:
    return type(value) is str


def _flag(value: Any) -> bool:
    return type(value) is bool


def _counts(value: Any) -> bool:
    return type(value) is dict and all(_count(count) for count in value.values())


def _slots(value: Any) -> bool:
    return type(value) is list and all(
        type(pair) is list
        and len(pair) == 2
        and _count(pair[0])
        and pair[0] < SLOTS
        and _count(pair[1])
        for pair in value
    )


def _objects(fields: dict[str, Check]) -> Check:
    def check(value: Any) -> bool:
        return type(value) is list and all(
            type(item) is dict and _fits(item, fields, required=()) for item in value
        )

    return check


def _mapping(fields: dict[str, Check]) -> Check:
    def check(value: Any) -> bool:
        return type(value) is dict and _fits(value, fields, required=())

    return check


def _sections(value: Any) -> bool:
    fields: dict[str, Check] = {"state": _text, "reason": _text}
    return type(value) is dict and all(
        type(item) is dict and _fits(item, fields, required=("state",)) for item in value.values()
    )


def _names(value: Any) -> bool:
    return type(value) is list and all(_text(item) for item in value)


def _texts(value: Any) -> bool:
    return type(value) is dict and all(_text(item) for item in value.values())


_TARGET: dict[str, Check] = {
    "id": _count,
    "type": _text,
    "name": _text,
    "cgroup": _text,
    "pid": _count,
    "namespace": _text,
    "pod": _text,
    "containers": _names,
}
_PROBE: dict[str, Check] = {
    "name": _text,
    "family": _text,
    "hook": _text,
    "state": _text,
    "reason": _text,
}
_THRESHOLDS: dict[str, Check] = {
    "rtt_spike_ns": _count,
    "slow_file_ns": _count,
    "long_block_ns": _count,
    "dns_timeout_ns": _count,
}
_GAUGES: dict[str, Check] = {
    "dns_pending": _count,
    "connects_in_progress": _count,
    "processes": _count,
}
_TOTALS: dict[str, Check] = {
    "lines": _count,
    "ticks": _count,
    "lost": _counts,
    "suppressed": _count,
}

_FIELDS: dict[str, tuple[tuple[str, ...], dict[str, Check]]] = {
    schema.HELLO: (
        ("schema",),
        {
            "schema": _text,
            "tracer": _text,
            "kernel": _text,
            "arch": _text,
            "cgroup_mode": _text,
            "cpus": _count,
            "started_ns": _count,
            "window_start_ns": _count,
            "targets": _objects(_TARGET),
            "probes": _objects(_PROBE),
            "sections": _sections,
            "unmeasured": _names,
            "thresholds": _mapping(_THRESHOLDS),
            "map_bytes": _count,
            "deadline_ns": _count,
            "node": _text,
            "listener_check": _flag,
            "listener_reason": _text,
            "metrics": _text,
        },
    ),
    schema.SERIES: (
        ("metric", "process", "count"),
        {
            "metric": _text,
            "process": _number,
            "target": _count,
            "count": _count,
            "sum_ns": _count,
            "max_ns": _count,
            "slots": _slots,
            "bytes": _count,
            "errors": _counts,
            "wait_ns": _count,
            "again": _count,
            "slow": _count,
            "peer": _text,
            "name": _text,
            "path": _text,
            "reason": _text,
        },
    ),
    schema.PROCESS: (
        ("process",),
        {
            "process": _number,
            "pid": _count,
            "parent": _number,
            "name": _text,
            "container": _text,
            "target": _count,
            "start_ns": _count,
            "exit_ns": _count,
            "exit_code": _number,
            "entered": _flag,
        },
    ),
    schema.EVENT: (
        ("event",),
        {
            "event": _text,
            "process": _number,
            "target": _count,
            "duration_ns": _count,
            "peer": _text,
            "name": _text,
            "path": _text,
            "error": _text,
            "bytes": _count,
            "operation": _text,
            "reason": _text,
            "exit_code": _number,
            "count": _count,
            "detail": _text,
        },
    ),
    schema.HEALTH: (
        ("lines", "interval_ns"),
        {
            "lines": _count,
            "interval_ns": _count,
            "lost": _counts,
            "suppressed": _count,
            "overflow": _count,
            "gauges": _mapping(_GAUGES),
            "tracer_cpu_ns": _count,
            "tracer_rss_bytes": _count,
            "tracer_cgroup_bytes": _count,
            "bpf_ns_estimate": _count,
        },
    ),
    schema.END: (
        ("reason",),
        {"reason": _text, "totals": _mapping(_TOTALS), "exit_code": _number},
    ),
    schema.ERROR: (
        ("code", "message"),
        {"code": _text, "message": _text, "hint": _text},
    ),
    schema.NAMES: (("peers",), {"peers": _texts}),
}


def _fits(line: dict[str, Any], fields: dict[str, Check], required: tuple[str, ...]) -> bool:
    if any(line.get(name) is None for name in required):
        return False
    for name, value in line.items():
        check = fields.get(name)
        if check is not None and value is not None and not check(value):
            return False
    return True


def fault_of(line: dict[str, Any]) -> str | None:
    """Return what is wrong with a decoded line, as a reason to count under, or None."""
    kind = line.get("kind")
    if not _text(kind):
        return "no_kind"
    seq = line.get("seq")
    if not _count(seq) or seq == 0:
        return "no_seq"
    if not _count(line.get("time_ns")):
        return "no_time"
    stream = line.get("stream")
    if stream is not None and not _count(stream):
        return "bad_field"
    if kind not in _FIELDS:
        return None
    if kind in (schema.SERIES, schema.PROCESS, schema.EVENT, schema.HEALTH):
        tick = line.get("tick")
        if not _count(tick) or tick == 0:
            return "no_tick"
    required, fields = _FIELDS[kind]
    return None if _fits(line, fields, required) else "bad_field"
