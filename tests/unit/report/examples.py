"""Snapshots to render: a busy and troubled run, an idle one, a blind, a torn and a hostile one.

They are built by hand rather than folded from a stream, so that a change of the model does not
change what the renderings are held to.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from podtrace.model.notable import Notable
from podtrace.model.snapshot import (
    Burst,
    Bursts,
    ConnectFamily,
    ConnectionPattern,
    ConnectionPatterns,
    Connections,
    ConnectTarget,
    Cpu,
    CpuUse,
    DegradedSection,
    Dns,
    DnsTarget,
    FileOperation,
    Filesystem,
    FileUse,
    IoOther,
    Issue,
    Latency,
    NetworkIo,
    Operations,
    OtherUse,
    Probe,
    ProcessActivity,
    Quality,
    Snapshot,
    StreamHealth,
    Summary,
    Target,
    TargetMember,
    Tcp,
    TcpPeer,
    Timeline,
    TimelineBucket,
    Tracer,
    Transfer,
    Verdict,
    Window,
)

START = datetime(2026, 11, 22, 23, 14, 5, tzinfo=UTC)
T = TypeVar("T")
NOTHING = Operations(0, 0, 0, 0, 0)


def instant(second: float) -> str:
    return (START + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


def latency(count: int = 0, typical: float | None = None, errors: int = 0) -> Latency:
    if typical is None or not count:
        return Latency(count, errors, None, None, None, None, None, None)
    scale = (1.1, 6.02, 1.0, 2.31, 4.77, 5.9)
    return Latency(count, errors, *(typical * factor for factor in scale))


def transfer(count: int, typical: float | None, waiting: float, size: int, again: int) -> Transfer:
    block = dataclasses.asdict(latency(count, typical))
    return Transfer(**block, waiting_seconds=waiting, bytes=size, would_block=again)


def file_operation(
    count: int, typical: float | None, waiting: float, size: int | None, slow: int = 0
) -> FileOperation:
    block = dataclasses.asdict(latency(count, typical))
    return FileOperation(**block, waiting_seconds=waiting, bytes=size, slow=slow)


def probes() -> tuple[Probe, ...]:
    names = ("connect", "accept", "rtt", "send", "read", "write", "fsync", "switch")
    return tuple(Probe(name, "tcp", f"tp_btf/{name}", "attached", None) for name in names)


def stream_health(lines: int = 640) -> StreamHealth:
    return StreamHealth(lines, {}, 0, 0, 0, 0, 0)


def tracer() -> Tracer:
    return Tracer(
        stream=0,
        node=None,
        version="0.1.0",
        kernel="6.18.44",
        arch="x86_64",
        start=instant(0),
        end=instant(10),
        ticks=10,
        lost_total=0,
        complete=True,
        incomplete_reason=None,
        end_reason="deadline",
        cpu_seconds=0.0612,
        memory_bytes=19_450_000,
    )


def quality() -> Quality:
    return Quality(
        lost={"ring_full": 0},
        lost_total=0,
        lost_ratio=0.0,
        overflow=0,
        suppressed=0,
        probes=probes(),
        degraded_sections=(),
        stream=stream_health(),
        tracers=(tracer(),),
        tracer_version="0.1.0",
        stream_schema="1.0",
        tracer_cpu_seconds=0.0612,
        tracer_cpu_percent=0.61,
        tracer_memory_bytes=19_450_000,
        map_bytes=8 << 20,
        bpf_seconds_estimate=0.0312,
    )


def target() -> Target:
    member = TargetMember(
        id=1,
        type="cgroup",
        name="shop",
        namespace=None,
        pod=None,
        node=None,
        containers=(),
        cgroup="/sys/fs/cgroup/unified/shop.slice",
        pid=None,
        events=9317,
        errors=15,
        cpu_seconds=1.53,
        connects_failed=7,
        dns_errors=8,
        retransmits=4,
        slow_file_operations=16,
        restarts=0,
        oom_kills=0,
    )
    return Target("cgroup", "shop", None, None, (), "6.18.44", "x86_64", "hybrid", 2, (member,))


def window(seconds: float = 10.0) -> Window:
    return Window(
        start=instant(0),
        end=instant(seconds),
        seconds=seconds,
        measured_seconds=seconds,
        ticks=10,
        complete=True,
        incomplete_reason=None,
        end_reason="deadline",
        exit_code=None,
    )


BURST_RULE = (
    "a second is part of a burst if its rate is at least 3 times the median and at least "
    "50 events/s above it; steady noise is not a burst"
)
PATTERN_RULE = (
    "failing: half of the connects fail; churn: 1 connect/s or more and connections live less than "
    "1 s; reuse: 10 requests or more per connection; otherwise steady or occasional"
)
NETWORK_RULE = "mostly one way where that way carries 80 % of the payload or more"


def busy() -> Snapshot:
    """A run with DNS trouble, a refusing database, a slow disk and one burst."""
    counts = (812, 790, 805, 3911, 820, 799, 0, 801, 288, 291)
    buckets = tuple(
        TimelineBucket(
            instant(second),
            0.4 if second == 9 else 1.0,
            count,
            count / (0.4 if second == 9 else 1.0),
            7 if second == 3 else 0,
            Operations(4, 100, 2, count - 106 if count > 106 else 0, 0),
        )
        for second, count in enumerate(counts)
    )
    return Snapshot(
        target=target(),
        window=window(),
        verdict=Verdict(
            "critical",
            (
                "7 of 23 connects to 10.0.0.5:5432 were refused: nothing listens there.",
                "DNS: 5 of 41 queries failed and 3 were never answered.",
                "fsync is slow: p95 41.6 ms on /var/lib/shop/orders.db.",
            ),
        ),
        summary=Summary(9317, 931.7, 15, Operations(41, 2318, 26, 6920, 12), 7, 6, 6),
        time_budget=None,
        dns=Dns(
            latency=latency(38, 0.0152, 5),
            queries=41,
            errors={"NXDOMAIN": 5},
            timeouts=3,
            timeout_after_seconds=5.0,
            pending=0,
            retries=6,
            targets=(
                DnsTarget("db.shop.example", 30, 30, latency(30, 0.0152), {}, 0),
                DnsTarget("missing.shop.example", 5, 5, latency(5, 0.0152, 5), {"NXDOMAIN": 5}, 0),
                DnsTarget("silent.shop.example", 3, 3, latency(), {}, 3),
            ),
        ),
        tcp=Tcp(
            rtt=latency(1200, 0.0309),
            rtt_spikes=2,
            rtt_spike_above_seconds=0.1,
            retransmits=4,
            resets=1,
            send=transfer(1100, 12.4e-6, 0.0031, 5_300_000, 3),
            receive=transfer(1214, 8.1e-6, 7.93, 41_200_000, 0),
            peers=(
                TcpPeer(
                    "10.0.0.7",
                    443,
                    "api.example",
                    latency(1100, 0.0309),
                    2,
                    4,
                    0,
                    5_300_000,
                    41_000_000,
                ),
                TcpPeer("2001:db8::17", 8443, None, latency(100, 0.0004), 0, 0, 1, 0, 200_000),
            ),
        ),
        connections=Connections(
            latency=latency(16, 0.0311),
            attempts=23,
            failed=7,
            in_progress=0,
            outcome_unknown=0,
            accepted=3,
            errors={"ECONNREFUSED": 7},
            lifetime=latency(15, 0.61),
            ipv4=ConnectFamily(20, 7, latency(13, 0.0311)),
            ipv6=ConnectFamily(3, 0, latency(3, 0.0004)),
            targets=(
                ConnectTarget("10.0.0.7", 443, "api.example", 13, 0, {}, latency(13, 0.0311)),
                ConnectTarget("10.0.0.5", 5432, None, 7, 7, {"ECONNREFUSED": 7}, latency()),
                ConnectTarget("2001:db8::17", 8443, None, 3, 0, {}, latency(3, 0.0004)),
            ),
        ),
        filesystem=Filesystem(
            open=file_operation(1202, 3.4e-6, 0.0, None),
            read=file_operation(5000, 1.9e-6, 0.021, 20_480_000),
            write=file_operation(701, 6.2e-6, 0.0007, 2_871_296),
            fsync=file_operation(17, 0.018, 0.31, None, 16),
            slow_above_seconds=0.01,
            files=(
                FileUse("/var/lib/shop/orders.db", 718, 2_871_296, 0.1084),
                FileUse("/usr/share/shop/catalogue.json", 5000, 20_480_000, 0.0000114),
            ),
        ),
        io_other=IoOther(OtherUse(3000, 12_288_000), OtherUse(82, 6100), OtherUse(0, 0)),
        cpu=Cpu(
            on_cpu_seconds=1.53,
            run_queue=latency(4120, 21e-6),
            run_queue_seconds=0.212,
            run_queue_ratio=0.1217,
            blocked=latency(4002, 0.0021),
            blocked_by_reason={
                "disk": 0.331,
                "network": 7.93,
                "lock": 0.0,
                "sleep": 0.7,
                "poll": 2.1,
                "other": 0.05,
            },
            throttled_seconds=0.0,
            throttled_periods=0,
        ),
        cpu_usage=(
            CpuUse(12, 48012, "burner", None, None, 1.21, 12.1, 0.19),
            CpuUse(7, 48007, "shop-api", None, None, 0.31, 3.1, 0.02),
            CpuUse(None, None, "unknown", None, None, 0.01, 0.1, None),
        ),
        process_activity=(
            ProcessActivity(
                7,
                48007,
                "shop-api",
                None,
                None,
                False,
                8900,
                15,
                0.955,
                Operations(41, 2318, 26, 6515, 0),
            ),
            ProcessActivity(
                31, 48031, "sh", None, None, True, 417, 0, 0.045, Operations(0, 0, 0, 405, 12)
            ),
        ),
        timeline=Timeline(1, buckets),
        bursts=Bursts(
            BURST_RULE,
            805.0,
            (Burst(instant(3), 1.0, 3911, 3911.0, 4.86, "filesystem", "shop-api"),),
        ),
        connection_patterns=ConnectionPatterns(
            PATTERN_RULE,
            (
                ConnectionPattern(
                    "10.0.0.7", 443, "api.example", "reuse", 13, 1.3, 0, 12, 0.61, 84.6
                ),
                ConnectionPattern("10.0.0.5", 5432, None, "failing", 7, 0.7, 7, 0, None, None),
                ConnectionPattern(
                    "2001:db8::17", 8443, None, "occasional", 3, 0.3, 0, 3, 0.2, 33.3
                ),
            ),
        ),
        network_io=NetworkIo(
            rule=NETWORK_RULE,
            pattern="mostly_receiving",
            sent_bytes=5_300_000,
            received_bytes=41_200_000,
            sent_bytes_per_second=530_000.0,
            received_bytes_per_second=4_120_000.0,
            peak_sent_bytes_per_second=812_000.0,
            peak_received_bytes_per_second=9_120_000.0,
            peak_bytes_per_second=9_700_000.0,
            peak_start=instant(3),
            send_receive_ratio=0.1286,
            average_send_bytes=4818.2,
            average_receive_bytes=33937.4,
        ),
        issues=(
            Issue(
                "connect_failures",
                "critical",
                "7 of 23 connects failed, all to 10.0.0.5:5432",
                (
                    "7 ECONNREFUSED of 7 attempts to 10.0.0.5:5432 (threshold: 5 % of at least 5)",
                    "refused within 0.4 ms: the host answers, the port is closed",
                ),
                ("all 16 other connects were established",),
                "high",
                "check that the service behind 10.0.0.5:5432 is running and listens on that port",
            ),
            Issue(
                "slow_fsync",
                "warning",
                "fsync is slow: p95 41.6 ms",
                ("17 fsyncs, p95 41.6 ms (threshold: 20.0 ms), 16 of them took 10.0 ms or more",),
                (),
                "medium",
                "look at the disk under /var/lib/shop, or batch the commits",
            ),
            Issue(
                "retransmits",
                "info",
                "4 of about 1,100 segments were sent again",
                ("4 retransmits (threshold: 1 % of segments)",),
                ("RTT p50 is steady at 30.9 ms",),
                "low",
                "watch the link to 10.0.0.7:443 if it grows",
            ),
        ),
        quality=quality(),
    )


def idle() -> Snapshot:
    """A complete run of a target that did nothing at all."""
    empty_file = file_operation(0, None, 0.0, 0)
    return Snapshot(
        target=target(),
        window=window(3.0),
        verdict=Verdict(
            "info",
            (
                "Nothing happened in 3 s: it is idle, or it hangs.",
                "Threads that slept all the time are not seen.",
            ),
        ),
        summary=Summary(0, 0.0, 0, NOTHING, 1, 0, 0),
        time_budget=None,
        dns=Dns(latency(), 0, {}, 0, 5.0, 0, 0, ()),
        tcp=Tcp(
            latency(), 0, 0.1, 0, 0, transfer(0, None, 0, 0, 0), transfer(0, None, 0, 0, 0), ()
        ),
        connections=Connections(
            latency(),
            0,
            0,
            0,
            0,
            0,
            {},
            latency(),
            ConnectFamily(0, 0, latency()),
            ConnectFamily(0, 0, latency()),
            (),
        ),
        filesystem=Filesystem(empty_file, empty_file, empty_file, empty_file, 0.01, ()),
        io_other=IoOther(OtherUse(0, 0), OtherUse(0, 0), OtherUse(0, 0)),
        cpu=Cpu(0.0, latency(), 0.0, None, latency(), {}, 0.0, 0),
        cpu_usage=(),
        process_activity=(),
        timeline=Timeline(
            1,
            tuple(TimelineBucket(instant(second), 1.0, 0, 0.0, 0, NOTHING) for second in range(3)),
        ),
        bursts=Bursts(BURST_RULE, 0.0, ()),
        connection_patterns=ConnectionPatterns(PATTERN_RULE, ()),
        network_io=NetworkIo(
            NETWORK_RULE, "idle", 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, None, None, None, None
        ),
        issues=(),
        quality=quality(),
    )


def blind() -> Snapshot:
    """A run on a kernel where most probes could not be attached."""
    missing = "this kernel has no sys_exit tracepoint"
    degraded = (
        DegradedSection("dns", "blank", "cgroup_skb programs may not be attached here"),
        DegradedSection("filesystem", "blank", missing),
        DegradedSection("io_other", "blank", missing),
        DegradedSection("cpu", "degraded", "blocked time is known, its reason is not"),
        DegradedSection("tcp", "degraded", "no round trips: the kernel does not export them"),
    )
    states = (
        Probe("dns", "dns", "cgroup_skb/egress", "failed", "Operation not permitted (EPERM)"),
        Probe("read", "filesystem", "tp_btf/sys_exit", "unsupported", missing),
        Probe(
            "retransmit",
            "tcp",
            "fexit/__tcp_retransmit_skb",
            "attached",
            "not tp_btf/tcp_retransmit_skb: this kernel has no tracepoint tcp_retransmit_skb",
        ),
    )
    base = busy()
    assert base.tcp is not None and base.cpu is not None
    return dataclasses.replace(
        base,
        verdict=Verdict(
            "info", ("No trouble in what could be measured; DNS and files could not.",)
        ),
        summary=Summary(2344, 234.4, 0, Operations(None, 2318, 26, None, 0), 7, None, 6),
        dns=None,
        filesystem=None,
        io_other=None,
        tcp=dataclasses.replace(base.tcp, rtt=None, rtt_spikes=None, retransmits=None),
        cpu=dataclasses.replace(
            base.cpu, blocked_by_reason=None, throttled_seconds=None, throttled_periods=None
        ),
        issues=(),
        quality=dataclasses.replace(
            quality(),
            probes=(*probes(), *states),
            degraded_sections=degraded,
            tracer_cpu_seconds=None,
            tracer_cpu_percent=None,
            tracer_memory_bytes=None,
            bpf_seconds_estimate=None,
        ),
    )


def torn() -> Snapshot:
    """A run whose tracer was killed, with losses and a damaged stream."""
    base = busy()
    return dataclasses.replace(
        base,
        window=dataclasses.replace(
            base.window,
            measured_seconds=8.4,
            complete=False,
            end_reason=None,
            incomplete_reason="the stream broke off without its last line",
        ),
        verdict=Verdict(
            "incomplete", ("The trace broke off after 8.40 s.", *base.verdict.lines[:2])
        ),
        timeline=Timeline(
            1,
            (
                *base.timeline.buckets[:6],
                TimelineBucket(instant(6), 0.0, None, None, None, Operations(*(None,) * 5)),
                *base.timeline.buckets[7:],
            ),
        ),
        quality=dataclasses.replace(
            quality(),
            lost={"ring_full": 912, "dns_full": 3, "novel_place": 1},
            lost_total=916,
            lost_ratio=0.0895,
            overflow=1200,
            suppressed=41,
            stream=StreamHealth(612, {"not_json": 2, "too_long": 1}, 14, 3, 2, 22, 1),
        ),
    )


def nothing() -> Snapshot:
    """A run that ended before its first interval: not even the hello line arrived."""
    return Snapshot(
        target=Target(None, None, None, None, (), None, None, None, None, ()),
        window=Window(None, None, 0.0, 0.0, 0, False, "the stream was empty", None, None),
        verdict=Verdict("incomplete", ("Nothing was received: the stream was empty.",)),
        summary=Summary(None, None, None, Operations(*(None,) * 5), None, None, None),
        time_budget=None,
        dns=None,
        tcp=None,
        connections=None,
        filesystem=None,
        io_other=None,
        cpu=None,
        cpu_usage=None,
        process_activity=None,
        timeline=Timeline(1, ()),
        bursts=Bursts(BURST_RULE, None, ()),
        connection_patterns=None,
        network_io=None,
        issues=(),
        quality=Quality(
            {},
            0,
            None,
            0,
            0,
            (),
            (),
            stream_health(0),
            (),
            None,
            None,
            None,
            None,
            None,
            None,
            None,
        ),
    )


def pod() -> Snapshot:
    """The busy run in one pod with two containers; the database has a name."""
    base = busy()
    assert base.connections is not None and base.tcp is not None
    assert base.cpu_usage is not None and base.process_activity is not None
    assert base.connection_patterns is not None
    (member,) = base.target.members
    web = dataclasses.replace(
        member,
        type="pod",
        name="web-0",
        namespace="shop",
        pod="web-0",
        node="node-a",
        containers=("web", "sidecar"),
        cgroup="/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1f.slice",
    )
    api, database, other = base.connections.targets
    names = ("service shop/api", "pod shop/db-0", None)

    def placed(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            dataclasses.replace(row, pod="web-0", container="web") if row.host_pid else row
            for row in rows
        )

    def called(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            dataclasses.replace(row, name=name) for row, name in zip(rows, names, strict=False)
        )

    return dataclasses.replace(
        base,
        target=dataclasses.replace(
            base.target,
            type="pod",
            name="web-0",
            namespace="shop",
            pod="web-0",
            nodes=("node-a",),
            members=(web,),
        ),
        connections=dataclasses.replace(base.connections, targets=called((api, database, other))),
        tcp=dataclasses.replace(
            base.tcp, peers=(dataclasses.replace(base.tcp.peers[0], name="service shop/api"),)
        ),
        connection_patterns=dataclasses.replace(
            base.connection_patterns, targets=called(base.connection_patterns.targets)
        ),
        cpu_usage=placed(base.cpu_usage),
        process_activity=placed(base.process_activity),
        quality=dataclasses.replace(
            base.quality, tracers=(dataclasses.replace(tracer(), node="node-a"),)
        ),
    )


def pods() -> Snapshot:
    """A run of three pods of a Deployment on two nodes, one of which lost its tracer."""
    base = pod()
    assert base.cpu_usage is not None and base.process_activity is not None
    (web,) = base.target.members
    names = ("web-7d4b9c6f5d-x2x9k", "web-7d4b9c6f5d-8qpl4", "web-7d4b9c6f5d-zz7wm")
    figures = ((9317, 15, 1.53), (4102, 0, 0.41), (12, 3, None))
    members = tuple(
        dataclasses.replace(
            web,
            id=number,
            name=name,
            pod=name,
            node="node-b" if number == 3 else "node-a",
            events=events,
            errors=errors,
            cpu_seconds=cpu,
            connects_failed=7 if number == 1 else 3 if number == 3 else 0,
            dns_errors=8 if number == 1 else 0,
            retransmits=4 if number == 1 else 0,
            slow_file_operations=16 if number == 1 else 0,
            restarts=1 if number == 3 else 0,
        )
        for number, name, (events, errors, cpu) in zip((1, 2, 3), names, figures, strict=True)
    )

    def spread(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            dataclasses.replace(row, pod=name) for row, name in zip(rows, names, strict=False)
        )

    reason = "on node-b: the tracer ended without its last line"
    missing = Probe("dns", "dns", "cgroup_skb/egress", "failed", "not permitted", "node-b")
    return dataclasses.replace(
        base,
        target=dataclasses.replace(
            base.target,
            name=", ".join(names),
            pod=None,
            nodes=("node-a", "node-b"),
            cpus=4,
            members=members,
        ),
        window=dataclasses.replace(
            base.window, complete=False, incomplete_reason=reason, end_reason=None
        ),
        cpu_usage=spread(base.cpu_usage),
        process_activity=spread(base.process_activity),
        quality=dataclasses.replace(
            base.quality,
            probes=(
                *(dataclasses.replace(probe, node="node-a") for probe in probes()),
                *(dataclasses.replace(probe, node="node-b") for probe in probes()),
                missing,
            ),
            degraded_sections=(
                DegradedSection("dns", "degraded", "on node-b: not measured: not permitted"),
            ),
            tracers=(
                dataclasses.replace(tracer(), stream=1, node="node-a"),
                dataclasses.replace(
                    tracer(),
                    stream=2,
                    node="node-b",
                    ticks=4,
                    complete=False,
                    incomplete_reason="the tracer ended without its last line",
                    end_reason=None,
                ),
            ),
        ),
    )


EVIL = (
    "\x1b[2J\x1b]0;owned\x07\u202egpj.exe\r\n\u200b\ud800日本語" + "e\u0301\u0301\u0301\u0301" * 9
)


def hostile(text: str = EVIL, scale: int = 1, base: Snapshot | None = None) -> Snapshot:
    """A run, the busy one, with every text of the snapshot replaced and every number scaled."""
    return _replaced(base or busy(), text, scale)


def _replaced(value: T, text: str, scale: int) -> T:
    changed: object = value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: getattr(value, field.name)
            if field.name in {"severity", "status", "schema"}
            else _replaced(getattr(value, field.name), text, scale)
            for field in dataclasses.fields(value)
        }
        changed = dataclasses.replace(value, **fields)
    elif isinstance(value, tuple):
        changed = tuple(_replaced(item, text, scale) for item in value)
    elif isinstance(value, dict):
        changed = {
            f"{_replaced(key, text, scale)}{index}": _replaced(item, text, scale)
            for index, (key, item) in enumerate(value.items())
        }
    elif isinstance(value, str):
        changed = text
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        changed = value * scale
    return changed  # type: ignore[return-value]


def notable(event: str, **fields: Any) -> Notable:
    """An event of nginx, PID 12 in its container, 12.5 s after the start of the busy run."""
    base = Notable(
        time_ns=int((START + timedelta(seconds=12.5)).timestamp()) * 1_000_000_000,
        event=event,
        pid=12,
        host_pid=48012,
        process="nginx",
        container=None,
        pod=None,
        duration_seconds=None,
        peer=None,
        peer_name=None,
        name=None,
        path=None,
        error=None,
        bytes=None,
        operation=None,
        reason=None,
        exit_code=None,
        count=None,
        detail=None,
    )
    return dataclasses.replace(base, **fields)


ORDINARY = (busy, idle, blind, torn, nothing, pod, pods)
"""All of them but the hostile one."""
