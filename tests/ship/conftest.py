"""What the tests of a release share: its files, tools of others, and fresh machines."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ship.artefacts import Artefacts
from ship.fresh_machine import FreshMachine

ROOT = Path(__file__).parents[2]
_HERE = Path(__file__).parent
_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker("ship")
            item.add_marker(pytest.mark.timeout(_SECONDS))


@pytest.fixture(scope="session")
def dist() -> Artefacts:
    """Make all files of a release, as the README says."""
    done = subprocess.run(["make", "dist"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return Artefacts(ROOT / "dist")


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., FreshMachine]:
    """Return what makes machines that never had podtrace."""
    if os.geteuid() != 0:
        pytest.fail("entering a fresh Debian needs root", pytrace=False)
    count = iter(range(100))
    return lambda *debian: FreshMachine(tmp_path / f"machine-{next(count)}", *debian)
