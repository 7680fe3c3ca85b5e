"""What the tests on a cluster share: the cluster, kubectl with the plugin, namespaces, images.

With $KUBECONFIG the tests use that cluster. It then has to have the images of
PODTRACE_TRACER_IMAGE and PODTRACE_WORKLOAD_IMAGE, or be able to pull them, and tests that reach
into the cluster's machine are skipped. Without, a cluster is started here and ended afterwards.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from e2e.kubectl import Kubectl
from e2e.machine.cluster import FAILURE_LOGS, Cluster, sweep
from e2e.machine.images import TRACER_IMAGE, WORKLOAD_IMAGE, tracer_archive, workload_archive
from e2e.outages import Outages
from e2e.runs import Run
from e2e.servers import Servers
from e2e.witness import Witness

# So that a failed assertion outside of test modules shows its numbers too.
pytest.register_assert_rewrite("kernel.exact_checks", "kernel.truths")

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Images:
    """References of the images that the tests use."""

    tracer: str
    workload: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker("e2e")
            if item.get_closest_marker("timeout") is None:
                # A session's first test waits for the cluster, and for images that are not kept.
                item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def given() -> Path | None:
    """Return the kubeconfig of the cluster that the caller gave, if any."""
    path = os.environ.get("KUBECONFIG")
    return Path(path) if path else None


@pytest.fixture(scope="session")
def started(given: Path | None, request: pytest.FixtureRequest) -> Iterator[Cluster | None]:
    """Start a cluster where none is given, and end it."""
    if given is not None:
        yield None
        return
    if os.geteuid() != 0:
        pytest.fail("starting a cluster here needs root; or name one by $KUBECONFIG", pytrace=False)
    # A CI that has waited too long says so with SIGTERM, and the cluster has to end all the same.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        sweep()
        cluster = Cluster.up([workload_archive(), tracer_archive()], owned=True)
        try:
            yield cluster
        finally:
            cluster.down(logs=FAILURE_LOGS if request.session.testsfailed else None)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def machine(started: Cluster | None) -> Cluster:
    """Return the cluster that was started here, to stop its parts and look into its nodes."""
    if started is None:
        pytest.skip("reaches into the machine of the cluster, which $KUBECONFIG gives no way to")
    return started


@pytest.fixture(scope="session")
def kubeconfig(given: Path | None, started: Cluster | None) -> Path:
    """Return the administrator's kubeconfig."""
    if started is not None:
        return started.plan.kubeconfig
    assert given is not None
    return given


@pytest.fixture(scope="session")
def images(started: Cluster | None) -> Images:
    """Return the references of the images."""
    if started is not None:
        return Images(TRACER_IMAGE, WORKLOAD_IMAGE)
    return Images(_variable("PODTRACE_TRACER_IMAGE"), _variable("PODTRACE_WORKLOAD_IMAGE"))


@pytest.fixture(scope="session")
def kubectl(
    started: Cluster | None,
    kubeconfig: Path,
    images: Images,
    tmp_path_factory: pytest.TempPathFactory,
) -> Kubectl:
    """Return kubectl as the administrator, without a namespace."""
    found = started.kubectl if started is not None else shutil.which("kubectl")
    if found is None:
        pytest.fail("kubectl is not on the PATH", pytrace=False)
    settings = tmp_path_factory.mktemp("config")
    return Kubectl(
        Path(found),
        kubeconfig,
        variables={"PODTRACE_TRACER_IMAGE": images.tracer, "XDG_CONFIG_HOME": str(settings)},
    )


@pytest.fixture
def make_namespace(kubectl: Kubectl) -> Iterator[Callable[..., Kubectl]]:
    """Make namespaces, with labels if wanted; each gives the kubectl for it."""
    with _namespaces(kubectl) as make:
        yield make


@contextlib.contextmanager
def _namespaces(kubectl: Kubectl) -> Iterator[Callable[..., Kubectl]]:
    made: list[str] = []

    def make(**labels: str) -> Kubectl:
        name = f"e2e-{secrets.token_hex(4)}"
        metadata = {"name": name, "labels": labels}
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        made.append(name)
        within = kubectl.within(name)
        within.wait("create", "serviceaccount/default")
        return within

    try:
        yield make
    finally:
        if made:
            kubectl.run("delete", "namespace", "--wait=false", "--ignore-not-found", *made)


@pytest.fixture
def outages(machine: Cluster, make_namespace: Callable[..., Kubectl]) -> Iterator[Outages]:
    """Return what takes the API server away; all works again for the next test."""
    outages = Outages(machine, make_namespace)
    yield outages
    outages.recover()


@pytest.fixture(scope="module")
def make_lasting_namespace(kubectl: Kubectl) -> Iterator[Callable[..., Kubectl]]:
    """Make namespaces that stay until the tests of the file have run."""
    with _namespaces(kubectl) as make:
        yield make


@pytest.fixture
def namespace(make_namespace: Callable[..., Kubectl]) -> Kubectl:
    """Return the kubectl for a namespace of this test's own."""
    return make_namespace()


@pytest.fixture(scope="module")
def module_namespace(make_lasting_namespace: Callable[..., Kubectl]) -> Kubectl:
    """Return the kubectl for a namespace that the tests of a file share."""
    return make_lasting_namespace()


@pytest.fixture(scope="session")
def nodes(kubectl: Kubectl) -> list[str]:
    """Return the names of the nodes that run what everybody may create."""
    found = [node for node in kubectl.get("nodes")["items"] if not node["spec"].get("taints")]
    return sorted(node["metadata"]["name"] for node in found)


@pytest.fixture(scope="session")
def helpers(kubectl: Kubectl) -> Iterator[Kubectl]:
    """Return the kubectl for a namespace of what tests need beside their targets."""
    with _namespaces(kubectl) as make:
        yield make()


@pytest.fixture(scope="session")
def witness(helpers: Kubectl, images: Images, nodes: list[str]) -> Witness:
    """Return who sees the processes of every node."""
    return Witness.start(helpers, images.workload, nodes)


@pytest.fixture(scope="session")
def servers(helpers: Kubectl, images: Images, nodes: list[str]) -> Servers:
    """Return the servers that workloads talk to."""
    return Servers.start(helpers, images.workload, nodes[0])


@pytest.fixture
def start() -> Iterator[Callable[..., Run]]:
    """Start runs, and kill those that a failed test left."""
    started: list[subprocess.Popen[str]] = []

    def begin(kubectl: Kubectl, *arguments: str) -> Run:
        process = kubectl.start("podtrace", *arguments, start_new_session=True)
        started.append(process)
        return Run(process)

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"$KUBECONFIG is set, so ${name} has to name an image", pytrace=False)
    return value


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
