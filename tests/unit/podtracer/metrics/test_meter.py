from __future__ import annotations

import errno

import pytest

from kernel_memory import dns_pending_value, process_value, thread_value
from metrics_page import POD, Metered
from podtrace.wire.histogram import slot_of
from podtrace.wire.schema import METRICS, OVERFLOW_PROCESS
from podtracer import records
from podtracer.drain import Group, GroupKey, SeriesTable
from podtracer.metrics.meter import COUNTED, OPERATIONS, TIMED
from podtracer.records import ASPECT_AGAIN, ASPECT_ERROR, U32
from podtracer.target import Target
from tracer_machine import SECOND, Machine

PLACE = {"namespace": "shop", "pod": "web-0", "container": "app"}
NGINX = {"process_name": "nginx", **PLACE}


def key(metric: str, process: int = 100, label: int = 0, target: int = 1) -> GroupKey:
    return records.METRICS.index(metric), process, target, label


def timed(*durations_ns: int, **fields: int) -> Group:
    group = Group(count=len(durations_ns), sum_ns=sum(durations_ns), **fields)
    for ns in durations_ns:
        group.slots[slot_of(ns)] = group.slots.get(slot_of(ns), 0) + 1
    return group


@pytest.fixture
def metered() -> Metered:
    metered = Metered()
    metered.process(100, "nginx")
    return metered


@pytest.mark.parametrize(("metric", "type"), [(name, timed.type) for name, timed in TIMED.items()])
def test_durations_are_counted_exactly(metered: Metered, metric: str, type: str) -> None:
    label = records.REASONS.index("disk") if metric == "blocked" else 0
    durations = (0, 70_000, 70_000, 1_048_575, 1_048_576, 3_000_000_000, 20_000_000_000)
    metered.meter.count({key(metric, label=label): timed(*durations)})
    page = metered.page()
    family = TIMED[metric].histogram
    bounds = [(1 << power) / 1e9 for power in family.powers]
    for bound in bounds:
        shorter = sum(ns / 1e9 < bound for ns in durations)
        le = next(
            labels["le"]
            for labels in page.labels_of(f"{family.name}_bucket")
            if float(labels["le"]) == bound
        )
        assert page.value(f"{family.name}_bucket", le=le, type=type, **NGINX) == shorter
    assert page.value(f"{family.name}_bucket", le="+Inf", type=type, **NGINX) == 7
    assert page.value(f"{family.name}_count", type=type, **NGINX) == 7
    assert page.value(f"{family.name}_sum", type=type, **NGINX) == sum(durations) / 1e9
    assert 14 <= len(bounds) <= 18


def test_an_operation_as_long_as_a_bound_is_in_the_next_bucket(metered: Metered) -> None:
    metered.meter.count({key("read"): timed(8191, 8192)})
    buckets = metered.page().samples["podtrace_fs_latency_seconds_histogram_bucket"]
    assert {dict(labels)["le"]: value for labels, value in buckets.items()}["8.192e-06"] == 1


def test_the_latest_value_is_the_mean_of_the_last_tick_that_had_any(metered: Metered) -> None:
    metered.process(101, "nginx")
    name = "podtrace_latency_latest_seconds"
    metered.meter.count({key("connect"): timed(9_000_000)})
    both = {key("connect", label=2): timed(1_000_000), key("connect", 101): timed(4_000_000)}
    metered.meter.count(both)
    metered.meter.count({key("connect_attempt"): Group(count=1)})
    assert metered.page().value(name, type="connect", **NGINX) == 0.0025


def test_labels_of_peers_and_names_are_added_up(metered: Metered) -> None:
    metered.meter.count({key("rtt", label=label): timed(1000) for label in range(2, 9)})
    assert metered.page().value("podtrace_rtt_seconds_count", type="rtt", **NGINX) == 7


@pytest.mark.parametrize("metric", OPERATIONS)
def test_every_event_is_an_operation_and_failures_are_too(metered: Metered, metric: str) -> None:
    group = timed(1000, 2000) if metric in TIMED else Group(count=2)
    group.errors[1] = 1
    metered.meter.count({key(metric): group})
    expected = 2 if METRICS[metric].errors_timed else 3
    page = metered.page()
    assert page.value("podtrace_operations_total", type=metric, **NGINX) == expected


@pytest.mark.parametrize("metric", COUNTED)
def test_counts_have_a_family_of_their_own(metered: Metered, metric: str) -> None:
    metered.meter.count({key(metric): Group(count=3)})
    metered.meter.count({key(metric): Group(count=20)})
    assert metered.page().value(COUNTED[metric].name, **NGINX) == 23


def test_failures_are_told_apart_by_their_names(metered: Metered) -> None:
    metered.meter.count(
        {
            key("connect"): Group(errors={errno.ECONNREFUSED: 2, records.GIVEN_UP: 1}),
            key("dns"): Group(count=4, errors={3: 4}),
            key("write"): Group(errors={errno.ENOSPC: 5}),
            key("receive"): Group(errors={errno.ECONNRESET: 6}),
        }
    )
    page = metered.page()
    for error, count in (("ECONNREFUSED", 2), ("GIVEN_UP", 1)):
        assert page.value("podtrace_connect_failures_total", error=error, **NGINX) == count
    assert page.value("podtrace_dns_errors_total", rcode="NXDOMAIN", **NGINX) == 4
    failed = "podtrace_operation_errors_total"
    assert page.value(failed, type="write", error="ENOSPC", **NGINX) == 5
    assert page.value(failed, type="receive", error="ECONNRESET", **NGINX) == 6


def test_bytes_and_waiting_and_cpu_time(metered: Metered) -> None:
    sent = timed(10, bytes=4096, wait_ns=1_500_000_000)
    blocked = {
        key("blocked", label=records.REASONS.index(reason)): timed(10**9)
        for reason in ("disk", "lock")
    }
    metered.meter.count({key("send"): sent, key("cpu"): Group(sum_ns=250_000_000), **blocked})
    page = metered.page()
    assert page.value("podtrace_bytes_total", type="send", **NGINX) == 4096
    assert page.value("podtrace_wait_seconds_total", type="send", **NGINX) == 1.5
    assert page.value("podtrace_cpu_seconds_total", **NGINX) == 0.25
    for reason in ("disk", "lock"):
        assert page.value("podtrace_off_cpu_seconds_total", reason=reason, **NGINX) == 1
    count = "podtrace_cpu_block_seconds_histogram_count"
    assert page.value(count, type="blocked", **NGINX) == 2


def test_calls_with_nothing_to_do_are_no_operations(metered: Metered) -> None:
    metered.meter.count({key("receive"): Group(again=9)})
    page = metered.page()
    assert page.value("podtrace_operations_total", type="receive") is None
    assert page.value("podtrace_latency_seconds_count") is None


def test_what_did_not_happen_has_no_series(metered: Metered) -> None:
    metered.meter.count({key("exec"): Group(count=1)})
    assert metered.page().types == {"podtrace_operations_total": "counter"}


def test_who_cannot_be_told_counts_as_unknown(metered: Metered) -> None:
    metered.meter.count({key("pipe", process): Group(count=1) for process in (0, 4711)})
    unknown = {"process_name": "(unknown)", **PLACE, "container": ""}
    assert metered.page().value("podtrace_operations_total", **unknown) == 2


def test_unknown_work_counts_for_its_target() -> None:
    targets = (POD, Target(2, "pod", "db-0", namespace="shop", pod="db-0"))
    metered = Metered(targets=targets)
    metered.meter.count({key("pipe", 0, target=n): Group(count=n) for n in (1, 2)})
    page = metered.page()
    for pod, count in (("web-0", 1), ("db-0", 2)):
        unknown = {"process_name": "(unknown)", "pod": pod}
        assert page.value("podtrace_operations_total", **unknown) == count


def test_what_found_no_room_in_the_kernel_counts_as_overflow() -> None:
    group = {key("pipe", OVERFLOW_PROCESS): Group(count=4)}
    one, two = Metered(), Metered(targets=(POD, Target(2, "pod", "b", namespace="n", pod="b")))
    for metered in (one, two):
        metered.meter.count(group)
    name = "podtrace_operations_total"
    assert one.page().value(name, process_name="(overflow)", pod="web-0") == 4
    # With several targets nobody knows whose it was.
    assert two.page().value(name, process_name="(overflow)", pod="", namespace="") == 4


def test_containers_and_targets_keep_names_apart() -> None:
    targets = (POD, Target(2, "pod", "db-0", namespace="shop", pod="db-0"))
    metered = Metered(targets=targets, containers={7: "app", 8: "sidecar"})
    for number, fields in enumerate(
        ({"container_cgroup": 7}, {"container_cgroup": 8}, {"target": 2, "container_cgroup": 0})
    ):
        metered.process(number + 1, "sh", **fields)
    counted = {key("exec", n, target=t): Group(count=n) for n, t in ((1, 1), (2, 1), (3, 2))}
    metered.meter.count(counted)
    page = metered.page()
    name = "podtrace_operations_total"
    assert page.value(name, pod="web-0", container="app") == 1
    assert page.value(name, pod="web-0", container="sidecar") == 2
    assert page.value(name, pod="db-0", container="") == 3


def test_work_before_and_after_an_exec_counts_for_the_names_of_their_ticks(
    metered: Metered,
) -> None:
    metered.meter.count({key("pipe"): Group(count=1)})
    metered.process(100, "sleep")
    metered.meter.count({key("pipe"): Group(count=2)})
    page = metered.page()
    assert page.value("podtrace_operations_total", process_name="nginx") == 1
    assert page.value("podtrace_operations_total", process_name="sleep") == 2


def test_rare_events_count_where_they_happened(metered: Metered) -> None:
    for event in (
        {"event": "oom_kill", "process": 100, "target": 1},
        {"event": "oom_kill", "process": 4711, "target": 1},
        {"event": "container_restart", "process": 0, "target": 1, "name": "app"},
        {"event": "exec", "process": 100, "target": 1},
    ):
        metered.meter.event(event)
    page = metered.page()
    assert page.value("podtrace_oom_kills_total", **PLACE) == 1
    assert page.value("podtrace_oom_kills_total", container="") == 1
    assert page.value("podtrace_container_restarts_total", **PLACE) == 1


def test_throttling_counts_for_the_container_of_the_cgroup(metered: Metered) -> None:
    inside = f"/sys/fs/cgroup/kubepods/pod1/{'ab' * 32}"
    metered.meter.throttled(1, inside, 3, 500_000_000)
    metered.meter.throttled(1, f"{inside}/child", 1, 0)
    metered.meter.throttled(1, "/sys/fs/cgroup/kubepods/pod1", 0, 0)
    page = metered.page()
    assert page.value("podtrace_throttled_periods_total", container="name-of-abab") == 4
    assert page.value("podtrace_throttled_seconds_total", container="name-of-abab") == 0.5
    assert page.value("podtrace_throttled_periods_total", container="") == 0


def test_a_tick_that_is_folded_is_metered_whole(machine: Machine) -> None:
    metered = Metered()
    machine.tables.meter = metered.meter
    for number in range(1, 900):
        machine.process(number, process_value(b"worker"))
        machine.counters.tally("pipe", process=number)
        machine.counters.record("read", 5000, process=number)
        machine.counters.tally("read", slot=errno.EIO, aspect=ASPECT_ERROR, process=number)
        machine.counters.tally("receive", aspect=ASPECT_AGAIN, process=number)
    lines = machine.lines("series")
    assert any(line["process"] == -2 for line in lines)
    page = metered.page()
    assert page.total("podtrace_operations_total", process_name="worker", type="pipe") == 899
    assert page.total("podtrace_operations_total", process_name="worker", type="read") == 2 * 899
    assert page.total("podtrace_fs_latency_seconds_histogram_count") == 899


def test_work_is_counted_when_its_process_has_ended(machine: Machine) -> None:
    metered = Metered()
    machine.tables.meter = metered.meter
    machine.process(100, process_value(b"once", exit_ns=SECOND))
    for tick in range(1, 6):
        if tick < 4:
            machine.counters.tally("pipe", 2)
        machine.tick(tick * SECOND)
    assert machine.processes.lookup(U32.pack(100)) is None
    assert metered.page().value("podtrace_operations_total", process_name="once") == 6


def test_a_process_that_begins_during_a_tick_has_its_name(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    metered = Metered()
    machine.tables.meter = metered.meter
    series: SeriesTable = machine.tables._series
    gains = series.gains

    def late() -> dict[GroupKey, Group]:
        machine.process(100, process_value(b"young"))
        machine.counters.tally("pipe", 3)
        return gains()

    monkeypatch.setattr(series, "gains", late)
    machine.tick(SECOND)
    page = metered.page()
    assert page.value("podtrace_operations_total", process_name="young", type="pipe") == 3
    assert page.total("podtrace_operations_total") == 3


def test_cpu_time_that_was_counted_too_early_never_falls(machine: Machine) -> None:
    metered = Metered()
    machine.tables.meter = metered.meter
    machine.process(100, process_value(b"busy"))
    name, values = "podtrace_cpu_seconds_total", []
    machine.threads.update(U32.pack(100), thread_value(100, on_cpu_ns=SECOND // 2))
    values.append(_cpu(machine, metered, SECOND, name))
    # The switch had come, but was counted for less than was taken to be open.
    machine.threads.update(U32.pack(100), thread_value(100))
    machine.counters.tally("cpu", ns=SECOND // 4)
    values.append(_cpu(machine, metered, 2 * SECOND, name))
    machine.counters.tally("cpu", ns=SECOND)
    values.append(_cpu(machine, metered, 3 * SECOND, name))
    assert values == [0.5, 0.5, 1.25]


def _cpu(machine: Machine, metered: Metered, now_ns: int, name: str) -> float | None:
    machine.tick(now_ns)
    return metered.page().value(name, process_name="busy")


def test_timeouts_are_metered(machine: Machine) -> None:
    metered = Metered()
    machine.tables.meter = metered.meter
    machine.process(100, process_value(b"asks"))
    machine.dns.update(bytes(16), dns_pending_value(1, label=1))
    machine.tick(6 * SECOND)
    assert metered.page().value("podtrace_dns_timeouts_total", process_name="asks") == 1
