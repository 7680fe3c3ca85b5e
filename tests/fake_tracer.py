#!/usr/bin/env python3
"""Plays a tracer: sends a canned stream, then behaves as well or as badly as it is told to.

What a real tracer does is shown by the kernel tests; this one dies, hangs and floods on command. It
is started in the place of the tracer's Python, so that its command line is the real one.

    FAKE_STREAM    file with the lines to send
    FAKE_PACE      seconds between ticks (0)
    FAKE_THEN      what follows the lines: exit (default), wait (until SIGINT, then the end line),
                   hang (for ever, deaf to SIGINT), kill (itself, by SIGKILL), crash, flood
    FAKE_LOG       file that gets the arguments, the process id and the signals
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

END = {"kind": "end", "reason": "signal", "exit_code": None, "totals": {}}


def log(text: str) -> None:
    if path := os.environ.get("FAKE_LOG"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(text + "\n")


def send(line: bytes) -> None:
    data = memoryview(line)
    while data:
        data = data[os.write(1, data) :]


def main() -> int:
    arguments = sys.argv[sys.argv.index("-c") + 3 :]
    log(f"start {os.getpid()} {json.dumps(arguments)}")
    if "--cleanup" in arguments:
        sys.stdout.write(os.environ.get("FAKE_LEFT", ""))
        return 0
    stopped = False

    def stop(number: int, _frame: object) -> None:
        nonlocal stopped
        log(f"signal {signal.Signals(number).name}")
        stopped = True

    then = os.environ.get("FAKE_THEN", "exit")
    signal.signal(signal.SIGINT, signal.SIG_IGN if then == "hang" else stop)
    pace = float(os.environ.get("FAKE_PACE", "0"))
    lines = Path(os.environ["FAKE_STREAM"]).read_bytes().splitlines(keepends=True)
    try:
        for line in lines:
            if stopped:
                break
            send(line)
            if pace and b'"kind":"health"' in line:
                time.sleep(pace)
        if then == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if then == "crash":
            raise RuntimeError("the map is \x1b[31mgone")
        while then == "flood" and not stopped:
            send(lines[-1])
        while then in ("wait", "hang") and not stopped:
            time.sleep(0.02)
        if stopped:
            last = json.loads(lines[-1])
            numbers = {"seq": last["seq"] + 1, "tick": last["tick"], "time_ns": last["time_ns"]}
            send(json.dumps(END | numbers).encode() + b"\n")
    except BrokenPipeError:
        log("stdout closed")
        return 1
    log("exit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
