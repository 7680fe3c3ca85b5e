"""Processes of many names: so many that live side by side, or so many one after the other.

usage: names.py live COUNT --dns ADDRESS --tcp ADDRESS --port N --folder FOLDER
       names.py pass COUNT

Those that live do a round of everything that is measured by process twice a second. Those that pass
write once into a pipe and end. The truth is what all of them did.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import select
import socket
import time

import dns_message
import gate

PAUSE_SECONDS = 0.5
AT_ONCE = 20
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None)


def _fork(name: str) -> int:
    """Fork a child, which the kernel calls by its parent's name at that moment."""
    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    return os.fork()


class Resident:
    """One process that lives."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        """Prepare its file and its sockets."""
        self._options = options
        self._path = f"{options.folder}/{number}"
        self._dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._number = number

    def live(self) -> None:
        """Do rounds until the parent has gone."""
        parent = os.getppid()
        time.sleep(random.random() * PAUSE_SECONDS)
        while os.getppid() == parent:
            self._round()
            time.sleep(PAUSE_SECONDS)

    def _round(self) -> None:
        options = self._options
        file = os.open(self._path, os.O_RDWR | os.O_CREAT)
        os.write(file, b"x" * 100)
        os.fsync(file)
        os.pread(file, 100, 0)
        os.close(file)
        with socket.create_connection((options.tcp, options.port)) as sock:
            sock.send(b"hello")
            sock.recv(100)
        question = dns_message.query(self._number, f"name{self._number}.test")
        self._dns.sendto(question, (options.dns, 53))
        self._dns.recv(512)


def _live(options: argparse.Namespace) -> dict[str, int]:
    for number in range(options.count):
        if _fork(f"resident{number}") == 0:
            Resident(options, number).live()
            os._exit(0)
    return {}


def _pass(options: argparse.Namespace) -> dict[str, int]:
    reading, writing = os.pipe()
    alive = 0
    for number in range(options.count):
        if alive >= AT_ONCE:
            os.wait()
            alive -= 1
        if _fork(f"brief{number}") == 0:
            os.write(writing, b"x")
            os._exit(0)
        alive += 1
        if number % AT_ONCE == 0 and select.select([reading], [], [], 0)[0]:
            os.read(reading, 1 << 16)
    while alive:
        os.wait()
        alive -= 1
    return {"processes": options.count}


def main() -> None:
    """Hold, do, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("live", "pass"))
    parser.add_argument("count", type=int)
    parser.add_argument("--dns")
    parser.add_argument("--tcp")
    parser.add_argument("--port", type=int)
    parser.add_argument("--folder")
    options = parser.parse_args()
    gate.say("ready", pid=os.getpid(), gated=True)
    gate.hold()
    done = _live(options) if options.what == "live" else _pass(options)
    gate.say("done")
    gate.hold()
    gate.say("truth", **done)


if __name__ == "__main__":
    main()
