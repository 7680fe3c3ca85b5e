"""A cluster that reaches no registry: the image comes to its nodes in a file, or not at all."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.leavings import wait_for_none
from e2e.machine.cluster import Cluster
from e2e.machine.images import write_tracer

NAME = "podtrace-tracer:air-gapped"
WORK = ["-c", "import time\nwhile True: open('/proc/self/stat').read(); time.sleep(0.01)"]


@pytest.fixture
def pods(namespace: Kubectl, images: Images, nodes: list[str]) -> Kubectl:
    """Return kubectl for a namespace with the pods web-0 and web-1, on two nodes."""
    for number, node in enumerate(nodes[:2]):
        namespace.apply(pod(f"web-{number}", images.workload, WORK, node=node))
    namespace.wait_for_pods("web-0", "web-1")
    return namespace


def test_image_in_a_file_is_brought_to_a_node_by_the_commands_that_are_printed(
    machine: Cluster, pods: Kubectl, tmp_path: Path
) -> None:
    file = tmp_path / "podtrace-tracer.tar.gz"
    printed = write_tracer(NAME, file)
    options = re.search(r"kubectl podtrace (--tracer-image \S+ --image-pull-policy Never)", printed)
    assert options is not None, printed
    trace = ("--diagnose", "2s", "-o", "json", *options.group(1).split())

    refused = pods.podtrace("web-0", *trace, check=False)
    assert refused.code == 1
    assert "error: node node-a has no image docker.io/library/podtrace-tracer" in refused.stderr
    assert "ctr -n k8s.io images import FILE.tar" in refused.stderr
    wait_for_none(pods)

    expand = re.search(rf"^ +(gunzip {file})$", printed, re.MULTILINE)
    load = re.search(r"ctr -n k8s.io (images import \S+)", printed)
    assert expand is not None, printed
    assert load is not None, printed
    subprocess.run(expand.group(1).split(), check=True)
    has, has_not = machine.nodes
    has.ctr(*load.group(1).split())
    try:
        report = json.loads(pods.podtrace("web-0", *trace).stdout)
        assert report["target"]["nodes"] == [has.name]
        assert report["summary"]["events"] > 0
        assert (
            f"node {has_not.name} has no image"
            in pods.podtrace("web-1", *trace, check=False).stderr
        )
    finally:
        has.ctr("images", "remove", f"docker.io/library/{NAME}")
    wait_for_none(pods)
