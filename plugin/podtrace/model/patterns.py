"""How connections are used, and which way the bytes flow: both by rules that the report prints."""

from __future__ import annotations

from podtrace.model.clock import rfc3339
from podtrace.model.coverage import Coverage
from podtrace.model.histogram import NS_PER_SECOND
from podtrace.model.labels import Row, names_one_thing, split_peer
from podtrace.model.ledger import Ledger
from podtrace.model.network import busiest
from podtrace.model.peers import PeerNames
from podtrace.model.snapshot import (
    ConnectionPattern,
    ConnectionPatterns,
    Direction,
    NetworkIo,
    Pattern,
)
from podtrace.model.tally import NOTHING

FAILING_CONNECTS = 3
MANY_CONNECTS = 5
MANY_PER_SECOND = 0.5
SHORT_SECONDS = 1.0
MANY_REQUESTS = 10
EPHEMERAL_PORT = 32_768
ONE_WAY = 4.0

CONNECTION_RULE = (
    f"failing: at least half of {FAILING_CONNECTS} or more connects failed; "
    f"churn: {MANY_CONNECTS} or more new connections, {MANY_PER_SECOND:g} or more a second, at "
    f"least half of them closed again after less than {SHORT_SECONDS:g} s on average or after "
    f"fewer than {MANY_REQUESTS} requests each; "
    f"reuse: {MANY_REQUESTS} or more requests per connection, or requests without a new "
    "connection; steady: as many new connections as churn, but longer-lived; "
    "idle: connected without a request; occasional: anything else"
)
DIRECTION_RULE = (
    f"mostly sending or mostly receiving: {ONE_WAY:g} times as many bytes that way as the other; "
    "idle: no bytes; balanced: anything else"
)


def connection_patterns(
    ledger: Ledger, coverage: Coverage, names: PeerNames, limit: int
) -> ConnectionPatterns | None:
    """Return the pattern of the `limit` busiest targets, None if connections were not measured."""
    if not coverage.section("connections"):
        return None
    rows = {
        peer: row
        for peer, row in ledger.labels["peer"].rows.items()
        if names_one_thing(peer) and _is_target(peer, row)
    }
    sends_by_peer = any("send" in row for row in rows.values())
    seconds = ledger.measured_ns / NS_PER_SECOND
    metrics = ("connect_attempt", "connect", "connection", "send", "rtt")
    return ConnectionPatterns(
        rule=CONNECTION_RULE,
        targets=tuple(
            _pattern(peer, names.of(peer), row, sends_by_peer, seconds)
            for peer, row in busiest(rows, metrics, limit)
        ),
    )


def _is_target(peer: str, row: Row) -> bool:
    """Leave out clients of accepted connections: no connect, and a port that clients get."""
    if "connect" in row or "connect_attempt" in row:
        return True
    port = split_peer(peer)[1]
    return port is not None and port < EPHEMERAL_PORT and ("rtt" in row or "send" in row)


def _pattern(
    peer: str, name: str | None, row: Row, sends_by_peer: bool, seconds: float
) -> ConnectionPattern:
    address, port = split_peer(peer)
    connects = row.get("connect", NOTHING)
    established, failed = connects.count, connects.failed
    begun = max(row.get("connect_attempt", NOTHING).count, established + failed)
    closed = row.get("connection", NOTHING).durations
    lifetime = closed.sum_ns / closed.count / NS_PER_SECOND if closed.count else None
    if sends_by_peer:
        requests = row.get("send", NOTHING).count
    else:
        # The handshake gives each new connection one sample before any request.
        requests = max(0, row.get("rtt", NOTHING).count - established)
    per_connection = requests / established if established else None
    per_second = begun / seconds if seconds else 0.0
    many = established >= MANY_CONNECTS and per_second >= MANY_PER_SECOND
    short = lifetime is not None and lifetime < SHORT_SECONDS
    few_requests = per_connection is not None and per_connection < MANY_REQUESTS
    pattern: Pattern = "occasional"
    if begun >= FAILING_CONNECTS and failed * 2 >= begun:
        pattern = "failing"
    elif many and closed.count * 2 >= established and (short or few_requests):
        pattern = "churn"
    elif requests and (per_connection is None or per_connection >= MANY_REQUESTS):
        pattern = "reuse"
    elif many:
        pattern = "steady"
    elif established and not requests:
        pattern = "idle"
    return ConnectionPattern(
        address=address,
        port=port,
        name=name,
        pattern=pattern,
        connects=begun,
        connects_per_second=per_second,
        failed=failed,
        closed=closed.count,
        mean_lifetime_seconds=lifetime,
        requests_per_connection=per_connection,
    )


def network_io(ledger: Ledger, coverage: Coverage) -> NetworkIo | None:
    """Return TCP throughput, None if sends or receives were not measured."""
    if not (coverage.metric("send") and coverage.metric("receive")):
        return None
    send, receive = ledger.total("send"), ledger.total("receive")
    seconds = ledger.measured_ns / NS_PER_SECOND
    peak = ledger.throughput.peak
    sent_rate = send.bytes / seconds if seconds else None
    received_rate = receive.bytes / seconds if seconds else None
    both_rate = (send.bytes + receive.bytes) / seconds if seconds else None
    return NetworkIo(
        rule=DIRECTION_RULE,
        pattern=_direction(send.bytes, receive.bytes),
        sent_bytes=send.bytes,
        received_bytes=receive.bytes,
        sent_bytes_per_second=sent_rate,
        received_bytes_per_second=received_rate,
        peak_sent_bytes_per_second=_at_least(sent_rate, peak.sent),
        peak_received_bytes_per_second=_at_least(received_rate, peak.received),
        peak_bytes_per_second=_at_least(both_rate, peak.both),
        peak_start=rfc3339(peak.start_ns) if peak.both else None,
        send_receive_ratio=send.bytes / receive.bytes if receive.bytes else None,
        average_send_bytes=send.bytes / send.count if send.count else None,
        average_receive_bytes=receive.bytes / receive.count if receive.count else None,
    )


def _at_least(average: float | None, peak: float) -> float | None:
    """A trace without a tick long enough for a peak has its average as its peak."""
    return None if average is None else max(average, peak)


def _direction(sent: int, received: int) -> Direction:
    if not sent and not received:
        return "idle"
    if sent >= ONE_WAY * received:
        return "mostly_sending"
    if received >= ONE_WAY * sent:
        return "mostly_receiving"
    return "balanced"
