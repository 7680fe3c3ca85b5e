"""A trace of a second, to hear from the tracer itself what it can measure on a node.

Nothing but a tracer that has attached its probes knows a kernel: whether it has type information,
is locked down, or refuses one of the programs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from podtrace.checkup import OK, SKIPPED, WARNING, Check, SectionOutlook, check_of
from podtrace.errors import PodtraceError, StreamError, TracerError
from podtrace.source import LineSource
from podtrace.wire.codec import Decoder
from podtrace.wire.ticks import SchemaMismatchError, Ticks

SECONDS = 1.0
"""Length of the trace."""
LONGEST_SECONDS = 30.0
"""A tracer that has attached its probes and does not end within this hangs."""

_ATTACHED = "attached"
_FULL = "full"
_WORSE = ("full", "degraded", "blank")
_MOST_PROBES = 3


@dataclass(frozen=True)
class Rehearsal:
    """What came of it on one node; sections is None where no tracer could say."""

    node: str
    check: Check
    sections: Mapping[str, SectionOutlook] | None = None


def rehearse(
    source: LineSource, node: str, clock: Callable[[], float] = time.monotonic
) -> Rehearsal:
    """Read a short stream to its end and judge it.

    Args:
        source: the stream of one tracer; it is closed.
        node: where the tracer runs.
        clock: monotonic seconds.
    """
    label = f"Trace on {node}"
    try:
        hello, began, ended = _listen(source, clock)
    except PodtraceError as error:
        return Rehearsal(node, check_of(label, error))
    sections = {
        str(key): SectionOutlook(str(each.get("state") or _FULL), each.get("reason"))
        for key, each in (hello.get("sections") or {}).items()
    }
    return Rehearsal(node, _judge(label, hello, sections, ended - began), sections)


def not_rehearsed(nodes: Iterable[str], why: str) -> list[Check]:
    """Return the checks that say that no tracer was started, on these nodes or on any."""
    labels = [f"Trace on {node}" for node in nodes] or ["Trace"]
    return [Check(label, SKIPPED, why) for label in labels]


def worst_sections(rehearsals: Iterable[Rehearsal]) -> dict[str, SectionOutlook] | None:
    """Return for each section the worst that any node says, naming the node where several ran.

    Returns None where no tracer could say anything.
    """
    told = [each for each in rehearsals if each.sections is not None]
    if not told:
        return None
    worst: dict[str, SectionOutlook] = {}
    for each in told:
        for key, outlook in (each.sections or {}).items():
            known = worst.get(key)
            if known is None or _rank(outlook) > _rank(known):
                worst[key] = _on_node(outlook, each.node) if len(told) > 1 else outlook
    return worst


def _listen(
    source: LineSource, clock: Callable[[], float]
) -> tuple[Mapping[str, Any], float, float]:
    """Return the hello line, and when the tracer was asked for and ready.

    Raises:
        PodtraceError: the tracer did not start, gave up, or did not come to its end.
    """
    decoder, ticks = Decoder(), Ticks()
    began = clock()
    ready: float | None = None
    try:
        for chunk in source:
            for line in decoder.feed(chunk):
                ticks.feed(line)
            if ticks.hello is not None and ready is None:
                ready = clock()
            if ready is not None and clock() - ready > LONGEST_SECONDS:
                raise StreamError(
                    f"the tracer did not end within {LONGEST_SECONDS:.0f} s, and was removed",
                    "run doctor again; if it stays so, look at the tracer with --keep",
                )
    except SchemaMismatchError as error:
        raise StreamError(
            f"the tracer image speaks schema {error.found}, this podtrace reads {error.supported}",
            "use a plugin and a tracer image of the same release: --tracer-image",
        ) from error
    finally:
        source.close()
    if ticks.error is not None:
        raise TracerError(str(ticks.error["message"]), ticks.error.get("hint"))
    if (trouble := source.trouble()) is not None:
        raise trouble
    if ticks.hello is None or ready is None or ticks.end is None:
        raise StreamError(
            "the stream of the tracer ended without its last line", "run doctor again"
        )
    return ticks.hello, began, ready


def _judge(
    label: str, hello: Mapping[str, Any], sections: Mapping[str, SectionOutlook], seconds: float
) -> Check:
    probes = [each for each in hello.get("probes") or () if isinstance(each, dict)]
    missing = [each for each in probes if each.get("state") != _ATTACHED]
    found = (
        f"kernel {hello.get('kernel')} {hello.get('arch')}, cgroups {hello.get('cgroup_mode')}: "
        f"{len(probes) - len(missing)} of {len(probes)} probes attached, ready {seconds:.1f} s "
        "after the start"
    )
    problems, advice = [], []
    poor = sorted(key for key, outlook in sections.items() if outlook.state != _FULL)
    if poor:
        problems.append(f"not full: {', '.join(poor)}")
        advice += [f"{each.get('name')}: {each.get('reason')}" for each in missing[:_MOST_PROBES]]
        advice.append("for all of the report, trace pods on a node with a newer kernel")
    if hello.get("listener_check") is False:
        problems.append("the tracer cannot tell whether anybody reads its log")
        advice.append(
            f"{hello.get('listener_reason') or 'it sees no reader'}; it ends at its time limit"
        )
    if problems:
        return Check(label, WARNING, f"{found}; {'; '.join(problems)}", "\n".join(advice))
    return Check(label, OK, found)


def _rank(outlook: SectionOutlook) -> int:
    return _WORSE.index(outlook.state) if outlook.state in _WORSE else 1


def _on_node(outlook: SectionOutlook, node: str) -> SectionOutlook:
    if outlook.state == _FULL:
        return outlook
    return SectionOutlook(outlook.state, f"on {node}: {outlook.reason or 'no reason given'}")
