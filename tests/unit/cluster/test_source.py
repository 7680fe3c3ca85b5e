from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fake_cluster import FakeApi, Object, node
from launching import JOBS, PODS, RUN, line, lines, settings, target, with_pods
from podtrace.cluster import source as cluster_source
from podtrace.cluster import tracer
from podtrace.cluster.source import ClusterSource, dry_run
from podtrace.cluster.target import TargetPod
from podtrace.errors import ClusterError, LaunchError

ONE = f"podtrace-{RUN}-1"
TWO = f"podtrace-{RUN}-2"


class Scene:
    """A cluster of two nodes and a source."""

    def __init__(self, *nodes: str, **changes: Any) -> None:
        self.api = with_pods(FakeApi())
        self.api.add(node("node-a"), node("node-b"))
        self.told: list[str] = []
        targets: list[TargetPod] = [
            target(number, name, f"web-{number}") for number, name in enumerate(nodes, 1)
        ]
        self.source = ClusterSource(
            self.api, targets, settings(**changes), self.told.append, run=RUN
        )

    def log(self, name: str, *script: Any) -> None:
        self.api.logs["shop", name] = script

    def deletions(self) -> list[str]:
        return [call.path for call in self.api.asked("DELETE")]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "LAST_TICK_SECONDS", 0.05)
    monkeypatch.setattr(tracer, "_REMOVAL_PAUSES", (0.01, 0.01, 0.0))
    monkeypatch.setattr("podtrace.cluster.tracer_start.FIRST_LOOK_SECONDS", 0.0)


def test_one_tracers_bytes_pass_as_they_are_and_its_job_goes() -> None:
    scene = Scene("node-a")
    scene.log(f"{ONE}-x", lines(1, 4, end="deadline"))
    assert b"".join(scene.source) == lines(1, 4, end="deadline")
    scene.source.close()
    assert scene.deletions() == [f"{JOBS}/{ONE}"]
    assert scene.source.trouble() is None
    assert any("1h at the latest" in text for text in scene.told)


def test_the_lines_of_several_tracers_say_whose_they_are() -> None:
    scene = Scene("node-a", "node-b", "node-a")
    scene.log(f"{ONE}-x", lines(1, 3, end="deadline"))
    scene.log(f"{TWO}-x", lines(1, 2, end="deadline"))
    merged = b"".join(scene.source).splitlines(keepends=True)
    scene.source.close()
    ours = [each for each in merged if each.startswith(b'{"stream":1,')]
    theirs = [each for each in merged if each.startswith(b'{"stream":2,')]
    assert b"".join(ours).replace(b'"stream":1,', b"") == lines(1, 3, end="deadline")
    assert b"".join(theirs).replace(b'"stream":2,', b"") == lines(1, 2, end="deadline")
    assert len(merged) == 5
    assert sorted(scene.deletions()) == [f"{JOBS}/{ONE}", f"{JOBS}/{TWO}"]


def test_a_node_that_fails_is_told_and_the_others_go_on() -> None:
    scene = Scene("node-a", "node-b")
    scene.log(f"{ONE}-x", 0.3, lines(1, 3, end="deadline"))
    make = scene.api.on_create
    assert make is not None

    def fail_on_b(item: Object) -> None:
        make(item)
        if item["metadata"]["name"] == TWO:
            status = {"phase": "Failed", "reason": "OutOfcpu", "message": "rejected"}
            scene.api.add({**scene.api.get(f"{PODS}/{TWO}-x"), "status": status})

    scene.api.on_create = fail_on_b
    merged = b"".join(scene.source)
    scene.source.close()
    assert merged.count(b'"stream":1') == 3
    trouble = scene.source.trouble()
    assert isinstance(trouble, LaunchError)
    assert "node-b has no room" in trouble.message
    assert any("node-b" in text and "no room" in text for text in scene.told)


def test_where_no_tracer_starts_the_first_reason_is_raised_and_nothing_is_left() -> None:
    scene = Scene("node-a", "node-b")
    scene.api.fail("POST", PODS, 403, 'pods "x" is forbidden: exceeded quota')
    with pytest.raises(LaunchError, match="exceeded quota"):
        list(scene.source)
    scene.source.close()
    assert scene.deletions() == []


def test_a_job_is_stopped_by_its_removal_and_its_last_lines_still_come() -> None:
    scene = Scene("node-a")
    stopped = threading.Event()
    scene.log(f"{ONE}-x", lines(1, 2), lambda: (stopped.wait(30), lines(3, 4, end="signal"))[1])

    def delete(*_: Any, **__: Any) -> Object:
        stopped.set()
        return {}

    scene.api.delete = delete  # type: ignore[method-assign]
    read = iter(scene.source)
    assert next(chunk for chunk in read if chunk) == lines(1, 2)
    scene.source.stop()
    assert b"".join(read) == lines(3, 4, end="signal")
    scene.source.close()
    assert scene.source.trouble() is None


def test_a_bare_pod_is_stopped_by_not_reading_it_any_more() -> None:
    scene = Scene("node-a")
    scene.api.deny("create", "jobs")
    scene.log(ONE, lines(1, 2), ...)
    read = iter(scene.source)
    assert next(chunk for chunk in read if chunk) == lines(1, 2)
    # It was marked as soon as it was heard: whatever ends it removes it.
    assert scene.deletions() == [f"{PODS}/{ONE}"]
    scene.source.stop()
    assert b"".join(read) == b""
    scene.source.close()
    assert scene.deletions() == [f"{PODS}/{ONE}"]
    assert scene.source.trouble() is None


def test_a_stop_while_the_pod_is_made_removes_it() -> None:
    scene = Scene("node-a")
    waiting = {"phase": "Pending", "startTime": "2030-01-01T00:00:00Z"}
    with_pods(scene.api, waiting)
    read = iter(scene.source)
    assert next(read) == b""
    scene.source.stop()
    assert b"".join(read) == b""
    scene.source.close()
    assert scene.deletions() == [f"{JOBS}/{ONE}"]


def test_a_stop_before_the_start_creates_nothing() -> None:
    scene = Scene("node-a")
    scene.source.stop()
    assert list(scene.source) == []
    scene.source.close()
    assert scene.api.calls == []


def test_leaving_at_once_sends_the_removal_and_does_not_wait_for_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_source, "LEAVE_SECONDS", 0.2)
    scene = Scene("node-a")
    scene.log(f"{ONE}-x", lines(1, 2), ...)
    asked, over = threading.Event(), threading.Event()

    def delete(*_: Any, **__: Any) -> Object:
        asked.set()
        over.wait(60)
        return {}

    scene.api.delete = delete  # type: ignore[method-assign]
    read = iter(scene.source)
    next(chunk for chunk in read if chunk)
    began = time.monotonic()
    scene.source.close()
    assert time.monotonic() - began < 30
    assert asked.wait(30)
    over.set()


def test_closing_is_safe_at_any_time_and_again() -> None:
    scene = Scene("node-a")
    scene.source.close()
    scene.source.close()
    assert scene.api.calls == []


def test_a_tracer_that_somebody_else_told_to_end_is_trouble() -> None:
    scene = Scene("node-a")
    scene.log(f"{ONE}-x", lines(1, 3, end="signal"))
    list(scene.source)
    scene.source.close()
    trouble = scene.source.trouble()
    assert trouble is not None
    assert "its pod was deleted" in trouble.message


def test_what_is_kept_is_named_with_the_way_to_remove_it() -> None:
    scene = Scene("node-a", keep=True)
    scene.log(f"{ONE}-x", lines(1, 3, end="deadline"))
    list(scene.source)
    scene.source.close()
    assert scene.deletions() == []
    assert any(f"kubectl delete -n shop job/{ONE}" in text for text in scene.told)


def test_a_removal_that_fails_is_tried_again_and_then_told() -> None:
    scene = Scene("node-a")
    scene.log(f"{ONE}-x", lines(1, 3, end="deadline"))
    scene.api.fail("DELETE", ".*", ClusterError("connection refused"), times=2)
    list(scene.source)
    scene.source.close()
    assert len(scene.deletions()) == 3
    assert not any("could not remove" in text for text in scene.told)
    scene = Scene("node-a")
    scene.log(f"{ONE}-x", lines(1, 3, end="deadline"))
    scene.api.fail("DELETE", ".*", ClusterError("connection refused"))
    list(scene.source)
    scene.source.close()
    assert any("could not remove" in text for text in scene.told)


def test_a_doomed_bare_pod_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "DOOM_SECONDS", 0.0)
    scene = Scene("node-a")
    scene.api.deny("create", "jobs")
    script = [line(1), 0.05, line(2), 0.05, line(3), ...]
    scene.log(ONE, *script)
    assert b"".join(scene.source) in (line(1), lines(1, 2))
    scene.source.close()
    trouble = scene.source.trouble()
    assert trouble is not None
    assert "was deleted" in trouble.message


def test_silence_yields_empty_chunks() -> None:
    scene = Scene("node-a")
    scene.log(f"{ONE}-x", lines(1, 1), 0.6, line(2, "end"))
    read: Iterator[bytes] = iter(scene.source)
    chunks = list(read)
    scene.source.close()
    assert b"" in chunks


def test_a_defect_reaches_who_reads() -> None:
    scene = Scene("node-a")

    def broken(item: Object) -> None:
        raise ZeroDivisionError

    scene.api.on_create = broken
    with pytest.raises(ZeroDivisionError):
        list(scene.source)
    scene.source.close()


def test_a_dry_run_gives_what_would_be_created_and_creates_nothing() -> None:
    api = FakeApi()
    targets = [target(1, "node-a"), target(2, "node-b")]
    ours = dry_run(api, targets, settings(), on_server=False)
    assert [each["kind"] for each in ours] == ["Job", "Job"]
    assert api.calls == []
    theirs = dry_run(api, targets, settings(), on_server=True)
    assert [each["kind"] for each in theirs] == ["Job", "Job"]
    assert all(call.query.get("dryRun") == "All" for call in api.asked("POST"))
