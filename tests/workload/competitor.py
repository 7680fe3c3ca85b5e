"""Processes that keep one CPU busy, so that whoever shares it has to wait for its turn."""

from __future__ import annotations

import argparse
import os
import select

import gate


def main() -> None:
    """Spin on one CPU in several processes until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpu", type=int, default=0)
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.cpu})
    parent = os.getpid()
    for _ in range(options.processes):
        if os.fork() == 0:
            while os.getppid() == parent:
                for _ in range(100_000):
                    pass
            os._exit(0)
    gate.say("ready", cpu=options.cpu)
    select.select([0], [], [])
    gate.say("truth", processes=options.processes)


if __name__ == "__main__":
    main()
