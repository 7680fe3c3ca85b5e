from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer_machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "stream")
    yield machine
    os.close(machine.stream.fd)
