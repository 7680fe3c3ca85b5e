"""The report's sections on DNS, TCP and connections, in the shape of docs/report.schema.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from podtrace.model.measures import Latency, Transfer

Pattern = Literal["failing", "churn", "reuse", "steady", "occasional", "idle"]
Direction = Literal["idle", "mostly_sending", "mostly_receiving", "balanced"]


@dataclass(frozen=True)
class DnsTarget:
    """One queried name; `count` is answers plus timeouts, what else was asked is open."""

    name: str
    queries: int | None
    count: int
    latency: Latency
    errors: Mapping[str, int]
    timeouts: int


@dataclass(frozen=True)
class Dns:
    """DNS queries over UDP and TCP. Answers with an error code are in `latency.count` too."""

    latency: Latency | None
    queries: int | None
    errors: Mapping[str, int] | None
    timeouts: int | None
    timeout_after_seconds: float | None
    pending: int | None
    retries: int | None
    targets: tuple[DnsTarget, ...]


@dataclass(frozen=True)
class TcpPeer:
    """TCP as seen towards one remote address and port."""

    address: str
    port: int | None
    name: str | None
    rtt: Latency
    rtt_spikes: int
    retransmits: int
    resets: int
    sent_bytes: int | None
    received_bytes: int | None


@dataclass(frozen=True)
class Tcp:
    """Established TCP connections: round trips, trouble and calls."""

    rtt: Latency | None
    rtt_spikes: int | None
    rtt_spike_above_seconds: float | None
    retransmits: int | None
    resets: int | None
    send: Transfer | None
    receive: Transfer | None
    peers: tuple[TcpPeer, ...]


@dataclass(frozen=True)
class ConnectFamily:
    """Connects over one version of IP."""

    attempts: int | None
    failed: int
    latency: Latency


@dataclass(frozen=True)
class ConnectTarget:
    """Connects to one remote address and port."""

    address: str
    port: int | None
    name: str | None
    attempts: int
    failed: int
    errors: Mapping[str, int]
    latency: Latency


@dataclass(frozen=True)
class Connections:
    """TCP connects made and accepted."""

    latency: Latency | None
    attempts: int | None
    failed: int | None
    in_progress: int | None
    outcome_unknown: int | None
    accepted: int | None
    errors: Mapping[str, int] | None
    lifetime: Latency | None
    ipv4: ConnectFamily | None
    ipv6: ConnectFamily | None
    targets: tuple[ConnectTarget, ...]


@dataclass(frozen=True)
class ConnectionPattern:
    """How one remote address and port is used."""

    address: str
    port: int | None
    name: str | None
    pattern: Pattern
    connects: int
    connects_per_second: float
    failed: int
    closed: int
    mean_lifetime_seconds: float | None
    requests_per_connection: float | None


@dataclass(frozen=True)
class ConnectionPatterns:
    """Patterns told by `rule`, the busiest target first."""

    rule: str
    targets: tuple[ConnectionPattern, ...]


@dataclass(frozen=True)
class NetworkIo:
    """TCP payload in both directions; the peaks are those of the busiest tick."""

    rule: str
    pattern: Direction
    sent_bytes: int
    received_bytes: int
    sent_bytes_per_second: float | None
    received_bytes_per_second: float | None
    peak_sent_bytes_per_second: float | None
    peak_received_bytes_per_second: float | None
    peak_bytes_per_second: float | None
    peak_start: str | None
    send_receive_ratio: float | None
    average_send_bytes: float | None
    average_receive_bytes: float | None
