"""How a workload is held before its start and asked for its truth.

A workload prints JSON lines on standard output: first `ready`, then `done`, last `truth`. It begins
at the first line of standard input and gives its truth at the second. End of file on standard
input ends it, so nothing is left when the test process dies. Every wait is one read of a pipe and
every line one write, so that a traced workload knows what its own gate costs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def say(state: str, **facts: Any) -> None:
    """Write one line with one system call; it says when, in nanoseconds of the wall clock."""
    line = {"state": state, "time_ns": time.time_ns(), **facts}
    os.write(1, (json.dumps(line) + "\n").encode())


def hold() -> None:
    """Wait for one line of standard input; leave quietly at its end."""
    if not os.read(0, 4096):
        sys.exit(0)
