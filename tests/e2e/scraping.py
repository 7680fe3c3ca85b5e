"""Requests for the metrics that a run brings to this machine."""

from __future__ import annotations

import http.client
import re
import time

import pytest

from e2e.kubectl import PATIENCE_SECONDS
from e2e.runs import Run

_PLACE = re.compile(r"metrics(?: of node (\S+))? at http://127\.0\.0\.1:(\d+)/metrics\n")
_REQUEST_SECONDS = 60.0


def ports_of(run: Run, count: int = 1) -> dict[str | None, int]:
    """Wait until a run has said where its metrics are; return ports by node."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(found := _PLACE.findall("".join(run.said))) < count:
        if run.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"no place of metrics: {''.join(run.said)}")
        time.sleep(0.05)
    return {node or None: int(port) for node, port in found}


def port_of(run: Run) -> int:
    """Return the only port of a run, whose metrics answer."""
    (port,) = ports_of(run).values()
    wait_for_status(port, 200)
    return port


def get(port: int, host: str = "127.0.0.1") -> tuple[int, str]:
    """Return status and text of one request on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=_REQUEST_SECONDS)
    try:
        return ask(connection)
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection) -> tuple[int, str]:
    """Return status and text of one more request on a connection."""
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def wait_for_status(port: int, wanted: int) -> str:
    """Wait until requests are answered so, and return the text."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        status, said = get(port)
        if status == wanted:
            return said
        if time.monotonic() > deadline:
            pytest.fail(f"{status} instead of {wanted}: {said}")
        time.sleep(0.2)


def wait_for_operations(port: int, **labels: str) -> str:
    """Wait for a page with operations that have these labels: the first tick may have none."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        page = wait_for_status(port, 200)
        if total(page, "podtrace_operations_total", **labels) > 0:
            return page
        if time.monotonic() > deadline:
            pytest.fail(f"no operations of {labels}: {page}")
        time.sleep(0.2)


def total(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of a name that have these labels."""
    found = 0.0
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if match is None or match[1] != name:
            continue
        own = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
        if labels.items() <= own.items():
            found += float(match[3])
    return found
