"""A workload that does what each line of its standard input says, until the input ends.

An order is a JSON list of [step, {arguments}], the steps being those of steps.py. What came of it
is one line: `done` with the number of the order and the result of every step. So one pod can serve
many traces, and each pod of a deployment do something else.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import gate
from steps import Steps


def main() -> None:
    """Follow orders."""
    steps = Steps()
    for address in ("127.0.0.1", "::1"):
        steps.connect_datagram(address, 9)
    gate.say("ready", pid=os.getpid())
    for number, order in enumerate(_lines(), 1):
        begun_ns, cpu_ns = time.time_ns(), time.process_time_ns()
        results = [getattr(steps, name)(**arguments) for name, arguments in json.loads(order)]
        cpu_ns = time.process_time_ns() - cpu_ns
        gate.say("done", order=number, begun_ns=begun_ns, cpu_ns=cpu_ns, results=results)


def _lines() -> Iterator[bytes]:
    """Read by one system call at a time, each of which a traced workload knows."""
    rest = b""
    while data := os.read(0, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


if __name__ == "__main__":
    main()
