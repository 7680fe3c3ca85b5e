"""The options for Prometheus metrics: where they are offered, and for how many processes."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from podtrace.commandline import Option, whole_number
from podtrace.errors import UsageError

DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORT = 3000
DEFAULT_PROCESSES = 100
LARGEST_PORT = 65_535
MOST_PROCESSES = 10_000

_METRICS = "Metrics"
_EXAMPLE = "for example: kubectl podtrace -n shop web-0 --metrics"


@dataclass(frozen=True)
class MetricsOptions:
    """Where metrics are offered on this machine; port 0 is any free one."""

    address: str = DEFAULT_ADDRESS
    port: int = DEFAULT_PORT
    processes: int = DEFAULT_PROCESSES

    @property
    def warning(self) -> str | None:
        """What the user is told where other machines reach that address."""
        if ipaddress.ip_address(self.address).is_loopback:
            return None
        place = host_and_port(self.address, self.port) if self.port else self.address
        return f"warning: whoever reaches {place} on this machine reads the metrics, unasked"


def host_and_port(address: str, port: int) -> str:
    """Return an IP address and a port as they stand in a URL."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def metrics_line(place: str, whose: str = "") -> str:
    """Return what the user is told about metrics at `HOST:PORT`; `whose` begins with a space."""
    return f"metrics{whose} at http://{place}/metrics"


def metrics_params() -> list[click.Parameter]:
    """Return the options; those beside --metrics have no default, so that one alone is noticed."""
    options = [
        Option(
            ["--metrics"],
            is_flag=True,
            help="Offer metrics for Prometheus, as http://localhost:3000/metrics.",
        ),
        Option(
            ["--metrics-port"],
            metavar="N",
            help=f"Port on this machine, 0 for any that is free [{DEFAULT_PORT}].",
        ),
        Option(
            ["--metrics-address"],
            metavar="ADDRESS",
            help=f"Address of this machine to offer them at [{DEFAULT_ADDRESS}].",
        ),
        Option(
            ["--metrics-processes"],
            metavar="N",
            help="Processes that get series of their own; the others share one "
            f"[{DEFAULT_PROCESSES}].",
        ),
    ]
    for option in options:
        option.section = _METRICS
    return [*options]


def metrics_options(values: Mapping[str, Any]) -> MetricsOptions | None:
    """Return where metrics are to be offered, None for nowhere.

    Raises:
        UsageError: a value that is none, or one without --metrics.
    """
    if not values["metrics"]:
        for name in ("port", "address", "processes"):
            if values[f"metrics_{name}"] is not None:
                raise UsageError(f"--metrics-{name} says nothing without --metrics", _EXAMPLE)
        return None
    return MetricsOptions(
        _address(values["metrics_address"]),
        _number("--metrics-port", values["metrics_port"], DEFAULT_PORT, 0, LARGEST_PORT),
        _number(
            "--metrics-processes", values["metrics_processes"], DEFAULT_PROCESSES, 1, MOST_PROCESSES
        ),
    )


def _number(option: str, text: str | None, default: int, least: int, most: int) -> int:
    if text is None:
        return default
    number = whole_number(text, least, most)
    if number is not None:
        return number
    raise UsageError(
        f"{option} {text[:40]}: this is no number from {least} to {most}",
        f"write for example {option} {default}",
    )


def _address(text: str | None) -> str:
    if text is None or text.strip() == "localhost":
        return DEFAULT_ADDRESS
    try:
        return str(ipaddress.ip_address(text.strip().strip("[]")))
    except ValueError:
        raise UsageError(
            f"--metrics-address {text[:40]}: this is no IP address",
            "leave it out for this machine alone; 0.0.0.0 and :: are all addresses of this machine",
        ) from None
