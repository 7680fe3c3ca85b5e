"""Names and numbers of the stream: its version, its kinds of line and its metrics.

One JSON object a line. A tick is one interval of about a second; its lines share `tick`, and its
last line is the `health` line that says how many lines the tick had. docs/stream.md describes every
field.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = (1, 1)
"""Major and minor version. Readers refuse another major version and skip what they do not know."""

MAX_LINE_BYTES = 8192
"""A longer line is damaged or hostile: it is dropped and counted."""

MAX_EVENTS_PER_SECOND = 200

HELLO = "hello"
EVENT = "event"
SERIES = "series"
PROCESS = "process"
HEALTH = "health"
END = "end"
ERROR = "error"
KINDS = (HELLO, EVENT, SERIES, PROCESS, HEALTH, END, ERROR)
"""What tracers send."""
NAMES = "names"
"""What the plugin adds to a recording: the cluster's names of addresses."""

UNKNOWN_PROCESS = 0
"""Work inside the target whose process could not be told."""
OVERFLOW_PROCESS = -1
"""Work that was counted after a kernel map was full."""
OTHER_PROCESSES = -2
"""Processes beyond the number that one tick lists."""

OVERFLOW_LABEL = "(overflow)"
"""Peer, name or path of work counted after the table of peers, names or paths was full."""


@dataclass(frozen=True)
class Metric:
    """What one metric name means.

    `timed`: the line carries `sum_ns`, `max_ns` and `slots` of `count` durations.
    `errors_timed`: operations in `errors` are also in `count` (an NXDOMAIN answer has a latency);
    otherwise `errors` are operations beside `count`.
    `event`: finished operations of this metric are events, in the sense of the report's summary.
    """

    name: str
    help: str
    timed: bool = False
    errors_timed: bool = False
    event: bool = False


METRICS = {
    metric.name: metric
    for metric in (
        Metric("dns", "answered DNS queries, by name", timed=True, errors_timed=True, event=True),
        Metric("dns_query", "DNS queries sent, each question once"),
        Metric("dns_retry", "DNS queries sent again"),
        Metric("dns_timeout", "DNS queries without an answer, by name", event=True),
        Metric("connect", "TCP connects that were established, by peer", timed=True, event=True),
        Metric("connect_attempt", "TCP connects begun, by peer"),
        Metric("accept", "TCP connections accepted", event=True),
        Metric("connection", "lifetime of closed TCP connections, by peer", timed=True),
        Metric("rtt", "round-trip times sampled by the kernel, by peer", timed=True),
        Metric("rtt_spike", "round-trip times far above the connection's minimum, by peer"),
        Metric("retransmit", "TCP segments sent again, by peer", event=True),
        Metric("reset", "TCP resets received, by peer"),
        Metric("send", "TCP send calls: working time", timed=True, event=True),
        Metric("receive", "TCP receive calls: working time", timed=True, event=True),
        Metric("open", "opens of regular files", timed=True, event=True),
        Metric("read", "reads of regular files", timed=True, event=True),
        Metric("write", "writes to regular files", timed=True, event=True),
        Metric("fsync", "fsyncs of regular files", timed=True, event=True),
        Metric("file", "reads, writes and fsyncs of one file, by path"),
        Metric("pipe", "reads and writes of pipes"),
        Metric("socket", "reads and writes of sockets other than TCP"),
        Metric("terminal", "reads and writes of terminals"),
        Metric("run_queue", "time ready to run without a CPU", timed=True),
        Metric("blocked", "time off the CPU waiting for something, by reason", timed=True),
        Metric("cpu", "time on a CPU"),
        Metric("throttled", "time throttled by a CPU quota"),
        Metric("exec", "programs started", event=True),
        Metric("exit", "processes ended", event=True),
    )
}

BLOCK_REASONS = ("disk", "network", "lock", "sleep", "poll", "other")
"""What a blocked thread waits for. `poll` is poll, select and epoll: waiting for any event."""

EVENTS = (
    "connect",
    "connect_failed",
    "reset",
    "retransmit",
    "rtt_spike",
    "dns",
    "dns_error",
    "dns_timeout",
    "slow_file",
    "long_block",
    "oom_kill",
    "exec",
    "exit",
    "container_restart",
    "target_gone",
)
"""Names in an event line's `event` field."""

END_REASONS = (
    "deadline",
    "limit",
    "signal",
    "parent_died",
    "stdout_closed",
    "unheard",
    "target_gone",
    "command_exited",
)
"""Values of an end line's `reason`. `limit` is the tracer's longest life, `unheard` that nobody
reads its log."""
