"""Rules on processes and containers that ended, and on the trace itself."""

from __future__ import annotations

import signal
from collections import Counter

from podtrace.model.blame import shares
from podtrace.model.clock import time_of_day
from podtrace.model.findings import Facts, Finding, Rule, listed
from podtrace.model.incidents import Incident
from podtrace.model.wording import number, percent

CRASH_SIGNALS = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
)


MOST_LISTED = 5
MOST_DETAIL = 120
MOST_NOTE = 300


def _oom_killed(facts: Facts) -> Finding | None:
    kills = facts.ledger.event_lines["oom_kill"]
    if not kills:
        return None
    return Finding(
        severity="critical",
        title=f"Killed for lack of memory: {number(kills, 'process', 'processes')}",
        evidence=(
            f"{number(kills, 'OOM kill')} in the target (threshold 1)",
            *_told(facts, "oom_kill", kills),
        ),
        next_step="Raise the memory limit, or find what grows: compare the limit with the "
        "working set.",
        samples=50,
        impact=100.0,
        by_target=shares(facts.ledger.targets, lambda sums: sums.oom_kills),
    )


def _processes_crashed(facts: Facts) -> Finding | None:
    crashes = [
        (f"{name} by {signal.Signals(number).name}", count)
        for (name, number), count in facts.ledger.processes.crashes.items()
        if number in CRASH_SIGNALS
    ]
    total = sum(count for _, count in crashes)
    if not total:
        return None
    by_target: Counter[int] = Counter()
    for (target, number_), count in facts.ledger.processes.crashes_by_target.items():
        if number_ in CRASH_SIGNALS:
            by_target[target] += count
    return Finding(
        severity="warning",
        title=f"Crashed: {number(total, 'process', 'processes')}",
        evidence=(f"ended by a signal (threshold 1): {listed(crashes)}",),
        next_step="Look at the container's log and core dumps of that time.",
        samples=50,
        impact=50.0,
        by_target=by_target,
    )


def _container_restarted(facts: Facts) -> Finding | None:
    restarts = facts.ledger.event_lines["container_restart"]
    if not restarts:
        return None
    return Finding(
        severity="warning",
        title=f"Restarted: {number(restarts, 'container')}",
        evidence=(
            f"{number(restarts, 'restart')} while tracing (threshold 1)",
            *_told(facts, "container_restart", restarts),
        ),
        next_step="Look at the last state and the previous log: kubectl describe pod, kubectl "
        "logs --previous.",
        samples=50,
        impact=40.0,
        explained_by=("oom_killed",),
        by_target=shares(facts.ledger.targets, lambda sums: sums.restarts),
    )


def _pod_state(facts: Facts) -> Finding | None:
    notes = facts.pod_notes
    if not notes:
        return None
    said = notes[0].text[:MOST_NOTE]
    pods = len({note.pod for note in notes})
    if pods > 1:
        said = f"trouble with {number(pods, 'pod')}"
    elif len(notes) > 1:
        said += f", and {number(len(notes) - 1, 'more thing')}"
    evidence = [f"pod {note.pod}: {note.text[:MOST_NOTE]}" for note in notes[:MOST_LISTED]]
    rest = len(notes) - len(evidence)
    return Finding(
        severity="warning",
        title=f"The cluster says: {said}",
        evidence=(*evidence, *([f"and {number(rest, 'more thing')}"] if rest > 0 else [])),
        next_step="Look at the last state and the previous log: kubectl describe pod, kubectl "
        "logs --previous.",
        samples=50,
        impact=45.0,
    )


def _pod_gone(facts: Facts) -> Finding | None:
    gone = {item.target for item in facts.ledger.incidents.of("target_gone")}
    pods = [facts.pods[target] for target in gone if target in facts.pods]
    if not pods:
        return None
    return Finding(
        severity="info",
        title=f"Gone while tracing: {len(pods):,} of {number(len(facts.pods), 'pod')}",
        evidence=_told(facts, "target_gone", len(pods)),
        next_step="Its events end there. Look at what removed it: kubectl get events, and whether "
        "its Deployment was rolled out or scaled down.",
        samples=50,
        impact=0.0,
    )


def _told(facts: Facts, event: str, count: int) -> tuple[str, ...]:
    """Return a sentence for each of the first incidents: what, where and when."""
    incidents = list(facts.ledger.incidents.of(event))[:MOST_LISTED]
    lines = [_sentence(incident, facts) for incident in incidents]
    rest = count - len(lines)
    return (*lines, *([f"and {number(rest, 'more time')}"] if lines and rest > 0 else []))


def _sentence(incident: Incident, facts: Facts) -> str:
    parts = [incident.process] if incident.process else []
    if incident.container:
        parts.append(f"container {incident.container}")
    pod = facts.pods.get(incident.target)
    if pod is not None and (len(facts.pods) > 1 or not parts):
        parts.append(f"pod {pod}")
    what = " in ".join(parts) or "in the target"
    detail = f" ({incident.detail[:MOST_DETAIL]})" if incident.detail else ""
    return f"{what} at {time_of_day(incident.time_ns)}{detail}"


def _data_lost(facts: Facts) -> Finding | None:
    lost = {place: count for place, count in facts.ledger.tracers.lost.items() if count}
    ratio, limit = facts.losses.ratio, facts.limits.lost_ratio
    if not lost and not ratio:
        return None
    if facts.losses.is_of_node:
        return _skipped_on_node(sum(lost.values()), ratio)
    evidence = [f"lost share {percent(ratio)} (threshold {percent(limit)})"]
    if lost:
        evidence.append(f"by place: {listed(list(lost.items()))}")
    return Finding(
        severity="warning" if ratio >= limit else "info",
        title=f"Part of the data was lost: {percent(ratio)}",
        evidence=tuple(evidence),
        counter_evidence=("what was lost is counted in Trace Quality",),
        next_step="Trace a smaller target or a shorter time; true counts are higher than shown.",
        samples=50,
        impact=0.0,
    )


def _skipped_on_node(skipped: int, ratio: float) -> Finding:
    return Finding(
        severity="info",
        title=f"Part of the data may be lost: at most {percent(ratio)}",
        evidence=(
            f"the kernel skipped {number(skipped, 'run')} of probes (threshold 1), counted for "
            "the whole node",
        ),
        counter_evidence=("how many of them were for the target, if any, is not known",),
        next_step="Trace again while the node is less busy, and compare: the kernel skips a probe "
        "that interrupts itself.",
        samples=1,
        impact=0.0,
    )


LIFECYCLE_RULES = (
    Rule("oom_killed", None, "a process was killed for lack of memory; critical", (), _oom_killed),
    Rule(
        "processes_crashed",
        None,
        "a process ended by SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE or SIGSYS; a warning",
        (),
        _processes_crashed,
    ),
    Rule(
        "container_restarted",
        None,
        "a container was started again; a warning",
        (),
        _container_restarted,
    ),
    Rule(
        "pod_state",
        None,
        "the cluster says that something is wrong with a pod, such as CrashLoopBackOff; a warning",
        (),
        _pod_state,
    ),
    Rule("pod_gone", None, "a pod was removed; told as info", (), _pod_gone),
    Rule(
        "data_lost",
        None,
        "records or ticks were lost; info below the threshold, and where all of it is counted for "
        "the whole node",
        ("lost_ratio",),
        _data_lost,
    ),
)
