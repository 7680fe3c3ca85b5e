"""A workload that does what it is told, step by step, and remembers what came of each step.

usage: steps.py JSON, a list of [step, {arguments}]; a step is a public method of one of the three
classes. The truth holds the result of every step in order. Steps before `["gate", {}]` are done
before the trace.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import gate
from dns_steps import DnsSteps
from host_steps import HostSteps
from network_steps import NetworkSteps


class Steps(NetworkSteps, DnsSteps, HostSteps):
    """Every step there is."""


def main() -> None:
    """Do the steps before the gate, wait, do the others, and give the truth when asked."""
    wanted: list[list[Any]] = json.loads(sys.argv[1])
    steps = Steps()
    if ["gate", {}] not in wanted:
        wanted.insert(0, ["gate", {}])
    for address in ("127.0.0.1", "::1"):
        steps.connect_datagram(address, 9)
    results: list[Any] = []
    cpu_ns = 0
    for name, arguments in wanted:
        if name == "gate":
            gate.say("ready", pid=os.getpid(), gated=True)
            gate.hold()
            cpu_ns = time.process_time_ns()
        else:
            results.append(getattr(steps, name)(**arguments))
    cpu_ns = time.process_time_ns() - cpu_ns
    gate.say("done")
    gate.hold()
    gate.say("truth", results=results, cpu_ns=cpu_ns)


if __name__ == "__main__":
    main()
