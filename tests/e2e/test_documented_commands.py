"""The documents' commands for pods, run as they stand but for what they name.

The example's namespace is one of the test's own, with the demo's shop in it; a trace lasts two
seconds, and files are made elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contract import pages
from demo import pods
from e2e.conftest import Images
from e2e.kubectl import Kubectl, Result

AT_ONCE = 3
FOUND = 4
"""Exit code of a finding: the shop calls what does not listen."""
SECONDS = "2s"
_ELSEWHERE = ("replay", "version", "completion")

Line = tuple[str, ...]


def lines() -> list[Line]:
    """Return the words of each command that takes a cluster."""
    found: dict[Line, None] = {}
    for document in pages.DOCUMENTS:
        for line in pages.shell_lines(document.read_text()):
            words = pages.podtrace_words(line)
            if words and "--local" not in words and words[0] not in _ELSEWHERE:
                found[tuple(words)] = None
    return [line for line in found if not {"--help", "-h", "--version"} & set(line)]


def with_stand_ins(line: Line, namespace: str, image: str, folder: Path) -> list[str]:
    """Return the words with the test's own in the place of the example's."""
    words = [namespace if word == pods.NAMESPACE else word for word in line]
    values = {
        "--diagnose": SECONDS,
        "--for": SECONDS,
        "--record": str(folder / "trace.jsonl.gz"),
        "--tracer-image": image,
        "--tracer-namespace": namespace,
    }
    for option, value in values.items():
        if option in words:
            words[words.index(option) + 1] = value
    traces = words[0] not in ("doctor", "cleanup")
    if traces and not {"--diagnose", "--for"} & set(words):
        words += ["--for", SECONDS]
    if "--metrics" in words:
        words += ["--metrics-port", "0"]
    return words


@pytest.fixture(scope="module")
def results(
    module_namespace: Kubectl, images: Images, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[Line, Result]:
    """Run all of them, some at a time, and return what came of each."""
    scene(module_namespace, images.workload)
    whole = Kubectl(
        module_namespace.program, module_namespace.kubeconfig, variables=module_namespace.variables
    )

    def run(line: Line) -> Result:
        folder = tmp_path_factory.mktemp("command")
        words = with_stand_ins(line, module_namespace.namespace, images.tracer, folder)
        return whole.podtrace(*words, check=False)

    traces = [line for line in lines() if "cleanup" not in line]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = dict(zip(traces, pool.map(run, traces), strict=True))
    return done | {line: run(line) for line in lines() if line not in done}


def scene(kubectl: Kubectl, image: str) -> None:
    """Make the shop, as a StatefulSet and as a Deployment."""
    kubectl.apply(*pods.servers(image))
    stateful = pods.shop(image, pods.addresses(kubectl.get("services")["items"]))
    kubectl.apply(*stateful, deployment(stateful[-1]))
    kubectl.run("rollout", "status", "statefulset/web")
    kubectl.run("rollout", "status", "deployment/web")


def deployment(stateful: pods.Object) -> pods.Object:
    """Return the same as a Deployment of one pod, with a label of its own."""
    labels = {"app": "web-of-deployment"}
    template = {**stateful["spec"]["template"], "metadata": {"labels": labels}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


@pytest.mark.parametrize("line", lines(), ids=" ".join)
def test_command_does_what_it_says(line: Line, results: Mapping[Line, Result]) -> None:
    done = results[line]
    wanted = {0, FOUND} if "--fail-on" in line else {0}
    assert done.code in wanted, done
    shows = shown(line)
    assert shows(done.stdout), done


def shown(line: Line) -> Callable[[str], bool]:
    """Return what tells that the output is that of such a command."""
    if "cleanup" in line:
        return lambda out: True
    if "doctor" in line:
        return lambda out: "A trace would work." in out
    if any(word.startswith("--dry-run") for word in line):
        return lambda out: "kind: Job" in out
    if "json" in line:
        return lambda out: bool(json.loads(out)["summary"]["events"])
    return lambda out: "Connection Statistics" in out
