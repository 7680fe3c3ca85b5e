"""Builds the report's sections on DNS, TCP and connections from the ledger."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from podtrace.model.coverage import Coverage
from podtrace.model.labels import Row, split_peer
from podtrace.model.ledger import Ledger
from podtrace.model.peers import PeerNames
from podtrace.model.snapshot import (
    ConnectFamily,
    Connections,
    ConnectTarget,
    Dns,
    DnsTarget,
    Latency,
    Tcp,
    TcpPeer,
)
from podtrace.model.tally import NOTHING, Tally

_DNS_METRICS = ("dns", "dns_timeout", "dns_query")


def busiest(rows: dict[str, Row], metrics: tuple[str, ...], limit: int) -> list[tuple[str, Row]]:
    """Return the rows that have one of the metrics, those with most operations first."""

    def weight(row: Row) -> int:
        return sum(row[metric].operations(metric) for metric in metrics if metric in row)

    weighted = ((weight(row), label) for label, row in rows.items())
    found = heapq.nsmallest(
        limit, ((-operations, label) for operations, label in weighted if operations)
    )
    return [(label, rows[label]) for _, label in found]


def dns_section(ledger: Ledger, coverage: Coverage, limit: int) -> Dns | None:
    """Return the section with `limit` rows, None if nothing of it was measured."""
    if not coverage.section("dns"):
        return None
    count = _counter(ledger, coverage)
    answers = ledger.total("dns")
    return Dns(
        latency=_latency(ledger, coverage, "dns"),
        queries=count("dns_query"),
        errors=answers.errors_by_count() if coverage.metric("dns") else None,
        timeouts=count("dns_timeout"),
        timeout_after_seconds=coverage.threshold_seconds("dns_timeout_ns"),
        pending=ledger.tracers.gauges.get("dns_pending"),
        retries=count("dns_retry"),
        targets=tuple(
            _dns_target(name, row, coverage.metric("dns_query"))
            for name, row in busiest(ledger.labels["name"].rows, _DNS_METRICS, limit)
        ),
    )


def _dns_target(name: str, row: Row, queries_measured: bool) -> DnsTarget:
    answers, timeouts = row.get("dns", NOTHING), row.get("dns_timeout", NOTHING)
    return DnsTarget(
        name=name,
        queries=row.get("dns_query", NOTHING).count if queries_measured else None,
        count=answers.count + timeouts.count,
        latency=answers.latency(),
        errors=answers.errors_by_count(),
        timeouts=timeouts.count,
    )


def tcp_section(ledger: Ledger, coverage: Coverage, names: PeerNames, limit: int) -> Tcp | None:
    """Return the section with `limit` rows, None if nothing of it was measured."""
    if not coverage.section("tcp"):
        return None
    count = _counter(ledger, coverage)
    rows = ledger.labels["peer"].rows
    calls_by_peer = any("send" in row or "receive" in row for row in rows.values())
    metrics = ("rtt", "rtt_spike", "retransmit", "reset", "send", "receive")
    return Tcp(
        rtt=_latency(ledger, coverage, "rtt"),
        rtt_spikes=count("rtt_spike"),
        rtt_spike_above_seconds=coverage.threshold_seconds("rtt_spike_ns"),
        retransmits=count("retransmit"),
        resets=count("reset"),
        send=ledger.total("send").transfer() if coverage.metric("send") else None,
        receive=ledger.total("receive").transfer() if coverage.metric("receive") else None,
        peers=tuple(
            _tcp_peer(peer, names.of(peer), row, calls_by_peer)
            for peer, row in busiest(rows, metrics, limit)
        ),
    )


def _tcp_peer(peer: str, name: str | None, row: Row, calls_by_peer: bool) -> TcpPeer:
    address, port = split_peer(peer)
    return TcpPeer(
        address=address,
        port=port,
        name=name,
        rtt=row.get("rtt", NOTHING).latency(),
        rtt_spikes=row.get("rtt_spike", NOTHING).count,
        retransmits=row.get("retransmit", NOTHING).count,
        resets=row.get("reset", NOTHING).count,
        sent_bytes=row.get("send", NOTHING).bytes if calls_by_peer else None,
        received_bytes=row.get("receive", NOTHING).bytes if calls_by_peer else None,
    )


def connections_section(
    ledger: Ledger, coverage: Coverage, names: PeerNames, limit: int
) -> Connections | None:
    """Return the section with `limit` rows, None if nothing of it was measured."""
    if not coverage.section("connections"):
        return None
    count = _counter(ledger, coverage)
    connects = ledger.total("connect")
    measured = coverage.metric("connect")
    attempts_measured = coverage.metric("connect_attempt")
    rows = ledger.labels["peer"].rows
    latency, attempts = _latency(ledger, coverage, "connect"), count("connect_attempt")
    failed = connects.failed if measured else None
    in_progress = ledger.tracers.gauges.get("connects_in_progress")
    return Connections(
        latency=latency,
        attempts=attempts,
        failed=failed,
        in_progress=in_progress,
        outcome_unknown=_unknown_outcomes(attempts, latency, failed, in_progress),
        accepted=count("accept"),
        errors=connects.errors_by_count() if measured else None,
        lifetime=_latency(ledger, coverage, "connection"),
        ipv4=_family(ledger.connect_families[4], attempts_measured) if measured else None,
        ipv6=_family(ledger.connect_families[6], attempts_measured) if measured else None,
        targets=tuple(
            _connect_target(peer, names.of(peer), row)
            for peer, row in busiest(rows, ("connect_attempt", "connect"), limit)
        ),
    )


def _unknown_outcomes(
    attempts: int | None, latency: Latency | None, failed: int | None, in_progress: int | None
) -> int | None:
    """Return of how many attempts nothing more was seen: kernels leave out hits of a probe."""
    if attempts is None or latency is None or failed is None or in_progress is None:
        return None
    return max(attempts - latency.count - failed - in_progress, 0)


def _connect_target(peer: str, name: str | None, row: Row) -> ConnectTarget:
    address, port = split_peer(peer)
    connects = row.get("connect", NOTHING)
    return ConnectTarget(
        address=address,
        port=port,
        name=name,
        attempts=row.get("connect_attempt", NOTHING).count,
        failed=connects.failed,
        errors=connects.errors_by_count(),
        latency=connects.latency(),
    )


def _family(tallies: dict[str, Tally], attempts_measured: bool) -> ConnectFamily:
    connects = tallies.get("connect", NOTHING)
    attempts = tallies.get("connect_attempt", NOTHING).count
    return ConnectFamily(
        attempts=attempts if attempts_measured else None,
        failed=connects.failed,
        latency=connects.latency(),
    )


def _latency(ledger: Ledger, coverage: Coverage, metric: str) -> Latency | None:
    return ledger.total(metric).latency() if coverage.metric(metric) else None


def _counter(ledger: Ledger, coverage: Coverage) -> Callable[[str], int | None]:
    def count(metric: str) -> int | None:
        return ledger.total(metric).count if coverage.metric(metric) else None

    return count
