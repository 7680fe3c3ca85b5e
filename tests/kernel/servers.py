"""The servers that a workload talks to, outside the traced target, and its arguments for them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workload.stage import Program, Stage, StageError

DNS_ADDRESS = f"127.77.{os.getpid() % 250}.53"
DNS_ADDRESS_IPV6 = "::1"
DNS_DELAY_SECONDS = 0.020
PATIENCE_SECONDS = 150
"""Another test run on this machine may hold port 53 of the only IPv6 loopback address."""


@dataclass
class Servers:
    """A DNS server with a delay and a TCP echo server with a port that refuses."""

    dns: Program
    tcp: Program

    @property
    def port(self) -> int:
        """Port of the echo server, on 127.0.0.1 and ::1."""
        return int(self.tcp.facts["port"])

    @property
    def refused_port(self) -> int:
        """Port that nobody listens on and nobody else can take."""
        return int(self.tcp.facts["refused_port"])

    def exact_arguments(self, file: Path) -> list[Any]:
        """Return what exact.py needs to know of these servers."""
        return [
            *("--dns", DNS_ADDRESS, "--dns", DNS_ADDRESS_IPV6),
            *("--tcp", "127.0.0.1", "--tcp", "::1"),
            *("--port", self.port, "--refused-port", self.refused_port),
            *("--file", file),
        ]


def start_servers(stage: Stage, delay_ms: float = 1000 * DNS_DELAY_SECONDS) -> Servers:
    """Start both; skip the test where the DNS port of these addresses is taken."""
    addresses = ("--address", DNS_ADDRESS, "--address", DNS_ADDRESS_IPV6)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            dns = stage.start("dns_server.py", *addresses, "--delay-ms", delay_ms)
            break
        except StageError:
            if time.monotonic() > deadline:
                pytest.skip(f"port 53 of {DNS_ADDRESS} or {DNS_ADDRESS_IPV6} is taken")
            time.sleep(2)
    tcp = stage.start(
        "tcp_server.py",
        *("--listen", "127.0.0.1", "--listen", "::1"),
        *("--refuse", "127.0.0.1", "--refuse", "::1"),
    )
    return Servers(dns, tcp)
