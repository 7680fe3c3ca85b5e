"""Several pods in one report: counted apart, named where one stands out; peers with their names."""

from __future__ import annotations

from typing import Any

import pytest

from factories import (
    SECOND,
    START_NS,
    Tick,
    encoded,
    end,
    event,
    hello,
    process,
    series,
    stream,
    target,
    tick,
)
from podtrace.model.blame import concerned_pods
from podtrace.model.peers import PeerNames
from podtrace.model.pod_notes import PodNote
from podtrace.model.session import Session
from podtrace.model.snapshot import Issue, Snapshot, to_tree
from unit.model.test_session import VALIDATOR

MS = SECOND // 1000
Line = dict[str, Any]


def pod(number: int, name: str | None = None, **fields: Any) -> Line:
    name = name or f"web-{number - 1}"
    return target(number, name, type="pod", pod=name, namespace="shop") | fields


def session(targets: list[Line], *parts: Line | Tick, **hello_fields: Any) -> Session:
    folded = Session()
    folded.feed(encoded(stream(hello(targets=targets, **hello_fields), *parts, end())))
    folded.finish()
    return folded


def report(targets: list[Line], *parts: Line | Tick, **hello_fields: Any) -> Snapshot:
    snapshot = session(targets, *parts, **hello_fields).snapshot()
    VALIDATOR.validate(to_tree(snapshot))
    return snapshot


def issue(found: Snapshot, name: str) -> Issue:
    return next(item for item in found.issues if item.id == name)


def test_every_pod_has_its_own_sums() -> None:
    found = report(
        [pod(1, containers=["web", "sidecar"]), pod(2)],
        tick(
            process(100, "app", target=1, container="web"),
            process(200, "app", target=2, container="main"),
            series("connect", count=3, errors={"ECONNREFUSED": 2}, peer="10.0.0.1:80", target=1),
            series("dns", count=4, errors={"NXDOMAIN": 1}, name="a", target=1),
            series("dns_timeout", count=2, name="b", target=1),
            series("retransmit", count=5, peer="10.0.0.1:80", target=1),
            series("read", count=6, slow=1, target=1),
            series("fsync", count=1, slow=1, target=1),
            series("cpu", count=0, sum_ns=SECOND // 2, target=1),
            series("read", count=7, process=200, target=2),
            event("container_restart", process=0, target=2, name="main"),
            event("oom_kill", process=200, target=2),
        ),
        node="node-a",
    )
    one, two = found.target.members
    assert (one.events, one.errors, one.cpu_seconds) == (5 + 4 + 2 + 5 + 6 + 1, 2 + 1 + 2, 0.5)
    assert (one.connects_failed, one.dns_errors, one.retransmits) == (2, 3, 5)
    assert (one.slow_file_operations, one.restarts, one.oom_kills) == (2, 0, 0)
    assert (one.node, one.containers) == ("node-a", ("web", "sidecar"))
    assert (two.events, two.errors, two.cpu_seconds, two.connects_failed) == (7, 0, 0, 0)
    assert (two.restarts, two.oom_kills, two.containers) == (1, 1, ("main",))
    assert one.events + two.events == found.summary.events
    assert (found.target.namespace, found.target.pod) == ("shop", None)


def test_figure_of_a_pod_that_was_not_measured_is_null() -> None:
    found = report([pod(1)], tick(series("read", count=1)), blank=["dns", "cpu_usage"])
    (only,) = found.target.members
    assert (only.dns_errors, only.cpu_seconds) == (None, None)
    assert (only.connects_failed, only.retransmits) == (0, 0)


def test_sandbox_of_a_pod_is_no_process_and_no_container_of_it() -> None:
    sandbox = process(110, "pause", target=1, container="0123456789ab")
    app = process(100, "pause", target=1, container="web")
    found = report([pod(1)], tick(sandbox, app, series("read", count=1, process=100, target=1)))
    assert found.cpu_usage
    assert [row.container for row in found.cpu_usage] == ["web"]
    assert found.target.members[0].containers == ("web",)
    listed = report([pod(1, containers=["0123456789ab"])], tick(sandbox))
    assert listed.target.members[0].containers == ("0123456789ab",)


def test_sandbox_that_used_the_cpu_is_listed() -> None:
    sandbox = process(110, "pause", target=1, container="0123456789ab")
    work = series("cpu", count=0, sum_ns=SECOND // 2, process=110, target=1)
    assert len(report([pod(1)], tick(sandbox, work)).cpu_usage or ()) == 1


def test_process_belongs_to_the_pod_of_its_target() -> None:
    found = report(
        [pod(1), pod(2)],
        tick(
            series("read", count=9, process=7, target=2),
            series("read", count=1, process=0, target=1),
        ),
    )
    assert found.process_activity
    assert [(row.process, row.pod) for row in found.process_activity] == [
        ("(unnamed)", "web-1"),
        ("(unknown)", "web-0"),
    ]


def failing(number: int, bad: int, good: int = 0) -> Line:
    errors = {"ECONNREFUSED": bad} if bad else {}
    return series("connect", count=good, peer="10.0.0.9:80", target=number, errors=errors)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ([18, 2], "90 % from pod web-0"),
        ([0, 20], "all from pod web-1, none from 1 other pod"),
        ([12, 8], None),
        ([14, 6], None),
        ([10, 5, 5], "50 % from pod web-0"),
        ([7, 7, 6], None),
        ([6, 6, 0, 0, 0, 0], "only from 2 of 6 pods: web-0 50 %, web-1 50 %"),
        ([5, 4, 4, 4, 4, 0, 0, 0, 0], None),
    ],
)
def test_pod_that_stands_out_is_named_with_its_share(bad: list[int], told: str | None) -> None:
    pods = [pod(number + 1) for number in range(len(bad))]
    found = report(pods, tick(*(failing(number + 1, count) for number, count in enumerate(bad))))
    evidence = [text for text in issue(found, "connects_failing").evidence if "from" in text]
    assert evidence == ([told] if told else [])


def test_single_pod_is_not_blamed() -> None:
    assert concerned_pods({1: "web-0"}, {1: 5}) is None
    assert concerned_pods({1: "web-0", 2: "web-1"}, {}) is None


def test_slow_operations_are_those_of_the_pod_that_has_them() -> None:
    found = report(
        [pod(1), pod(2)],
        tick(
            series("dns", name="a", duration_ns=[300 * MS] * 9, target=2),
            series("dns", name="a", duration_ns=[MS] * 20, target=1),
        ),
    )
    assert "all from pod web-1, none from 1 other pod" in issue(found, "dns_slow").evidence


def test_throttled_time_of_several_pods_is_no_sum() -> None:
    def throttled(number: int, ms: int) -> Line:
        return series("throttled", count=8, sum_ns=ms * MS, process=0, target=number)

    found = report([pod(1), pod(2)], tick(throttled(1, 300), throttled(2, 400)))
    throttling = issue(found, "cpu_throttled")
    assert "40 % of the time" in throttling.title
    assert "in the pod that has most of it" in throttling.evidence[0]
    quiet = report([pod(1), pod(2)], tick(throttled(1, 60), throttled(2, 70)))
    assert quiet.issues == ()


def test_restart_is_told_with_container_pod_and_time() -> None:
    restart = event(
        "container_restart",
        process=0,
        target=2,
        name="web",
        detail="0123456789ab in place of ba9876543210, which ended with exit code 137",
        time_ns=START_NS + SECOND,
    )
    found = report([pod(1), pod(2)], tick(restart))
    assert issue(found, "container_restarted").evidence == (
        "1 restart while tracing (threshold 1)",
        "container web in pod web-1 at 08:53:21 UTC (0123456789ab in place of ba9876543210, which "
        "ended with exit code 137)",
        "all from pod web-1, none from 1 other pod",
    )


def test_oom_kill_is_told_with_process_container_and_time() -> None:
    found = report([pod(1)], tick(process(100, "java"), event("oom_kill", detail="worker")))
    evidence = issue(found, "oom_killed").evidence
    assert evidence[1] == "worker in container main at 08:53:21 UTC"


def test_many_restarts_are_listed_in_part() -> None:
    restarts = [event("container_restart", process=0, name=f"c{n}") for n in range(150)]
    found = report([pod(1)], tick(*restarts))
    evidence = issue(found, "container_restarted").evidence
    assert evidence[0] == "150 restarts while tracing (threshold 1)"
    assert len(evidence) == 7
    assert evidence[-1] == "and 145 more times"


LOOPS = "container app is in CrashLoopBackOff: 4 restarts, last exit code 3"


def test_what_the_cluster_says_of_a_pod_is_a_warning() -> None:
    folded = session([pod(1)], tick())
    folded.note_pods([PodNote("shop/web-0", LOOPS)])
    found = folded.snapshot()
    VALIDATOR.validate(to_tree(found))
    said = issue(found, "pod_state")
    assert (said.severity, said.title) == ("warning", f"The cluster says: {LOOPS}")
    assert said.evidence == (f"pod shop/web-0: {LOOPS}",)
    assert found.verdict.status == "warning"
    assert found.verdict.lines == (f"Warning: shop/web-0: The cluster says: {LOOPS}.",)


def test_notes_on_many_pods_are_listed_in_part() -> None:
    folded = session([pod(1), pod(2)], tick())
    folded.note_pods(PodNote(f"shop/web-{number}", LOOPS) for number in range(8))
    said = issue(folded.snapshot(), "pod_state")
    assert said.title == "The cluster says: trouble with 8 pods"
    assert len(said.evidence) == 6
    assert said.evidence[-1] == "and 3 more things"


def test_several_notes_on_one_pod_are_counted() -> None:
    folded = session([pod(1)], tick())
    folded.note_pods([PodNote("shop/web-0", LOOPS), PodNote("shop/web-0", "not ready")])
    assert issue(folded.snapshot(), "pod_state").title.endswith("code 3, and 1 more thing")


def test_removed_pod_is_told_as_info() -> None:
    found = report([pod(1), pod(2)], tick(event("target_gone", process=0, target=2)))
    gone = issue(found, "pod_gone")
    assert (gone.severity, gone.title) == ("info", "Gone while tracing: 1 of 2 pods")
    assert gone.evidence == ("pod web-1 at 08:53:21 UTC",)
    assert report([target()], tick(event("target_gone", process=0))).issues == ()


@pytest.mark.parametrize(
    ("targets", "subject"),
    [
        ([pod(1)], "shop/web-0"),
        ([pod(1), pod(2), pod(3)], "3 pods of shop"),
        ([pod(1), pod(2, namespace="web")], "2 pods of 2 namespaces"),
    ],
)
def test_verdict_names_the_pods(targets: list[Line], subject: str) -> None:
    well = report(targets, tick(series("read", count=5)))
    assert well.verdict.lines == (f"No problem found in {subject} in 1 s of 5 events.",)
    ill = report(targets, tick(failing(1, 20)))
    assert ill.verdict.lines[0].startswith(f"Critical: {subject}: TCP connects fail: 20 of 20")


def test_event_carries_pod_container_and_name_of_the_peer() -> None:
    folded = session(
        [pod(1), pod(2)],
        tick(process(100, "app", target=2, container="web"), event("exec", process=100, target=2)),
    )
    (found,) = folded.notable
    assert (found.pod, found.container) == ("web-1", "web")
    assert (found.peer, found.peer_name) == (None, None)


def test_restart_carries_the_container_that_it_names() -> None:
    folded = session([pod(1)], tick(event("container_restart", process=0, name="web")))
    (found,) = folded.notable
    assert (found.pod, found.container, found.name) == ("web-0", "web", None)


NAMES = {
    "10.0.0.1": "pod shop/db-0",
    "10.96.0.10:80": "service shop/web",
    "fd00::1": "pod shop/six",
    "[fd00::2]:443": "service shop/tls",
}


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("10.0.0.1:5432", "pod shop/db-0"),
        ("10.0.0.1", "pod shop/db-0"),
        ("[::ffff:10.0.0.1]:5432", "pod shop/db-0"),
        ("10.96.0.10:80", "service shop/web"),
        ("10.96.0.10:81", None),
        ("10.96.0.10", None),
        ("[fd00::1]:80", "pod shop/six"),
        ("[fd00::2]:443", "service shop/tls"),
        ("[fd00::2]:80", None),
        ("(overflow)", None),
        ("", None),
    ],
)
def test_name_of_a_peer_is_found_by_address_or_port(peer: str, name: str | None) -> None:
    assert PeerNames(NAMES).of(peer) == name


def test_peers_are_named_everywhere_and_keep_their_address() -> None:
    folded = Session()
    names: dict[str, str] = {}
    folded.name_peers(names)
    peer = "10.0.0.1:5432"
    failed = event("connect_failed", peer=peer, error="ECONNREFUSED")
    lines = stream(
        hello(),
        tick(
            series("connect", count=0, peer=peer, errors={"ECONNREFUSED": 20}),
            series("connect_attempt", count=20, peer=peer),
            series("rtt", peer=peer, duration_ns=[MS] * 5),
            failed,
        ),
        end(),
    )
    folded.fold(lines[:1])
    names.update(NAMES)
    (found,) = folded.fold(lines[1:])
    assert (found.peer, found.peer_name) == (peer, "pod shop/db-0")
    snapshot = folded.snapshot()
    assert snapshot.tcp
    assert snapshot.connections
    assert snapshot.connection_patterns
    for row in (
        snapshot.tcp.peers[0],
        snapshot.connections.targets[0],
        snapshot.connection_patterns.targets[0],
    ):
        assert (row.address, row.port, row.name) == ("10.0.0.1", 5432, "pod shop/db-0")
    evidence = issue(snapshot, "connects_failing").evidence
    assert "most failures: 10.0.0.1:5432 (pod shop/db-0) 20" in evidence
