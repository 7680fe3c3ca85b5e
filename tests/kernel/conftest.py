"""What tests that trace for real share: why they may have to be skipped, and the stage."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from workload.stage import Stage, StageError, cgroup_mount, compile_c


def _obstacle() -> str | None:
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "this kernel has no BTF"
    found = subprocess.run(
        ["/usr/bin/python3", "-c", "import importlib.util as u; print(u.find_spec('bcc.table'))"],
        capture_output=True,
        text=True,
    )
    if found.returncode or found.stdout.strip() == "None":
        return "the system's Python has no BCC"
    try:
        cgroup_mount()
    except StageError:
        return "cgroup2 is not mounted"
    return None


@pytest.fixture(scope="session")
def obstacle() -> str | None:
    return _obstacle()


@pytest.fixture(scope="session", autouse=True)
def traceable(obstacle: str | None) -> None:
    if obstacle:
        pytest.skip(obstacle)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.kernel)


@pytest.fixture
def stage(traceable: None) -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def module_stage(traceable: None) -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the compiled rate generators."""
    folder = tmp_path_factory.mktemp("rates")
    try:
        for source in ("syscall_rate.c", "network_rate.c"):
            compile_c(source, folder)
    except StageError as error:
        pytest.skip(str(error))
    return folder
