from __future__ import annotations

import pytest

from launching import settings
from podtrace.cluster.obstacles import early_end_error, end_error, start_error
from podtrace.cluster.pod_status import Ending, Obstacle

WHERE, NODE = "shop/podtrace-1-1-x", "node-a"


@pytest.mark.parametrize(
    ("reason", "text", "message", "hint"),
    [
        ("ErrImagePull", "not found", "cannot pull the image tracer:1", "--image-pull-secret"),
        ("ImagePullBackOff", "Back-off", "cannot pull the image tracer:1", "--tracer-image"),
        ("ErrImageNeverPull", "not present", "may not pull it", "--image-pull-policy"),
        ("InvalidImageName", "couldn't parse", "no name that an image can have", "--tracer-image"),
        (
            "ErrImagePull",
            "no match for platform in manifest: not found",
            "not for the processor of node node-a",
            "kubernetes.io/arch",
        ),
        ("StartError", "exec /x: exec format error", "not for the processor", "architecture"),
        ("Unschedulable", "0/2 nodes are available", "0/2 nodes are available", "--patch"),
        (
            "CreateContainerError",
            'failed to mkdir "/sys/kernel/btf": operation not permitted',
            "no /sys/kernel/btf",
            "CONFIG_DEBUG_INFO_BTF",
        ),
        ("OutOfmemory", "Pod was rejected", "no room for the tracer pod", "--patch"),
        ("FailedMount", 'secret "x" not found', "FailedMount", "kubectl describe node node-a"),
        ("CreateContainerConfigError", 'secret "x" not found', "CreateContainerConfig", "--keep"),
        ("NodeAffinity", "Predicate NodeAffinity failed", "NodeAffinity", "--keep"),
    ],
)
def test_each_reason_names_the_object_and_the_next_step(
    reason: str, text: str, message: str, hint: str
) -> None:
    error = start_error(Obstacle(reason, text), WHERE, NODE, settings())
    assert message in error.message
    assert hint in (error.hint or "")
    assert text in error.message or text in "\n".join(error.details)


def test_a_node_that_lacks_the_image_and_may_not_pull_it_says_how_it_gets_there() -> None:
    error = start_error(Obstacle("ErrImageNeverPull", "not present"), WHERE, NODE, settings())
    text = "\n".join(error.details)
    for command in (
        "docker save tracer:1 -o FILE.tar",
        "kind load image-archive FILE.tar",
        "ctr -n k8s.io images import FILE.tar",
    ):
        assert command in text


def test_a_tracer_that_crashed_at_the_start_shows_its_last_lines() -> None:
    lines = ["Traceback", "ValueError: boom"]
    error = early_end_error(Ending("Error", "", 3), lines, WHERE, NODE, settings())
    assert "exit code 3" in error.message
    assert WHERE in error.message
    assert NODE in error.message
    assert "ValueError: boom" in "\n".join(error.details)


def test_a_program_for_another_processor_is_known_by_its_last_words() -> None:
    lines = ["exec /usr/bin/python3: exec format error"]
    error = early_end_error(Ending("Error", "", 255), lines, WHERE, NODE, settings())
    assert "not for the processor" in error.message


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (Ending("OOMKilled", "", 137), "used more memory than its limit"),
        (Ending("Evicted", "The node was low on memory", 143), "Evicted"),
        (Ending("Error", "", 139), "exit code 139 (signal 11)"),
        (Ending("DeadlineExceeded", "Job was active longer", None), "DeadlineExceeded"),
        (None, "was deleted before the trace was complete"),
    ],
)
def test_how_a_trace_was_ended_in_its_middle(ending: Ending | None, message: str) -> None:
    error = end_error(ending, ["last words"], WHERE, NODE)
    assert message in error.message
    assert "last words" in "\n".join(error.details)
    assert "what arrived until then" in (error.hint or "")
