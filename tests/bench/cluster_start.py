"""How long it takes in a cluster from Enter to the first counted operation of the traced pod.

    KUBECONFIG=... PODTRACE_TRACER_IMAGE=... PODTRACE_WORKLOAD_IMAGE=... cluster_start.py [RUNS]

A pod connects to a closed port every 5 ms. Each run begins with a new process of the plugin, as a
user's does, and ends with a tracer that is gone. The parts are told apart by the moments at which
the plugin says that the tracer was created, at which the tracer's process began and at which its
last probe was attached; the clocks of this machine and of the node have to agree.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 10
WORKLOAD = """
import socket, time
while True:
    sock = socket.socket()
    sock.connect_ex(("127.0.0.1", 9))
    sock.close()
    time.sleep(0.005)
"""
PARTS = ("plugin, to the tracer's creation", "node, to the tracer's process", "attaching", "first")


def kubectl(*words: str, text: str | None = None) -> str:
    """Run kubectl and return its output."""
    return subprocess.run(
        ["kubectl", *words], input=text, capture_output=True, text=True, check=True
    ).stdout


def start_workload(namespace: str) -> None:
    """Create the namespace and a pod that connects in vain, and wait for it."""
    kubectl("create", "namespace", namespace)
    container = {
        "name": "busy",
        "image": os.environ["PODTRACE_WORKLOAD_IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", WORKLOAD],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "busy", "namespace": namespace},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    kubectl("apply", "-f", "-", text=json.dumps(pod))
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/busy", "--timeout=60s")


def measure(namespace: str, folder: Path) -> tuple[float, ...]:
    """Trace once; return the seconds of each part."""
    recording = folder / "run.jsonl"
    recording.unlink(missing_ok=True)
    line = ["kubectl", "podtrace", "-n", namespace, "busy", "--diagnose", "2s", "-o", "json"]
    enter = time.time()
    program = subprocess.Popen(
        [*line, "--record", str(recording)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PATH": f"{ROOT}:{os.environ['PATH']}"},
    )
    assert program.stderr is not None
    created = 0.0
    for text in program.stderr:
        if text.startswith(b"created") and not created:
            created = time.time()
    if program.wait() != 0:
        raise SystemExit(f"{' '.join(line)} failed with {program.returncode}")
    hello, first = None, 0
    for text in recording.read_bytes().splitlines():
        entry = json.loads(text)
        if entry["kind"] == "hello":
            hello = entry
        elif entry["kind"] == "event" and entry["event"] == "connect_failed":
            first = min(first or entry["time_ns"], entry["time_ns"])
    assert hello is not None
    moments = [
        enter,
        created,
        hello["started_ns"] / 1e9,
        hello["window_start_ns"] / 1e9,
        first / 1e9,
    ]
    return tuple(later - earlier for earlier, later in itertools.pairwise(moments))


def main() -> None:
    """Measure and print the medians."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    namespace = f"podtrace-bench-{secrets.token_hex(3)}"
    try:
        start_workload(namespace)
        with tempfile.TemporaryDirectory() as folder:
            measured = []
            for number in range(runs):
                measured.append(measure(namespace, Path(folder)))
                print(f"run {number + 1:2}: {sum(measured[-1]):.2f} s", flush=True)
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")
    for name, seconds in zip(PARTS, zip(*measured, strict=True), strict=True):
        print(f"{name:34} {statistics.median(seconds):6.2f} s")
    totals = [sum(parts) for parts in measured]
    print(f"{'Enter to the first operation':34} {statistics.median(totals):6.2f} s, "
          f"slowest {max(totals):.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
