"""Rules on TCP: connects, round trips and lost segments."""

from __future__ import annotations

from collections.abc import Callable

from podtrace.model.blame import shares
from podtrace.model.findings import (
    Facts,
    Finding,
    Rule,
    blamed,
    graded,
    graded_failures,
    listed,
    longest_by,
    share_of,
    slow,
    worst,
)
from podtrace.model.labels import Row, is_loopback, names_one_thing
from podtrace.model.tally import NOTHING, Tally
from podtrace.model.wording import percent, seconds, shortened

SEGMENT_BYTES = 1448
"""Payload of a full TCP segment on Ethernet; estimates how many segments were sent."""
LOST_SYN_SECONDS = 0.9
"""A lost SYN is sent again after a second (RFC 6298)."""


def _connects_failing(facts: Facts) -> Finding | None:
    connects, limits = facts.ledger.total("connect"), facts.limits
    bad, all_ = connects.failed, connects.count + connects.failed
    severity = graded_failures(bad, all_, limits.connect_failed_ratio, limits)
    if severity is None:
        return None
    counter = [f"{all_ - bad:,} connects were established"] if all_ > bad else []
    for version, other in ((4, 6), (6, 4)):
        failed = facts.ledger.connect_families[version].get("connect", NOTHING).failed
        others = facts.ledger.connect_families[other].get("connect", NOTHING)
        if failed == bad and others.count:
            counter.append(f"only IPv{version} connects fail; IPv{other} works")
    return Finding(
        severity=severity,
        title=f"TCP connects fail: {bad:,} of {all_:,} ({percent(bad / all_)})"
        + blamed(facts, "peer", _failed, bad, "to"),
        evidence=(
            f"failed {share_of(bad, all_, 'connects', limits.connect_failed_ratio)}",
            f"by error: {listed(list(connects.errors.items()))}",
            f"most failures: {worst(facts, 'peer', _failed)}",
        ),
        counter_evidence=tuple(counter),
        next_step=_connect_advice(connects),
        samples=all_,
        impact=bad / all_ / max(limits.connect_failed_ratio, 1e-9),
        by_target=shares(facts.ledger.targets, lambda sums: sums.total("connect").failed),
    )


def _connect_target_failing(facts: Facts) -> Finding | None:
    """Find a target that few connects go to, and most of them fail."""
    limits, connects = facts.limits, facts.ledger.total("connect")
    failed, all_ = connects.failed, connects.count + connects.failed
    if not connects.count or failed >= limits.connect_failed_ratio * all_:
        return None
    dead: dict[str, tuple[int, int]] = {}
    for label, row in facts.ledger.labels["peer"].rows.items():
        target = row.get("connect", NOTHING)
        attempts = target.count + target.failed
        mostly = target.failed >= limits.critical_ratio * attempts
        if names_one_thing(label) and mostly and target.failed >= limits.least_count:
            dead[label] = (target.failed, attempts)
    if not dead:
        return None
    name = facts.peers.with_name
    failing = sum(bad for bad, _ in dead.values())
    begun = sum(attempts for _, attempts in dead.values())
    only = shortened(name(next(iter(dead))))
    targets = only if len(dead) == 1 else f"{len(dead):,} targets"
    return Finding(
        severity="info",
        title=f"TCP connects to {targets} fail: {failing:,} of {begun:,}",
        evidence=(
            f"failed {share_of(failing, begun, 'connects', limits.critical_ratio)}",
            f"targets: {listed([(label, bad) for label, (bad, _) in dead.items()], name=name)}",
        ),
        counter_evidence=(f"of all connects only {percent(failed / all_)} fail",),
        next_step="Ask whether the program needs these targets: an optional one may be down on "
        "purpose.",
        samples=begun,
        impact=failing / begun,
    )


def _connect_advice(connects: Tally) -> str:
    error = next(iter(connects.errors_by_count()), "")
    if error == "ECONNREFUSED":
        return "Nothing listens on that address and port: check that the server runs, and its port."
    if error in ("ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"):
        return "Packets do not arrive: check routes, NetworkPolicies and firewalls on the way."
    return "Look at the servers with most failures: are they up, and reachable from this node?"


def _connects_slow(facts: Facts) -> Finding | None:
    connects = facts.ledger.total("connect")
    p95 = connects.durations.quantile(0.95) or 0.0
    evidence = [f"longest: {longest_by(facts, 'peer', 'connect')}"]
    if p95 >= LOST_SYN_SECONDS and facts.ledger.total("retransmit").count:
        evidence.append("segments were sent again: a lost first packet costs a second or more")
    return slow(
        facts,
        "connect",
        limit=facts.limits.connect_slow_p95_seconds,
        what="TCP connects",
        evidence=tuple(evidence),
        next_step="Compare with the round-trip time to the same peers: if that is short, the "
        "server's accept queue is full or first packets are lost.",
        explained_by=("retransmits",) if p95 >= LOST_SYN_SECONDS else (),
        by=("peer", "to"),
    )


def _rtt_spikes(facts: Facts) -> Finding | None:
    samples, limits = facts.ledger.total("rtt"), facts.limits
    spikes = facts.ledger.total("rtt_spike").count
    all_ = max(samples.count, spikes)
    if spikes < limits.least_count or spikes < limits.rtt_spikes_ratio * all_:
        return None
    above = facts.coverage.threshold_seconds("rtt_spike_ns")
    spike = f"{seconds(above)} or more, and three times" if above else "far above"
    median = samples.durations.quantile(0.5)
    longest = samples.durations.max_ns / 1e9
    multiple = spikes / all_ / max(limits.rtt_spikes_ratio, 1e-9)
    return Finding(
        severity=graded(all_, multiple >= limits.critical_multiple),
        title=f"TCP round trips with spikes: {spikes:,} of {all_:,} ({percent(spikes / all_)})"
        + blamed(facts, "peer", _count_of("rtt_spike"), spikes, "to"),
        evidence=(
            f"{spike} the connection's shortest, in "
            f"{share_of(spikes, all_, 'round trips', limits.rtt_spikes_ratio)}",
            f"longest round trip {seconds(longest)}",
            f"most spikes: {worst(facts, 'peer', _count_of('rtt_spike'))}",
        ),
        counter_evidence=(f"half of the round trips took at most {seconds(median)}",)
        if median is not None
        else (),
        next_step="Look for congestion, a busy peer or a throttled node on the way to these peers; "
        "compare with another pod on the same node.",
        samples=all_,
        impact=multiple,
        explained_by=("retransmits",),
        by_target=shares(facts.ledger.targets, lambda sums: sums.total("rtt_spike").count),
    )


def _retransmits(facts: Facts) -> Finding | None:
    limits, again = facts.limits, facts.ledger.total("retransmit").count
    sent, connects = facts.ledger.total("send"), facts.ledger.total("connect")
    segments = max(sent.count, sent.bytes // SEGMENT_BYTES)
    all_ = segments + connects.count + connects.failed + again
    if again < limits.least_count or again < limits.retransmits_ratio * all_:
        return None
    rows = facts.ledger.labels["peer"].rows
    multiple = again / all_ / max(limits.retransmits_ratio, 1e-9)
    remote = sum(
        row.get("retransmit", NOTHING).count for peer, row in rows.items() if not is_loopback(peer)
    )
    if not remote:
        return _slow_to_acknowledge(again, all_, limits.retransmits_ratio)
    return Finding(
        severity=graded(all_, multiple >= limits.critical_multiple),
        title=f"TCP segments sent again: {again:,} of about {all_:,} ({percent(again / all_)})"
        + blamed(facts, "peer", _count_of("retransmit"), again, "to"),
        evidence=(
            f"sent again about {share_of(again, all_, 'segments', limits.retransmits_ratio)}",
            f"most: {worst(facts, 'peer', _count_of('retransmit'))}",
        ),
        counter_evidence=("the number of segments is estimated from calls and bytes",),
        next_step="Packets are lost: look for drops on the interfaces of both nodes, for a full "
        "queue or rate limit on the way, and for a peer that is down.",
        samples=all_,
        impact=multiple,
        by_target=shares(facts.ledger.targets, lambda sums: sums.total("retransmit").count),
    )


def _slow_to_acknowledge(again: int, all_: int, limit: float) -> Finding:
    """Explain segments sent again on loopback, where none can be lost on the way."""
    return Finding(
        severity="info",
        title=f"TCP segments sent again on loopback: {again:,} of about {all_:,}",
        evidence=(f"sent again about {share_of(again, all_, 'segments', limit)}",),
        counter_evidence=("loopback loses nothing on the way",),
        next_step="A receiver that is slow to read or to answer makes the kernel probe with the "
        "last segment: look at what the local peer waits for.",
        samples=all_,
        impact=again / all_,
    )


def _resets(facts: Facts) -> Finding | None:
    limits, resets = facts.limits, facts.ledger.total("reset").count
    ledger = facts.ledger
    begun = ledger.total("connect").count + ledger.total("accept").count
    all_ = max(begun, ledger.total("connection").count, resets)
    if resets < limits.least_count or resets < limits.resets_ratio * all_:
        return None
    return Finding(
        severity="warning",
        title=f"TCP connections reset by the peer: {resets:,} of {all_:,}"
        + blamed(facts, "peer", _count_of("reset"), resets, "by"),
        evidence=(
            f"reset {share_of(resets, all_, 'connections', limits.resets_ratio)}",
            f"most: {worst(facts, 'peer', _count_of('reset'))}",
        ),
        counter_evidence=("some clients and health checks end every connection by a reset",),
        next_step="Look in the peers' logs for crashes, restarts and idle timeouts shorter than "
        "the client's.",
        samples=all_,
        impact=resets / all_ / max(limits.resets_ratio, 1e-9),
        by_target=shares(ledger.targets, lambda sums: sums.total("reset").count),
    )


def _failed(row: Row) -> int:
    return row.get("connect", NOTHING).failed


def _count_of(metric: str) -> Callable[[Row], int]:
    return lambda row: row.get(metric, NOTHING).count


TCP_RULES = (
    Rule(
        "connects_failing",
        "connections",
        "TCP connects are refused, time out or fail otherwise",
        ("connect_failed_ratio", "critical_ratio", "least_count"),
        _connects_failing,
    ),
    Rule(
        "connect_target_failing",
        "connections",
        "TCP connects to one of many targets fail; told as info",
        ("connect_failed_ratio", "critical_ratio", "least_count"),
        _connect_target_failing,
    ),
    Rule(
        "connects_slow",
        "connections",
        "TCP connects are slow",
        ("connect_slow_p95_seconds", "critical_multiple", "least_count"),
        _connects_slow,
    ),
    Rule(
        "rtt_spikes",
        "tcp",
        "TCP round trips far above the best one of the same connection",
        ("rtt_spikes_ratio", "critical_multiple", "least_count"),
        _rtt_spikes,
    ),
    Rule(
        "retransmits",
        "tcp",
        "TCP segments sent again",
        ("retransmits_ratio", "critical_multiple", "least_count"),
        _retransmits,
    ),
    Rule(
        "resets",
        "tcp",
        "TCP connections reset by the peer; never critical",
        ("resets_ratio", "least_count"),
        _resets,
    ),
)
