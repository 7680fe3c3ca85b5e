"""Pods without a cluster: their cgroups as a kubelet makes them, and the tracer as in a pod.

The tracer is started as in its image, without the plugin: its standard output is read as it comes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernel.tracing import PATIENCE_SECONDS, ROOT
from workload.stage import Program, Stage, cgroup_mount, remove_cgroup

IMAGE = ROOT / "tracer-image"
SYSTEM_PYTHON = "/usr/bin/python3"
TRACER_PYTHON = os.environ.get("PODTRACE_PYTHON", SYSTEM_PYTHON)
BOUNDED = ROOT / "tests" / "workload" / "bounded.py"
LOG_LINKS = Path("/var/log/containers")
NAMESPACE = "shop"

Line = dict[str, Any]


class Kubelet:
    """Makes the cgroups of pods below a root of its own, and links to their logs.

    With systemd as their driver, the runtime's name stands in those of containers.
    """

    def __init__(
        self,
        stage: Stage,
        root: Sequence[str] = (),
        systemd: bool = False,
        runtime: str = "cri-containerd",
    ) -> None:
        self._stage = stage
        self._systemd = systemd
        self._scope = f"{runtime}-{{}}.scope" if systemd else "{}"
        folder = stage.cgroup("pods")
        for name in root:
            folder = stage.cgroup(name, folder)
        self.root = folder
        self.base = stage.cgroup("kubepods.slice" if systemd else "kubepods", folder)

    def pod(self, name: str, quality: str = "burstable", made: bool = True) -> Pod:
        """Make a pod's cgroup, or with `made` false only say where it will be."""
        uid = str(uuid.uuid4())
        if self._systemd:
            prefix = f"kubepods-{quality}" if quality else "kubepods"
            parent = self.base / f"{prefix}.slice" if quality else self.base
            folder = parent / f"{prefix}-pod{uid.replace('-', '_')}.slice"
        else:
            parent = self.base / quality if quality else self.base
            folder = parent / f"pod{uid}"
        if not parent.exists():
            self._stage.cgroup(parent.name, parent.parent)
        pod = Pod(self._stage, name, uid, folder, self._scope)
        if made:
            pod.make()
        return pod


@dataclass
class Pod:
    """A pod's cgroup and its containers' ids by name."""

    stage: Stage
    name: str
    uid: str
    folder: Path
    scope: str
    containers: dict[str, str] = field(default_factory=dict)

    def make(self) -> None:
        """Make the directory."""
        self.stage.cgroup(self.folder.name, self.folder.parent)

    def run(self, container: str) -> Path:
        """Make the cgroup of a new container of this name and return it."""
        identity = secrets.token_hex(32)
        self.containers[container] = identity
        return self.stage.cgroup(self.scope.format(identity), self.folder)

    def link(self, container: str) -> None:
        """Link the container's log, as the kubelet does when it has started it."""
        LOG_LINKS.mkdir(parents=True, exist_ok=True)
        identity = self.containers[container]
        link = LOG_LINKS / f"{self.name}_{NAMESPACE}_{container}-{identity}.log"
        link.symlink_to("/dev/null")
        self.stage.files.append(link)

    def asked(self, number: int, only: Sequence[str] = ()) -> dict[str, Any]:
        """Return the pod as the plugin asks for it."""
        return {
            "id": number,
            "namespace": NAMESPACE,
            "pod": self.name,
            "uid": self.uid,
            "containers": {identity: name for name, identity in self.containers.items()},
            "only": list(only),
        }


class PodTracer:
    """The tracer of a node. A context manager."""

    def __init__(
        self,
        folder: Path,
        pods: Sequence[dict[str, Any]],
        *options: object,
        environment: dict[str, str] | None = None,
        command: Sequence[str] = (),
        capabilities: Sequence[str] | None = None,
        output: Path | None = None,
        log: Path | None = None,
        program: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        """Start it, before it with `command`, and wait for its first line.

        It has all capabilities, or those named. It writes to `output`; `log` is where that can be
        read. `program` takes the tracer's options and is another one than that of this checkout.
        """
        output = output or folder / "stream.jsonl"
        self.output = log or output
        self.errors = folder / "tracer.err"
        argv = [*command, *(program or (TRACER_PYTHON,))]
        if capabilities is not None:
            argv += [str(BOUNDED), ",".join(capabilities), SYSTEM_PYTHON]
        argv += [*(() if program else ("-m", "podtracer")), "--pods", json.dumps(list(pods))]
        with output.open("wb") as stream, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*argv, *map(str, options)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": str(IMAGE), **(environment or {})},
            )
        if wait:
            self.hello = self.wait_for("hello")

    def __enter__(self) -> PodTracer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def lines(self) -> list[Line]:
        """Return the whole lines so far."""
        return [json.loads(line) for line in self.output.read_bytes().split(b"\n")[:-1]]

    def wait_for(self, kind: str, **wanted: Any) -> Line:
        """Wait for a line of a kind with the wanted values."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            ended = self.process.poll() is not None
            for line in self.lines():
                if line["kind"] == kind and all(line.get(k) == v for k, v in wanted.items()):
                    return line
            if ended or time.monotonic() > deadline:
                said = self.lines()[-3:], self.errors.read_text()
                raise AssertionError(f"no {kind} line {wanted}: {said}")
            time.sleep(0.05)

    def wait_ticks(self, count: int = 1) -> None:
        """Wait for so many more ticks."""
        before = sum(line["kind"] == "health" for line in self.lines())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while sum(line["kind"] == "health" for line in self.lines()) < before + count:
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT) -> Line:
        """Interrupt it and return its last line."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> Line:
        """Wait for its end and return its last line."""
        self.process.wait(PATIENCE_SECONDS)
        return self.lines()[-1]

    def total(self, metric: str, **wanted: Any) -> int:
        """Add up the counts of a metric."""
        return sum(line["count"] for line in self.series(metric, **wanted))

    def series(self, metric: str, **wanted: Any) -> Iterator[Line]:
        """Yield the series lines of a metric with the wanted values."""
        for line in self.lines():
            expected = {"kind": "series", "metric": metric, **wanted}
            if all(line.get(key) == value for key, value in expected.items()):
                yield line

    def containers(self) -> dict[int, str | None]:
        """Return the name of the container that each process was last said to be in."""
        return {x["process"]: x["container"] for x in self.lines() if x["kind"] == "process"}

    def events(self, name: str) -> list[Line]:
        """Return the events of a kind."""
        return [x for x in self.lines() if x["kind"] == "event" and x["event"] == name]


def writer(stage: Stage, cgroup: Path | Sequence[Path], times: int) -> Program:
    """Start a workload that waits in a cgroup to write so many times."""
    steps = json.dumps([["write_file", {"path": str(stage.folder / "data"), "times": times}]])
    return stage.start("steps.py", steps, cgroups=[cgroup] if isinstance(cgroup, Path) else cgroup)


def finish(*programs: Program) -> None:
    """Let workloads do their work and end."""
    for program in programs:
        program.go()
        program.wait_done()
        program.truth()


def twins(pod: Pod, *controllers: str) -> list[Path]:
    """Where the kubelet has the pod's cgroup in hierarchies of version 1."""
    inside = pod.folder.relative_to(cgroup_mount())
    return [cgroup_mount(controller) / inside for controller in controllers]


@contextlib.contextmanager
def made(folders: Sequence[Path]) -> Iterator[None]:
    """Make cgroups with all that is above them, and remove at the end what was made."""
    missing = [
        path for folder in folders for path in (folder, *folder.parents) if not path.exists()
    ]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for path in sorted(set(missing), key=lambda path: len(path.parts), reverse=True):
            remove_cgroup(path)
