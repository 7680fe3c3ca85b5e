"""The hello lines of several tracers as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podtrace.model.tally import SECTION_OF_METRIC
from podtrace.model.wording import on_nodes
from podtrace.wire.schema import METRICS

Line = dict[str, Any]

FULL, DEGRADED, BLANK = "full", "degraded", "blank"


def merged_hello(hellos: Sequence[tuple[str, Line]]) -> Line | None:
    """Return what all tracers together say, None without any; of a single one, its own line.

    A section that some tracer has in part or not at all is degraded, and its reason names the
    nodes. A metric is unmeasured only where no tracer measures it.

    Args:
        hellos: the name of each node, and the line of its tracer.
    """
    lines = [line for _, line in hellos]
    if len(lines) < 2:
        return lines[0] if lines else None
    first = lines[0]
    deadlines = [line["deadline_ns"] for line in lines if line.get("deadline_ns")]
    starts = [line["window_start_ns"] for line in lines if line.get("window_start_ns")]
    return first | {
        "kernel": _common(lines, "kernel"),
        "arch": _common(lines, "arch"),
        "cgroup_mode": _common(lines, "cgroup_mode"),
        "tracer": _common(lines, "tracer"),
        "cpus": sum(line.get("cpus") or 0 for line in lines) or None,
        "window_start_ns": min(starts, default=None),
        "targets": [target for line in lines for target in line.get("targets") or ()],
        "probes": [
            probe | {"node": node} for node, line in hellos for probe in line.get("probes") or ()
        ],
        "sections": _sections(hellos),
        "unmeasured": [
            metric for metric in METRICS if not any(_measures(line, metric) for line in lines)
        ],
        "map_bytes": sum(line.get("map_bytes") or 0 for line in lines) or None,
        "deadline_ns": max(deadlines) if len(deadlines) == len(lines) else None,
        "node": None,
    }


def _common(lines: Sequence[Line], field: str) -> str | None:
    """Return the values of a text field, each once."""
    values = dict.fromkeys(line[field] for line in lines if line.get(field))
    return ", ".join(values) or None


def _measures(line: Line, metric: str) -> bool:
    state = (line.get("sections") or {}).get(SECTION_OF_METRIC[metric]) or {}
    return state.get("state") != BLANK and metric not in (line.get("unmeasured") or ())


def _sections(hellos: Sequence[tuple[str, Line]]) -> Line:
    names = dict.fromkeys(name for _, line in hellos for name in line.get("sections") or ())
    return {
        name: _section([(node, (line.get("sections") or {}).get(name)) for node, line in hellos])
        for name in names
    }


def _section(by_node: Sequence[tuple[str, Line | None]]) -> Line:
    unknown = {"state": DEGRADED, "reason": "the tracer did not say"}
    found = [(node, item or unknown) for node, item in by_node]
    states = {item["state"] for _, item in found}
    lacking = [(node, item) for node, item in found if item["state"] != FULL]
    if not lacking:
        return {"state": FULL, "reason": None}
    reasons = {item.get("reason") for _, item in lacking}
    if len(states) == 1 and len(reasons) == 1:
        return lacking[0][1]
    by_reason: dict[str, list[str]] = {}
    for node, item in lacking:
        reason = item.get("reason") or "no reason given"
        text = f"not measured: {reason}" if item["state"] == BLANK else reason
        by_reason.setdefault(text, []).append(node)
    return {
        "state": BLANK if states == {BLANK} else DEGRADED,
        "reason": "; ".join(f"{on_nodes(nodes)}: {text}" for text, nodes in by_reason.items()),
    }
