"""The lines of a real trace against docs/stream.md."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kernel.tracing import PATIENCE_SECONDS, command

STREAM = Path(__file__).parents[2] / "docs" / "stream.md"

PROGRAM = """
import os, pathlib, socket, subprocess, sys, time
path = pathlib.Path(sys.argv[1])
for number in range(5):
    path.write_bytes(b"x" * 4096)
    path.read_bytes()
with path.open("ab") as file:
    file.write(b"y")
    file.flush()
    os.fsync(file)
server = socket.create_server(("127.0.0.1", 0))
for number in range(3):
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    client.sendall(b"question")
    accepted.recv(8)
    client.close()
    accepted.close()
address = server.getsockname()
server.close()
socket.socket().connect_ex(address)
subprocess.run(["/bin/true"], check=True)
time.sleep(1.2)
"""


def rows(title: str) -> dict[str, str]:
    """Return the rows of the section's tables of fields: what is said of each field, by name."""
    section = STREAM.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 2:
            found.update({name: cells[1] for name in re.findall(r"`([^`]+)`", cells[0])})
    return found


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("stream")
    recording = folder / "stream.jsonl"
    subprocess.run(
        [
            *command("--local", "--diagnose", "20s", "--record", recording),
            *("--", "/usr/bin/python3", "-c", PROGRAM, str(folder / "data")),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    return [json.loads(line) for line in recording.read_bytes().splitlines()]


def test_every_kind_that_a_trace_has_was_seen(lines: list[dict[str, Any]]) -> None:
    kinds = {"hello", "series", "process", "event", "health", "end"}
    assert kinds <= {line["kind"] for line in lines}


@pytest.mark.parametrize("kind", ["hello", "series", "process", "health", "end"])
def test_every_field_is_documented(kind: str, lines: list[dict[str, Any]]) -> None:
    sent = {field for line in lines if line["kind"] == kind for field in line}
    common = {"kind", *rows("Rules")}
    documented = {name.removesuffix("[]") for name in rows(kind)}
    assert sent - common <= documented


def test_every_field_of_an_event_is_documented(lines: list[dict[str, Any]]) -> None:
    section = STREAM.read_text().split("\n## event\n")[1].split("\n## ")[0]
    documented = {"kind", *rows("Rules"), *re.findall(r"`([a-z_]+)`", section)}
    assert {field for line in lines if line["kind"] == "event" for field in line} <= documented


@pytest.mark.parametrize("field", ["lost", "gauges"])
def test_every_place_of_health_is_documented(field: str, lines: list[dict[str, Any]]) -> None:
    sent = {name for line in lines if line["kind"] == "health" for name in line[field]}
    assert sent
    assert sent <= set(re.findall(r"`([a-z_]+)`", rows("health")[field]))


@pytest.mark.parametrize("field", ["targets", "probes", "sections", "thresholds"])
def test_every_part_of_hello_is_documented(field: str, lines: list[dict[str, Any]]) -> None:
    value = lines[0][field]
    sent = set()
    for part in value if isinstance(value, list) else [value]:
        sent |= set(part)
    assert sent
    texts = {name.removesuffix("[]"): text for name, text in rows("hello").items()}
    assert sent <= set(re.findall(r"`([a-z_]+)`", texts[field]))
