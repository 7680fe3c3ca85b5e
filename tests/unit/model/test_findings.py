"""Potential issues: each fault alone comes first, and a healthy run has none above info."""

from __future__ import annotations

from typing import Any

import pytest

from factories import SECOND, encoded, end, event, hello, process, series, stream, tick
from podtrace.model.findings import at_or_above
from podtrace.model.rules import RULES
from podtrace.model.session import Session
from podtrace.model.snapshot import Issue, Snapshot
from podtrace.model.thresholds import Thresholds

MS = SECOND // 1000
PEER = "10.0.0.1:5432"
Line = dict[str, Any]


def healthy() -> list[Line]:
    """Return one second of an application that is well: a refused connect, slow single ones."""
    return [
        series("dns", name="api.example.com", duration_ns=[MS] * 15 + [150 * MS]),
        series("dns", name="cache.svc.cluster.local", duration_ns=[MS] * 4),
        *(
            series("dns", name=f"api.example.com.{suffix}", duration_ns=[MS] * 4, errors=missing)
            for suffix in ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")
            for missing in ({"NXDOMAIN": 4},)
        ),
        series("dns_query", count=32),
        series("connect_attempt", peer=PEER, count=21),
        series(
            "connect",
            peer=PEER,
            duration_ns=[30 * MS] * 19 + [250 * MS],
            errors={"ECONNREFUSED": 1},
        ),
        series("connection", peer=PEER, duration_ns=[400 * MS] * 20),
        series("rtt", peer=PEER, duration_ns=[30 * MS] * 200),
        series("send", duration_ns=[20_000] * 500, bytes=500_000),
        series("receive", duration_ns=[20_000] * 500, bytes=500_000, wait_ns=SECOND),
        series("open", duration_ns=[20_000] * 20),
        series("read", duration_ns=[2000] * 990 + [12 * MS] * 10, slow=10, bytes=990),
        series("write", duration_ns=[3000] * 200, bytes=2000),
        series("fsync", duration_ns=[2 * MS] * 30 + [70 * MS]),
        series("run_queue", duration_ns=[40_000] * 2000 + [9 * MS] * 3),
        series("blocked", duration_ns=[5 * MS] * 100, reason="network"),
        series("blocked", duration_ns=[2 * MS] * 30, reason="disk"),
        series("cpu", count=0, sum_ns=400 * MS),
    ]


def run(lines: list[Line], health: Line | None = None, **hello_fields: Any) -> Session:
    folded = Session()
    whole = [process(100, "app"), *lines]
    folded.feed(encoded(stream(hello(**hello_fields), tick(*whole, **(health or {})), end())))
    folded.finish()
    return folded


def issues(*lines: Line, **thresholds: float) -> tuple[Issue, ...]:
    return run(list(lines)).snapshot(Thresholds(**thresholds)).issues


def with_fault(*lines: Line) -> Snapshot:
    """Return the report of a healthy second with some lines more."""
    return run([*healthy(), *lines]).snapshot()


FAULTS: dict[str, list[Line]] = {
    "dns_errors": [
        series("dns", name="gone.example", duration_ns=[MS] * 30, errors={"NXDOMAIN": 30})
    ],
    "dns_timeouts": [series("dns_timeout", name="lost.example", count=5)],
    "dns_slow": [series("dns", name="slow.example", duration_ns=[300 * MS] * 40)],
    "connects_failing": [
        series("connect_attempt", peer="10.0.0.2:81", count=12),
        series("connect", peer="10.0.0.2:81", count=0, errors={"ECONNREFUSED": 12}),
    ],
    "connects_slow": [series("connect", peer=PEER, duration_ns=[500 * MS] * 10)],
    "rtt_spikes": [
        series("rtt", peer=PEER, duration_ns=[200 * MS] * 12),
        series("rtt_spike", peer=PEER, count=12),
    ],
    "retransmits": [series("retransmit", peer=PEER, count=25)],
    "resets": [series("reset", peer=PEER, count=9)],
    "fsync_slow": [series("fsync", duration_ns=[120 * MS] * 8)],
    "files_slow": [series("write", duration_ns=[60 * MS] * 40)],
    "file_errors": [series("write", count=0, errors={"ENOSPC": 400})],
    "cpu_throttled": [
        series("throttled", count=8, sum_ns=400 * MS, process=0),
        series("run_queue", duration_ns=[30 * MS] * 200),
    ],
    "cpu_waiting": [series("run_queue", duration_ns=[12 * MS] * 200)],
    "oom_killed": [event("oom_kill")],
    "processes_crashed": [process(300, "app", start_ns=1, exit_ns=2, exit_code=-11)],
    "container_restarted": [event("container_restart")],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_single_fault_comes_first(fault: str) -> None:
    found = with_fault(*FAULTS[fault])
    assert found.issues[0].id == fault
    assert found.issues[0].severity in ("warning", "critical")
    assert found.verdict.status == found.issues[0].severity
    assert found.issues[0].title in found.verdict.lines[0]


def test_healthy_run_has_nothing_above_info() -> None:
    found = with_fault()
    assert [issue.id for issue in found.issues] == ["dns_search_list"]
    assert found.issues[0].severity == "info"
    assert found.verdict.status == "info"
    assert found.verdict.lines[0].startswith("No warning in 1 s of ")
    assert found.verdict.lines[1] == f"Remark: {found.issues[0].title}."


def test_search_list_misses_speak_against_dns_errors() -> None:
    found = with_fault(*FAULTS["dns_errors"])
    first = found.issues[0]
    assert "30 of 50 answers" in first.evidence[0]
    assert first.title.endswith(", all for gone.example")
    assert first.evidence[-1] == "most errors: gone.example 30"
    assert any(
        "12 further NXDOMAIN answers are left out" in text for text in first.counter_evidence
    )


@pytest.mark.parametrize(
    ("fault", "thresholds"),
    [
        ("dns_errors", ["threshold 10 %"]),
        ("dns_timeouts", ["threshold 1 %"]),
        ("dns_slow", ["threshold 100 ms"]),
        ("connects_failing", ["threshold 10 %"]),
        ("connects_slow", ["threshold 200 ms"]),
        ("rtt_spikes", ["threshold 1 %"]),
        ("retransmits", ["threshold 1 %"]),
        ("resets", ["threshold 10 %"]),
        ("fsync_slow", ["threshold 50 ms"]),
        ("files_slow", ["threshold 20 ms"]),
        ("file_errors", ["threshold 10 %"]),
        ("cpu_throttled", ["threshold 10 %"]),
        ("cpu_waiting", ["threshold 20 %", "threshold 8 ms", "threshold 25 %"]),
        ("oom_killed", ["threshold 1"]),
        ("processes_crashed", ["threshold 1"]),
        ("container_restarted", ["threshold 1"]),
    ],
)
def test_evidence_prints_its_threshold(fault: str, thresholds: list[str]) -> None:
    evidence = " ".join(with_fault(*FAULTS[fault]).issues[0].evidence)
    assert all(text in evidence for text in thresholds)
    assert with_fault(*FAULTS[fault]).issues[0].next_step


def test_every_rule_can_find_something() -> None:
    notes = {"dns_search_list", "dns_pending", "connect_target_failing", "disk_wait", "data_lost"}
    notes |= {"pod_gone", "pod_state"}
    assert {rule.id for rule in RULES} == {*FAULTS, *notes}


@pytest.mark.parametrize(("pending", "told"), [(12, True), (5, False), (2, False)])
def test_queries_open_at_the_end_are_told(pending: int, told: bool) -> None:
    asked = series("dns_query", count=60)
    found = run([asked], {"gauges": {"dns_pending": pending}}).snapshot().issues
    assert [(issue.id, issue.severity) for issue in found] == [("dns_pending", "info")] * told
    assert all("12 of 60" in issue.title for issue in found)


@pytest.mark.parametrize("peer", ["127.0.0.1:80", "[::1]:80", "[::1]"])
def test_segments_sent_again_on_loopback_are_no_lost_packets(peer: str) -> None:
    [found] = issues(series("retransmit", peer=peer, count=25))
    assert (found.id, found.severity) == ("retransmits", "info")
    assert "loopback loses nothing" in found.counter_evidence[0]


def test_worst_target_and_cause_are_named() -> None:
    found = with_fault(*FAULTS["connects_failing"]).issues[0]
    assert "ECONNREFUSED 13" in " ".join(found.evidence)
    assert "10.0.0.2:81 12" in " ".join(found.evidence)
    assert "Nothing listens" in found.next_step


def connects(good: int, bad: int, peer: str = PEER, error: str = "ECONNREFUSED") -> Line:
    errors = {error: bad} if bad else {}
    return series("connect", count=good, peer=peer, duration_ns=MS, errors=errors)


def test_dead_target_among_many_good_connects_is_told_as_info() -> None:
    [found] = issues(connects(200, 0), connects(0, 5, peer="10.0.0.9:81"))
    assert (found.id, found.severity) == ("connect_target_failing", "info")
    assert found.title == "TCP connects to 10.0.0.9:81 fail: 5 of 5"
    assert "10.0.0.9:81 5" in " ".join(found.evidence)
    assert "threshold 50 %" in " ".join(found.evidence)


def test_target_that_fails_now_and_then_is_not_told() -> None:
    assert issues(connects(200, 0), connects(6, 5, peer="10.0.0.9:81")) == ()


@pytest.mark.parametrize(
    ("good", "bad", "severity"),
    [
        (0, 1, "info"),
        (0, 2, "info"),
        (1, 2, None),
        (0, 3, "warning"),
        (6, 3, "warning"),
        (28, 3, None),
        (27, 3, "warning"),
        (6, 5, "warning"),
        (5, 5, "critical"),
        (0, 10, "critical"),
        (0, 9, "warning"),
    ],
)
def test_share_of_failed_connects_decides(good: int, bad: int, severity: str | None) -> None:
    found = issues(connects(good, bad))
    assert [issue.severity for issue in found if issue.id == "connects_failing"] == (
        [severity] if severity else []
    )


@pytest.mark.parametrize("metric", ["dns", "connect", "fsync", "read"])
def test_one_slow_operation_of_one_is_no_finding(metric: str) -> None:
    assert issues(series(metric, duration_ns=[30 * SECOND])) == ()
    assert issues(series(metric, duration_ns=[30 * SECOND] * 2)) == ()
    assert [issue.severity for issue in issues(series(metric, duration_ns=[30 * SECOND] * 3))] == [
        "warning"
    ]
    assert [issue.severity for issue in issues(series(metric, duration_ns=[30 * SECOND] * 10))] == [
        "critical"
    ]


@pytest.mark.parametrize(
    ("line", "title"),
    [
        (
            series("dns", name="nx.example", duration_ns=[MS] * 2, errors={"NXDOMAIN": 2}),
            "DNS answers with an error code: 2 of 2 (100 %), all for nx.example",
        ),
        (
            series("dns_timeout", name="lost.example", count=1),
            "DNS queries without an answer: 1 of 1 (100 %), all for lost.example",
        ),
        (connects(0, 2), f"TCP connects fail: 2 of 2 (100 %), all to {PEER}"),
        (
            series("write", count=0, errors={"ENOSPC": 2}),
            "File operations fail: 2 of 2 (100 %)",
        ),
    ],
)
def test_few_failures_are_told_where_nothing_succeeded(line: Line, title: str) -> None:
    found = run([line]).snapshot()
    [issue] = found.issues
    assert (issue.title, issue.severity, issue.confidence) == (title, "info", "low")
    assert found.verdict.status == "info"
    assert found.verdict.lines[1] == f"Remark: {title}."
    good = series(line["metric"], count=1, duration_ns=MS)
    if line["metric"] == "dns_timeout":
        good = series("dns", count=1, duration_ns=MS)
    assert issues(line, good) == ()


def test_least_count_of_the_user_still_keeps_failures_from_being_a_warning() -> None:
    assert [item.severity for item in issues(connects(0, 30), least_count=100)] == ["info"]
    assert issues(connects(1, 30), least_count=100) == ()


@pytest.mark.parametrize(
    ("bad", "end"),
    [
        ((9, 0), ", all to 10.0.0.2:81"),
        ((7, 2), ", 7 of them to 10.0.0.2:81"),
        ((5, 5), ""),
        ((4, 3, 3), ""),
    ],
)
def test_title_names_the_target_that_most_failures_are_of(bad: tuple[int, ...], end: str) -> None:
    lines = [connects(0, count, peer=f"10.0.0.{2 + place}:81") for place, count in enumerate(bad)]
    [found] = issues(*lines)
    assert found.title == f"TCP connects fail: {sum(bad)} of {sum(bad)} (100 %){end}"


def test_title_shortens_what_a_process_chose() -> None:
    name = f"begin.{'x' * 200}.end"
    [found] = issues(series("dns", name=name, duration_ns=[MS] * 5, errors={"SERVFAIL": 5}))
    assert found.title.startswith("DNS answers with an error code: 5 of 5 (100 %), all for begin.x")
    assert found.title.endswith("x.end")
    assert len(found.title) < 120


@pytest.mark.parametrize(
    ("lines", "title"),
    [
        (
            [
                series("dns", name="slow.example", duration_ns=[300 * MS] * 20),
                series("dns", name="also.example", duration_ns=[300 * MS] * 5),
            ],
            "DNS answers are slow: 95th percentile 294 ms, 20 of the 25 slow ones for slow.example",
        ),
        (
            [series("connect", peer=PEER, duration_ns=[500 * MS] * 5)],
            f"TCP connects are slow: 95th percentile 495 ms, all slow ones to {PEER}",
        ),
        (
            [
                series("fsync", duration_ns=[120 * MS] * 8),
                series("file", path="/var/lib/db/wal", count=8, max_ns=120 * MS),
                series("file", path="/etc/hosts", count=900, max_ns=2 * MS),
            ],
            "fsyncs are slow: 95th percentile 120 ms, slowest file /var/lib/db/wal",
        ),
    ],
)
def test_title_names_what_is_slow(lines: list[Line], title: str) -> None:
    assert issues(*lines)[0].title == title


def test_server_that_refuses_queries_is_told() -> None:
    asked = series("dns_query", count=2, name="db.example")
    refused = series("socket", count=2, errors={"ECONNREFUSED": 2})
    open_ = {"gauges": {"dns_pending": 2}}
    [quiet] = run([asked], open_).snapshot().issues
    assert quiet.title == "DNS queries without an answer so far: 2 of 2, all for db.example"
    assert "Trace for longer" in quiet.next_step
    [found] = run([asked, refused], open_).snapshot().issues
    assert found.title == quiet.title
    assert "2 calls on sockets that are no TCP were refused" in found.evidence[1]
    assert "/etc/resolv.conf" in found.next_step


def test_only_one_ip_version_failing_is_told() -> None:
    (found,) = issues(
        connects(10, 0), connects(0, 8, peer="[2001:db8::1]:443", error="ENETUNREACH")
    )
    assert "only IPv6 connects fail; IPv4 works" in found.counter_evidence
    assert "routes" in found.next_step


def test_thresholds_of_the_user_decide() -> None:
    slow = series("dns", name="a", duration_ns=[60 * MS] * 20)
    assert issues(slow) == ()
    (found,) = issues(slow, dns_slow_p95_seconds=0.05)
    assert "threshold 50 ms" in found.evidence[0]
    assert issues(connects(0, 30), connect_failed_ratio=1.1) == ()
    assert issues(connects(18, 2), least_count=2)[0].id == "connects_failing"


def test_throttling_of_several_cpus_is_no_share_of_the_time() -> None:
    (found,) = issues(series("throttled", count=20, sum_ns=1450 * MS, process=0))
    assert found.title == "CPU is throttled by its quota: 1.45 s in 1 s, added over the CPUs"


def test_waiting_of_a_process_is_told_as_that_of_all_its_threads() -> None:
    (found,) = issues(series("run_queue", duration_ns=[30 * MS] * 500), process(100, "app"))
    assert found.evidence[-1] == "most waiting: app 15 s (all threads)"


def test_effect_stands_behind_its_cause_and_is_no_worse() -> None:
    waits = series("run_queue", duration_ns=[30 * MS] * 500)
    throttled = series("throttled", count=8, sum_ns=200 * MS, process=0)
    (alone,) = issues(waits)
    assert (alone.id, alone.severity) == ("cpu_waiting", "critical")
    found = issues(waits, throttled)
    assert [(item.id, item.severity) for item in found] == [
        ("cpu_throttled", "warning"),
        ("cpu_waiting", "warning"),
    ]


def test_lost_segments_stand_before_the_spikes_that_they_cause() -> None:
    lines = [
        series("send", duration_ns=[1000] * 170, bytes=1700),
        series("rtt", peer=PEER, duration_ns=[4 * MS] * 170 + [220 * MS] * 22),
        series("rtt_spike", peer=PEER, count=22),
    ]
    assert [(item.id, item.severity) for item in issues(*lines)] == [("rtt_spikes", "critical")]
    found = issues(*lines, series("retransmit", peer=PEER, count=6))
    assert [(item.id, item.severity) for item in found] == [
        ("retransmits", "warning"),
        ("rtt_spikes", "warning"),
    ]


def test_more_severe_findings_come_first_and_then_the_greater_ones() -> None:
    found = issues(
        connects(0, 40),
        series("dns", name="a", duration_ns=[150 * MS] * 20),
        series("fsync", duration_ns=[400 * MS] * 20),
    )
    assert [(item.id, item.severity) for item in found] == [
        ("connects_failing", "critical"),
        ("fsync_slow", "warning"),
        ("dns_slow", "warning"),
    ]


@pytest.mark.parametrize(("count", "confidence"), [(5, "low"), (20, "medium"), (60, "high")])
def test_confidence_grows_with_samples(count: int, confidence: str) -> None:
    assert issues(connects(0, count))[0].confidence == confidence


def test_confidence_falls_with_losses_and_degraded_sections() -> None:
    lines = [connects(0, 60)]
    lossy = run(lines, health={"lost": {"ring_full": 30}}).snapshot().issues
    assert [issue.confidence for issue in lossy] == ["medium", "medium"]
    degraded = run(lines, degraded=["connections"]).snapshot().issues
    assert [issue.confidence for issue in degraded] == ["medium"]
    both = run(lines, health={"lost": {"ring_full": 30}}, degraded=["connections"])
    assert both.snapshot().issues[0].confidence == "low"


@pytest.mark.parametrize(("lost", "severity"), [(0, None), (1, "info"), (60, "warning")])
def test_lost_data_is_a_finding(lost: int, severity: str | None) -> None:
    reads = series("read", duration_ns=[1000] * 1000)
    found = run([reads], health={"lost": {"ring_full": lost}}).snapshot()
    assert [issue.severity for issue in found.issues] == ([severity] if severity else [])
    assert any("Do not rely" in line for line in found.verdict.lines) == (severity == "warning")


def test_losses_of_the_whole_node_may_be_others() -> None:
    reads = series("read", duration_ns=[1000] * 100)
    found = run([reads], health={"lost": {"recursion_missed": 25, "ring_full": 0}}).snapshot()
    [issue] = found.issues
    assert (issue.severity, issue.confidence) == ("info", "low")
    assert issue.title == "Part of the data may be lost: at most 20 %"
    assert "25 runs of probes (threshold 1), counted for the whole node" in issue.evidence[0]
    assert found.verdict.status == "info"
    assert found.verdict.lines[-1] == (
        "Counts may be too low: up to 20 % of the records were lost, as counted for the whole node."
    )
    mixed = run([reads], health={"lost": {"recursion_missed": 25, "ring_full": 1}}).snapshot()
    assert (mixed.issues[0].severity, mixed.verdict.status) == ("warning", "warning")
    assert mixed.verdict.lines[-1].startswith("Do not rely on the counts: 21 % of the records")


@pytest.mark.parametrize(
    ("wait_ms", "waits", "cpu_ms", "found"),
    [
        (12, 3, 1, []),  # a nearly idle application on a busy node
        (12, 15, 50, ["cpu_waiting"]),  # few, but long waits
        (4, 40, 50, []),  # short waits of a light load
        (4, 100, 300, ["cpu_waiting"]),  # short waits, but two fifths of the time
        (4, 100, 4000, []),  # the same waits beside ten times the work
    ],
)
def test_long_waits_or_much_waiting_for_a_cpu_count(
    wait_ms: int, waits: int, cpu_ms: int, found: list[str]
) -> None:
    lines = (
        series("run_queue", duration_ns=[wait_ms * MS] * waits),
        series("cpu", count=0, sum_ns=cpu_ms * MS),
    )
    assert [issue.id for issue in issues(*lines)] == found


def test_disk_wait_is_told_as_info() -> None:
    waits = series("blocked", duration_ns=[10 * MS] * 30, reason="disk")
    (found,) = issues(waits, series("cpu", count=0, sum_ns=50 * MS))
    assert (found.id, found.severity) == ("disk_wait", "info")


def test_harmless_ends_of_processes_are_no_crash() -> None:
    ends = [process(300 + code, "job", exit_ns=5, exit_code=-code) for code in (2, 9, 13, 15)]
    assert issues(*ends, process(400, "job", exit_ns=5, exit_code=1)) == ()


def test_bulk_upload_with_few_losses_is_no_finding() -> None:
    upload = series("send", count=1600, duration_ns=50_000, bytes=100_000_000)
    assert issues(upload, series("retransmit", count=20)) == ()


def test_fail_on_takes_findings_at_or_above() -> None:
    found = with_fault(*FAULTS["connects_slow"], *FAULTS["oom_killed"]).issues
    assert [issue.id for issue in at_or_above(found, "critical")] == ["oom_killed"]
    assert {issue.id for issue in at_or_above(found, "warning")} == {"oom_killed", "connects_slow"}
    assert at_or_above(found, "info") == found


def test_verdict_has_three_lines_at_most() -> None:
    every = [line for lines in FAULTS.values() for line in lines]
    found = run([*healthy(), *every], health={"lost": {"ring_full": 99_999}}).snapshot()
    assert len(found.verdict.lines) == 3
    assert found.verdict.status == "critical"
    assert "more." in found.verdict.lines[1]
    assert "Do not rely on the counts" in found.verdict.lines[2]
