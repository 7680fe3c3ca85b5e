"""The demo: start a small shop in a cgroup of its own, trace it for ten seconds, print the report.

usage: run.py [DURATION]      10s by default; as root
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from workload.stage import Stage, StageError, cgroup_mount  # noqa: E402

DNS_ADDRESSES = ("127.77.53.2", "127.77.53.3")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _start_dns(stage: Stage) -> str:
    """Start a DNS server whose answers take 3 ms and return its address."""
    trouble = ""
    for address in DNS_ADDRESSES:
        try:
            stage.start("dns_server.py", "--address", address, "--delay-ms", 3)
        except StageError as error:
            trouble = str(error)
        else:
            return address
    raise StageError(f"no DNS server on {' or '.join(DNS_ADDRESSES)}: {trouble}")


def start_shop(stage: Stage) -> Path:
    """Start the shop and what it talks to; return its cgroup."""
    dns = _start_dns(stage)
    server = stage.start(
        *("tcp_server.py", "--listen", "127.0.0.1", "--listen", "::1"),
        *("--refuse", "127.0.0.1"),
    )
    port, down = server.facts["port"], server.facts["refused_port"]
    facts = {
        "dns": dns,
        "backends": [
            {"address": "127.0.0.1", "port": port, "weight": 10},
            {"address": "::1", "port": port, "weight": 6},
            {"address": "127.0.0.1", "port": down, "weight": 1},
        ],
        "index": str(stage.folder / "catalog.idx"),
        "log": str(stage.folder / "access.log"),
    }
    cgroup = stage.cgroup(f"podtrace-demo-{os.getpid()}", cgroup_mount())
    stage.start(sys.executable, ROOT / "tests/demo/shop.py", json.dumps(facts), cgroups=[cgroup])
    return cgroup


def run(duration: str) -> int:
    """Run the demo and return the exit code of the trace."""
    with Stage() as stage:
        cgroup = start_shop(stage)
        command = [str(ROOT / "kubectl-podtrace"), "--local", "--cgroup", str(cgroup)]
        command += ["--diagnose", duration]
        _say(
            f"A small shop runs in {cgroup}. Tracing it for {duration}:\n\n  {' '.join(command)}\n"
        )
        return subprocess.run(command, stdin=subprocess.DEVNULL).returncode


def main() -> int:
    """Run the demo; say what is wrong where it cannot."""
    if os.geteuid() != 0:
        _say("error: the demo traces for real and needs root\nTry: sudo make demo")
        return 1
    try:
        return run(*(sys.argv[1:] or ["10s"]))
    except StageError as error:
        _say(f"error: the demo's workload did not start: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
