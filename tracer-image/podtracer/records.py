"""The layouts of bpf/podtrace.h as Python sees them: keys, values, events and enumerations."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from podtrace.wire.schema import BLOCK_REASONS, OVERFLOW_LABEL

METRICS: Sequence[str] = (
    "", "dns", "dns_query", "dns_retry", "dns_timeout", "connect", "connect_attempt", "accept",
    "connection", "rtt", "rtt_spike", "retransmit", "reset", "send", "receive", "open", "read",
    "write", "fsync", "pipe", "socket", "terminal", "run_queue", "blocked", "cpu", "exec", "exit",
)  # fmt: skip
"""Names in the order of enum metric."""

DNS_TIMEOUT = METRICS.index("dns_timeout")

ASPECT_ERROR, ASPECT_AGAIN, ASPECT_SLOW, ASPECT_MASK = 0x80, 0x40, 0xC0, 0xC0

OPERATIONS: Mapping[int, str] = {1: "read", 2: "write", 3: "fsync", 4: "open"}
"""enum syscall_kind -> operation of a file."""

REASONS: Sequence[str] = ("", *BLOCK_REASONS)

LOSSES: Sequence[str] = (
    "ring_full",
    "threads_full",
    "sockets_full",
    "processes_full",
    "labels_full",
    "files_full",
    "dns_full",
    "suppressed",
    "unknown_owner",
    "compat_calls",
    "taken_over",
)
"""Names in the order of enum loss; not all are losses in the stream."""

EVENTS: Sequence[str] = (
    "", "connect", "connect_failed", "reset", "retransmit", "rtt_spike", "dns", "dns_error",
    "slow_file", "long_block", "oom_kill", "exec", "exit",
)  # fmt: skip

GIVEN_UP = 4000
RCODES: Mapping[int, str] = {
    1: "FORMERR",
    2: "SERVFAIL",
    3: "NXDOMAIN",
    4: "NOTIMP",
    5: "REFUSED",
    6: "YXDOMAIN",
    7: "YXRRSET",
    8: "NXRRSET",
    9: "NOTAUTH",
    10: "NOTZONE",
}
"""RFC 6895."""

SERIES_KEY = struct.Struct("=QIHBB")
SERIES_VALUE = struct.Struct("=5Q")
PROCESS_VALUE = struct.Struct("=QQQIIiBB2x16s")
FILE_KEY = struct.Struct("=QIII4x")
FILE_VALUE = struct.Struct("=QQQII768s")
LABEL_VALUE = struct.Struct("=BBBB4x128s")
THREAD_VALUE_BYTES = 144
THREAD_EXECUTED = struct.Struct("=120xQ")
THREAD_ON_CPU = struct.Struct("=16xQ64xIB")
SOCKET_VALUE = struct.Struct("=5QIBB2x")
DNS_KEY_BYTES = 16
DNS_VALUE = struct.Struct("=QQQIB3x")
EVENT = struct.Struct("=4Q24sIi4B4x")
U32 = struct.Struct("=I")
U64 = struct.Struct("=Q")

OVERFLOW_HASH = 1
"""Label of what found no room in the table of labels."""

_LABEL_PEER = 1
_LONGEST_LABEL = 63


class SeriesKey(NamedTuple):
    """One counter: see struct series_key."""

    label: int
    process: int
    slot: int
    metric: int
    target: int


class SeriesValue(NamedTuple):
    """What a counter holds, cumulative: see struct series_value."""

    operations: int
    sum_ns: int
    max_ns: int
    size: int
    wait_ns: int


class Event(NamedTuple):
    """One record of the ring buffer: see struct event."""

    time_ns: int
    duration_ns: int
    label: int
    size: int
    file: bytes
    process: int
    code: int
    type: int
    target: int
    call: int
    reason: int


def label_text(value: bytes | None) -> str:
    """Spell a label: "10.0.0.1:53", "[::1]:80", or a DNS name as master files have it (RFC 1035).

    A peer that connected to us has no port here: it takes another with each connection.
    """
    if value is None:
        return OVERFLOW_LABEL
    kind, family, _, cut, data = LABEL_VALUE.unpack(value)
    if kind == _LABEL_PEER:
        address = ipaddress.ip_address(data[:4] if family == 4 else data[:16])
        (port,) = struct.unpack_from("=H", data, 16)
        host = str(address) if family == 4 else f"[{address}]"
        return f"{host}:{port}" if port else host
    return _dns_name(data) + ("…" if cut else "")


def _dns_name(wire: bytes) -> str:
    labels = []
    position = 0
    while position < len(wire) and 0 < wire[position] <= _LONGEST_LABEL:
        length = wire[position]
        label = wire[position + 1 : position + 1 + length]
        labels.append("".join(map(_dns_character, label)))
        position += 1 + length
    return ".".join(labels) or "."


def _dns_character(byte: int) -> str:
    character = chr(byte)
    if character in '.\\"();@$':
        return "\\" + character
    return character if 0x21 <= byte <= 0x7E else f"\\{byte:03d}"


def path_text(value: bytes) -> str:
    """Spell a path of struct file_value; the part that did not fit is an ellipsis."""
    _, _, _, used, complete, data = FILE_VALUE.unpack(value)
    names = data[:used].split(b"\0")[:-1]
    path = b"/".join(reversed(names)).decode("utf-8", "backslashreplace")
    return ("/" if complete else "…/") + path


def process_name(raw: bytes) -> str:
    """Decode a task's comm, which may hold any byte but zero."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def exit_code(status: int) -> int:
    """Exit code of a wait status, minus the number of a signal that ended the process."""
    signal = status & 0x7F
    return -signal if signal else status >> 8 & 0xFF
