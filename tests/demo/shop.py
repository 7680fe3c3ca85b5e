"""A small web shop made of three processes: the workload that the demo traces.

`checkout` looks names up and calls the backends that it is told of, of which one may be down;
`catalog` reads and writes files; `worker` computes. All of it is real work at a modest rate.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import socket
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workload"))

import dns_message
import gate

_PR_SET_NAME = 15
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
PATIENCE_SECONDS = 30
DNS_PATIENCE_SECONDS = 6
NAMES = (
    "postgres.shop.internal",
    "payments.shop.internal",
    "cache.shop.internal",
    "nxlegacy.shop.internal",
)


def checkout(facts: dict[str, Any], chance: random.Random) -> None:
    """One order: look a backend up, connect, exchange a few messages."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DNS_PATIENCE_SECONDS)
        sock.connect((facts["dns"], 53))
        name = chance.choices(NAMES, (10, 6, 6, 1))[0]
        sock.send(dns_message.query(chance.randrange(1 << 16), name))
        try:
            sock.recv(512)
        except TimeoutError:
            return
    backends = facts["backends"]
    backend = chance.choices(backends, [each["weight"] for each in backends])[0]
    place = (backend["address"], backend["port"])
    try:
        connection = socket.create_connection(place, timeout=PATIENCE_SECONDS)
    except OSError:
        return
    with connection:
        for _ in range(chance.randrange(2, 6)):
            connection.send(bytes(chance.randrange(100, 2000)))
            connection.recv(4096)
    time.sleep(chance.uniform(0.01, 0.04))


def catalog(facts: dict[str, Any], chance: random.Random) -> None:
    """One page: read an index, write a log, sync it now and then."""
    index = os.open(facts["index"], os.O_RDONLY)
    for _ in range(16):
        os.pread(index, 4096, 4096 * chance.randrange(64))
    os.close(index)
    log = os.open(facts["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(4):
        os.write(log, b"GET /catalog 200\n" * 4)
    if chance.random() < 0.2:
        os.fsync(log)
    os.close(log)
    time.sleep(0.02)


def worker(facts: dict[str, Any], chance: random.Random) -> None:
    """One job: compress a picture."""
    del facts
    picture = chance.randbytes(1 << 16)
    for _ in range(8):
        zlib.compress(picture, 6)
    time.sleep(0.05)


def _become(name: str) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def main() -> None:
    """Run the three until told to stop."""
    facts = json.loads(sys.argv[1])
    Path(facts["index"]).write_bytes(os.urandom(1 << 18))
    parts: tuple[Callable[[dict[str, Any], random.Random], None], ...] = (
        checkout,
        catalog,
        worker,
    )
    for number, part in enumerate(parts):
        if os.fork() == 0:
            _become(part.__name__)
            chance = random.Random(number)
            while True:
                part(facts, chance)
    _become("shop")
    gate.say("ready", pid=os.getpid())
    select.select([0], [], [])


if __name__ == "__main__":
    main()
