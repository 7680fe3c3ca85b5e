"""A workload that begins at once, writes to a file so many times at an even pace, and waits.

`ready` says when it began, `done` when each write was. Nobody needs to tell it anything, so that it
shows what a tracer sees of a container from its first moment on.
"""

from __future__ import annotations

import argparse
import os
import time

import gate


def main() -> None:
    """Write, say when, and wait."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", required=True)
    parser.add_argument("--times", type=int, required=True)
    parser.add_argument("--pause", type=float, default=0.05)
    parser.add_argument("--beside", type=int, default=0, help="so many processes that do the same")
    options = parser.parse_args()
    data = os.open(options.file, os.O_WRONLY | os.O_CREAT, 0o600)
    gate.say("ready", pid=os.getpid())
    is_child = any(os.fork() == 0 for _ in range(options.beside))
    moments = []
    for _ in range(options.times):
        os.write(data, b"x")
        moments.append(time.time_ns())
        time.sleep(options.pause)
    if is_child:
        os._exit(0)
    gate.say("done", moments=moments)
    gate.hold()


if __name__ == "__main__":
    main()
