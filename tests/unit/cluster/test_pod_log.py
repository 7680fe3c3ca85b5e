from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from fake_cluster import FakeApi, Object, node, refusal
from launching import PODS, RUN, line, lines, plan, running, settings, terminated, with_pods
from podtrace.cluster import pod_log
from podtrace.cluster.pod_log import PodLog
from podtrace.cluster.tracer_pod import TracerPod
from podtrace.errors import ClusterError, LaunchError, StreamError

POD = f"podtrace-{RUN}-1-x"
CUT = ClusterError("the connection was cut")


class Following:
    """A tracer pod with a scripted log, one script for each time that it is opened."""

    def __init__(self, *scripts: Iterable[Any]) -> None:
        self.api = with_pods(FakeApi())
        self.api.add(node("node-a"))
        self.tracer = TracerPod(self.api, plan(), settings())
        self.tracer.create()
        self.tracer.find()
        self.queries: list[dict[str, Any]] = []
        self.told: list[str] = []
        self.leaving = False
        scripted = iter(scripts)

        def script(query: dict[str, Any]) -> Iterable[Any]:
            self.queries.append(query)
            return next(scripted, ())

        self.api.logs["shop", POD] = script
        self.log = PodLog(self.api, self.tracer, self.told.append, lambda: self.leaving)

    def becomes(self, status: Object | None) -> None:
        """Give the pod another status, or let it be gone."""
        if status is None:
            self.api.remove(f"{PODS}/{POD}")
            return
        self.api.add({**self.api.get(f"{PODS}/{POD}"), "status": status})

    def later(self, status: Object | None) -> Any:
        """Return an item of a script that does this, and says nothing."""

        def change() -> bytes:
            self.becomes(status)
            return b""

        return change

    def read(self) -> bytes:
        return b"".join(self.log.batches(self.log.open()))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_log, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(pod_log, "_LONGEST_PAUSE_SECONDS", 0.01)


def test_a_whole_stream_is_read_without_waiting_for_the_end_of_the_log() -> None:
    scene = Following([lines(1, 3), line(4, "end"), ...])
    assert scene.read() == lines(1, 3) + line(4, "end")
    assert scene.log.trouble is None
    assert scene.queries == [
        {"container": "tracer", "follow": True, "sinceSeconds": None},
    ]


@pytest.mark.parametrize("cut", [[CUT], []], ids=["broken", "ended"])
def test_a_cut_stream_is_resumed_without_loss_or_repeats(cut: list[Any]) -> None:
    scene = Following([lines(1, 3), line(4)[:20], *cut], [lines(2, 6, end="deadline")])
    assert scene.read() == lines(1, 6, end="deadline")
    assert scene.log.trouble is None
    assert scene.queries[1]["follow"] is True
    assert scene.queries[1]["sinceSeconds"] >= 10


def test_a_part_of_the_log_that_begins_too_late_is_asked_for_whole() -> None:
    scene = Following([lines(1, 3), CUT], [lines(6, 8), ...], [lines(1, 8), line(9, "end")])
    assert scene.read() == lines(1, 8) + line(9, "end")
    assert scene.queries[2]["sinceSeconds"] is None


def test_what_was_rotated_away_stays_a_gap() -> None:
    scene = Following([lines(1, 3), CUT], [lines(6, 8), ...], [lines(5, 9, end="deadline")])
    assert scene.read() == lines(1, 3) + lines(5, 9, end="deadline")


def test_the_last_lines_are_fetched_when_the_follow_ended_with_the_container() -> None:
    scene = Following()
    rotated = [lines(1, 3), scene.later(terminated(0, "Completed"))]
    scene.api.logs["shop", POD] = lambda query: (
        rotated if query["follow"] else [lines(2, 7, end="deadline")]
    )
    assert scene.read() == lines(1, 7, end="deadline")
    assert scene.log.trouble is None


def test_a_tracer_that_was_killed_is_explained() -> None:
    scene = Following()
    script = [lines(1, 3), b"Killed\n", scene.later(terminated(137, "OOMKilled"))]
    scene.api.logs["shop", POD] = lambda query: script if query["follow"] else [lines(1, 3)]
    assert scene.read() == lines(1, 3)
    trouble = scene.log.trouble
    assert isinstance(trouble, StreamError)
    assert "more memory than its limit" in trouble.message


def test_a_tracer_that_ended_before_its_first_line_did_not_start() -> None:
    scene = Following()
    scene.becomes(terminated(3))
    scene.api.logs["shop", POD] = [b"Traceback\n", b"ValueError: boom\n"]
    assert scene.read() == b""
    trouble = scene.log.trouble
    assert isinstance(trouble, LaunchError)
    assert trouble.details == ("the tracer's last lines:", "  Traceback", "  ValueError: boom")


def test_a_pod_that_was_deleted_is_explained() -> None:
    scene = Following()
    scene.api.logs["shop", POD] = [lines(1, 3), scene.later(None)]
    assert scene.read() == lines(1, 3)
    assert scene.log.trouble is not None
    assert "was deleted before the trace was complete" in scene.log.trouble.message


def test_a_job_that_reached_its_deadline_is_named() -> None:
    scene = Following()
    job = f"/apis/batch/v1/namespaces/shop/jobs/podtrace-{RUN}-1"
    condition = {"type": "Failed", "reason": "DeadlineExceeded", "message": "too long"}
    scene.api.add({**scene.api.get(job), "status": {"conditions": [condition]}})
    scene.api.logs["shop", POD] = [lines(1, 3), scene.later(None)]
    scene.read()
    assert scene.log.trouble is not None
    assert "DeadlineExceeded" in scene.log.trouble.message


def test_a_machine_that_slept_is_told_that_the_tracer_ended_unheard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Following()
    scene.api.logs["shop", POD] = [lines(1, 3), CUT]
    monkeypatch.setattr("time.time", lambda: 1000.0)
    batches = scene.log.batches(scene.log.open())
    next(batches)
    monkeypatch.setattr("time.time", lambda: 2000.0)
    scene.becomes(None)
    assert list(batches) == []
    assert scene.log.trouble is not None
    assert "nobody reads its log for 30 s" in scene.log.trouble.message


def test_the_time_asked_for_covers_a_suspend_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Following([lines(1, 3), CUT], [lines(2, 4), line(5, "end")])
    stream = scene.log.open()
    monkeypatch.setattr("time.time", lambda: 1000.0)
    batches = scene.log.batches(stream)
    next(batches)
    monkeypatch.setattr("time.time", lambda: 1300.0)
    assert b"".join(batches) == line(4) + line(5, "end")
    assert scene.queries[1]["sinceSeconds"] == 310


def test_an_api_server_that_is_away_for_long_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pod_log, "RESUME_SECONDS", 0.2)
    monkeypatch.setattr(pod_log, "TOLD_SECONDS", 0.05)
    scene = Following([lines(1, 3), CUT])
    stream = scene.log.open()
    for method in ("GET", "STREAM"):
        scene.api.fail(method, ".*", ClusterError("connection refused"))
    assert b"".join(scene.log.batches(stream)) == lines(1, 3)
    trouble = scene.log.trouble
    assert trouble is not None
    assert "was not heard for" in trouble.message
    assert "connection refused" in "\n".join(trouble.details)
    assert len([text for text in scene.told if "broke off" in text]) == 1


def test_what_is_no_new_line_does_not_keep_a_run_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_log, "RESUME_SECONDS", 0.1)
    noise = [item for _ in range(100) for item in (b"warning\n", 0.01)]
    scene = Following([lines(1, 3), *noise, line(4)])
    assert scene.read() == lines(1, 3)
    assert scene.log.trouble is not None
    assert "was not heard for" in scene.log.trouble.message


def test_old_lines_that_come_again_do_not_keep_a_run_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_log, "RESUME_SECONDS", 0.1)
    scene = Following(*[[lines(1, 3), 0.01, CUT] for _ in range(100)], [lines(1, 4)])
    assert scene.read() == lines(1, 3)
    assert scene.log.trouble is not None
    assert "was not heard for" in scene.log.trouble.message


def test_a_node_that_is_gone_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_log, "RESUME_SECONDS", 0.1)
    scene = Following([lines(1, 3), CUT])
    stream = scene.log.open()
    scene.api.add(node("node-a", ready=False))
    scene.api.fail("STREAM", ".*", 500, "dial tcp 10.0.0.1:10250: i/o timeout")
    assert b"".join(scene.log.batches(stream)) == lines(1, 3)
    assert scene.log.trouble is not None
    assert "not ready" in "\n".join(scene.log.trouble.details)


def test_an_outage_and_its_end_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_log, "TOLD_SECONDS", 0.02)
    scene = Following([lines(1, 3), CUT], [lines(1, 4), line(5, "end")])
    stream = scene.log.open()
    scene.api.fail("STREAM", ".*", ClusterError("connection refused"), times=20)
    assert b"".join(scene.log.batches(stream)) == lines(1, 4) + line(5, "end")
    assert ["broke off" in text for text in scene.told] == [True, False]
    assert scene.told[1].endswith("is back")


def test_a_log_that_may_not_be_found_any_more_ends_the_stream() -> None:
    scene = Following([lines(1, 3), CUT])
    stream = scene.log.open()
    scene.api.fail("STREAM", ".*", refusal(404, "NotFound", "pods not found"))
    assert b"".join(scene.log.batches(stream)) == lines(1, 3)
    assert scene.log.trouble is not None


def test_who_leaves_is_not_kept_and_nothing_is_wrong() -> None:
    scene = Following([lines(1, 3), ...])
    batches = scene.log.batches(scene.log.open())
    assert next(batches) == lines(1, 3)
    scene.leaving = True
    scene.log.close()
    assert list(batches) == []
    assert scene.log.trouble is None
    assert scene.api.get(f"{PODS}/{POD}")["status"] == running()
