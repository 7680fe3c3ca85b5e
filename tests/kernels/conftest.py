"""What the tests on other kernels share: the guests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels.guests import GUEST_SECONDS, Guests
from kernels.kept import forget

_HERE = Path(__file__).parent
_BUILD_SECONDS = 15 * 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Whichever guest a test waits for, it may be the last that is booted.
    seconds = _BUILD_SECONDS + GUEST_SECONDS * len(items)
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker("kernels")
            item.add_marker(pytest.mark.timeout(seconds))


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest) -> Iterator[Guests]:
    """Boot the guests of the tests that were chosen."""
    if os.geteuid() != 0:
        pytest.fail("making the guests' file system needs root", pytrace=False)
    if shutil.which("qemu-system-x86_64") is None:
        pytest.fail("guests need QEMU: install it with `make kernels`", pytrace=False)
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    cases = [spec.params["case"] for spec in specs if spec is not None and "case" in spec.params]
    forget()
    with Guests(list(dict.fromkeys(cases))) as guests:
        yield guests
