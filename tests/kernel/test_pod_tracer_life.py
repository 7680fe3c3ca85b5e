"""How a tracer in a pod ends: nobody reads its log, or it is the first process of a namespace."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.neighbours import Neighbours
from kernel.pod_tracing import Kubelet, PodTracer, finish, writer
from workload.stage import Stage, cgroup_mount

UNHEARD_SECONDS = 12
LOOK_SECONDS = 5
SCRAPED_SECONDS = 120


class PodLog:
    """The log of a tracer's container, written by a process of its own as a runtime does it."""

    def __init__(self, folder: Path) -> None:
        self.uid = str(uuid.uuid4())
        self.environment = {
            "PODTRACE_POD_NAMESPACE": "tools",
            "PODTRACE_POD_NAME": "podtrace-x",
            "PODTRACE_POD_UID": self.uid,
        }
        self.file = folder / f"tools_podtrace-x_{self.uid}" / "tracer" / "0.log"
        self.file.parent.mkdir(parents=True)
        self.pipe = folder / "pipe"
        os.mkfifo(self.pipe)
        self.runtime = subprocess.Popen(
            ["sh", "-c", f"exec cat > {shlex.quote(str(self.file))} < {self.pipe}"]
        )

    @contextmanager
    def reader(self) -> Iterator[subprocess.Popen[bytes]]:
        """Open the log for reading every second, as long as the context lasts."""
        while not self.file.exists():
            time.sleep(0.02)
        loop = f"while exec 3< {shlex.quote(str(self.file))}; do sleep 1; done"
        process = subprocess.Popen(["sh", "-c", loop])
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        self.runtime.kill()
        self.runtime.wait()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PodLog]:
    log = PodLog(tmp_path)
    yield log
    log.close()


def test_trace_ends_when_its_log_is_no_longer_read(
    stage: Stage, tmp_path: Path, log: PodLog
) -> None:
    pod = Kubelet(stage).pod("web-0")
    options = ("--until-unheard", UNHEARD_SECONDS)
    with (
        log.reader() as reader,
        PodTracer(
            tmp_path,
            [pod.asked(1)],
            *options,
            environment=log.environment,
            output=log.pipe,
            log=log.file,
        ) as t,
    ):
        assert t.hello["listener_check"] is True
        assert t.hello["listener_reason"] is None
        t.wait_ticks(UNHEARD_SECONDS + LOOK_SECONDS + 2)
        assert reader.poll() is None
        reader.kill()
        reader.wait()
        neighbours, begun = Neighbours(), time.monotonic()
        last = t.end()
        waited = time.monotonic() - begun
    assert (last["kind"], last["reason"]) == ("end", "unheard")
    # A look may come late, so that the last reader was seen some seconds earlier.
    assert waited > UNHEARD_SECONDS - 2 * LOOK_SECONDS
    assert waited < neighbours.limit(UNHEARD_SECONDS + LOOK_SECONDS + 5)


@pytest.mark.timeout(600)
def test_who_scrapes_listens_for_two_minutes_though_nobody_reads_the_log(
    stage: Stage, tmp_path: Path, log: PodLog
) -> None:
    pod = Kubelet(stage).pod("web-0")
    options = ("--until-unheard", UNHEARD_SECONDS, "--metrics", "127.0.0.1:0")
    with PodTracer(
        tmp_path,
        [pod.asked(1)],
        *options,
        environment=log.environment,
        output=log.pipe,
        log=log.file,
    ) as t:
        assert t.hello["listener_check"] is True
        t.wait_ticks(2)
        neighbours, scraped = Neighbours(), time.monotonic()
        assert b"podtrace_tracer_ticks_total " in ask(t, "/metrics")
        # Who asks whether it is healthy does not want what it counts. From here on the log is read
        # by nobody, this test included.
        while time.monotonic() < scraped + SCRAPED_SECONDS - LOOK_SECONDS:
            assert t.process.poll() is None, f"{time.monotonic() - scraped:.0f} s after the scrape"
            assert ask(t, "/healthz") == b"ok\n"
            time.sleep(1)
        last = t.end()
        waited = time.monotonic() - scraped
    assert (last["kind"], last["reason"]) == ("end", "unheard")
    assert waited >= SCRAPED_SECONDS
    assert waited < neighbours.limit(SCRAPED_SECONDS + LOOK_SECONDS + 5)


def ask(tracer: PodTracer, path: str) -> bytes:
    """Read what the tracer's port answers."""
    with urllib.request.urlopen(f"http://{tracer.hello['metrics']}{path}", timeout=30) as answer:
        content: bytes = answer.read()
    return content


def test_listeners_that_cannot_be_seen_are_not_waited_for(stage: Stage, tmp_path: Path) -> None:
    pod = Kubelet(stage).pod("web-0")
    with PodTracer(tmp_path, [pod.asked(1)], "--until-unheard", 0) as t:
        t.wait_ticks(2)
        last = t.stop()
    assert t.hello["listener_check"] is False
    assert "does not know which pod it is" in t.hello["listener_reason"]
    assert last["reason"] == "signal"


def test_first_process_of_a_node_that_is_a_container(stage: Stage, tmp_path: Path) -> None:
    kubelet = Kubelet(stage)
    pod, neighbour = kubelet.pod("web-0"), kubelet.pod("web-1")
    own = stage.cgroup("tracer", kubelet.root)
    program, noise = writer(stage, pod.run("app"), 14), writer(stage, neighbour.run("app"), 90)
    mount = cgroup_mount()
    inside = f"mount --bind {kubelet.root} {mount} && echo $$ > {mount}/tracer/cgroup.procs"
    script = f'mount -t proc proc /proc && {inside} && exec "$@"'
    namespaces = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--propagation",
        "private",
    ]
    with PodTracer(tmp_path, [pod.asked(1)], command=[*namespaces, "sh", "-c", script, "sh"]) as t:
        finish(program, noise)
        t.wait_ticks(2)
        [tracer] = map(int, (own / "cgroup.procs").read_text().split())
        os.kill(tracer, signal.SIGTERM)
        last = t.end()
    assert last["reason"] == "signal"
    assert t.hello["targets"][0]["cgroup"] == str(mount / pod.folder.relative_to(kubelet.root))
    assert (t.total("write"), t.total("write", process=program.pid)) == (14, 14)
    assert t.containers() == {program.pid: "app"}
