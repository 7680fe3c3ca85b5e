"""Connection patterns and direction of traffic, by the rules that are printed."""

from __future__ import annotations

from typing import Any

import pytest

from factories import SECOND, encoded, end, hello, series, stream, tick
from podtrace.model.session import Session
from podtrace.model.snapshot import ConnectionPattern, NetworkIo, Snapshot

PEER = "10.0.0.1:5432"


def snapshot(*lines: dict[str, Any], seconds: int = 10) -> Snapshot:
    folded = Session()
    rest = [tick() for _ in range(seconds - 1)]
    folded.feed(encoded(stream(hello(), tick(*lines), *rest, end())))
    folded.finish()
    return folded.snapshot()


def pattern(*lines: dict[str, Any], seconds: int = 10) -> ConnectionPattern:
    found = snapshot(*lines, seconds=seconds).connection_patterns
    assert found
    (target,) = found.targets
    return target


def connects(established: int, failed: int = 0) -> list[dict[str, Any]]:
    errors = {"ECONNREFUSED": failed} if failed else {}
    durations = [1_000_000] * established
    return [
        series("connect_attempt", peer=PEER, count=established + failed),
        series("connect", count=established, peer=PEER, duration_ns=durations, errors=errors),
    ]


def lived(count: int, seconds: float) -> dict[str, Any]:
    return series("connection", peer=PEER, count=count, duration_ns=round(seconds * SECOND))


def round_trips(count: int) -> dict[str, Any]:
    return series("rtt", peer=PEER, count=count, duration_ns=1_000_000)


def sends(count: int) -> dict[str, Any]:
    return series("send", peer=PEER, count=count, duration_ns=1000)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([*connects(20), lived(20, 0.05), round_trips(60)], "churn"),
        ([*connects(20), lived(20, 0.05), sends(20)], "churn"),
        ([*connects(20), lived(20, 3), sends(40)], "churn"),
        ([*connects(1), round_trips(500)], "reuse"),
        ([*connects(1), sends(500)], "reuse"),
        ([*connects(8), sends(500)], "reuse"),
        ([round_trips(500)], "reuse"),
        ([*connects(20), lived(20, 3), sends(4000)], "reuse"),
        ([*connects(20), lived(2, 3), round_trips(60)], "steady"),
        ([*connects(1), round_trips(1)], "idle"),
        ([*connects(2), lived(2, 0.1), sends(4)], "occasional"),
        (connects(0, failed=3), "failing"),
        (connects(3, failed=3), "failing"),
        ([*connects(20, failed=3), lived(20, 0.05), round_trips(60)], "churn"),
        (connects(0, failed=2), "occasional"),
    ],
)
def test_pattern_of_a_target(lines: list[dict[str, Any]], expected: str) -> None:
    assert pattern(*lines).pattern == expected


def test_same_connects_over_a_longer_time_are_no_churn() -> None:
    lines = [*connects(6), lived(6, 0.05), sends(12)]
    assert pattern(*lines, seconds=10).pattern == "churn"
    assert pattern(*lines, seconds=60).pattern == "occasional"


def test_pattern_carries_its_numbers() -> None:
    found = pattern(*connects(20, failed=1), lived(10, 0.5), sends(60))
    assert (found.address, found.port) == ("10.0.0.1", 5432)
    assert (found.connects, found.failed, found.closed) == (21, 1, 10)
    assert found.connects_per_second == pytest.approx(2.1)
    assert found.mean_lifetime_seconds == pytest.approx(0.5)
    assert found.requests_per_connection == 3


def test_clients_of_accepted_connections_are_no_targets() -> None:
    found = snapshot(series("rtt", peer="10.0.0.9:45678", count=50, duration_ns=5))
    assert found.connection_patterns
    assert found.connection_patterns.targets == ()


def test_rule_of_patterns_is_stated() -> None:
    found = snapshot().connection_patterns
    assert found
    for word in ("failing", "churn", "reuse", "steady", "idle", "occasional", "0.5 or more"):
        assert word in found.rule


def traffic(sent: int, received: int) -> NetworkIo:
    found = snapshot(
        series("send", count=10, duration_ns=5, bytes=sent),
        series("receive", count=20, duration_ns=5, bytes=received),
    ).network_io
    assert found
    return found


@pytest.mark.parametrize(
    ("sent", "received", "expected"),
    [
        (0, 0, "idle"),
        (100, 0, "mostly_sending"),
        (0, 100, "mostly_receiving"),
        (400, 100, "mostly_sending"),
        (399, 100, "balanced"),
        (100, 400, "mostly_receiving"),
    ],
)
def test_direction(sent: int, received: int, expected: str) -> None:
    assert traffic(sent, received).pattern == expected


def test_throughput_has_averages_and_peaks() -> None:
    found = traffic(1000, 500)
    assert found.sent_bytes_per_second == 100
    assert found.peak_sent_bytes_per_second == 1000
    assert found.peak_received_bytes_per_second == 500
    assert found.peak_bytes_per_second == 1500
    assert found.peak_start == "2025-10-09T08:53:20.000Z"
    assert (found.average_send_bytes, found.average_receive_bytes) == (100, 25)
    assert found.send_receive_ratio == 2
    assert traffic(5, 0).send_receive_ratio is None


def test_short_tick_is_no_peak() -> None:
    folded = Session()
    burst = tick(series("send", count=1, duration_ns=5, bytes=1000), seconds=0.1)
    folded.feed(encoded(stream(hello(), burst, *(tick() for _ in range(4)), end())))
    found = folded.snapshot().network_io
    assert found
    assert found.peak_sent_bytes_per_second == found.sent_bytes_per_second
    assert found.peak_start is None
