"""What decides, before any test runs, which tests this machine can run at all."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import subprocess
from pathlib import Path

import pytest

from workload.stage import StageError, cgroup_mount

if importlib.util.find_spec("hypothesis"):
    from hypothesis import settings

    # A machine that stands still for a moment says nothing about the code.
    settings.register_profile("podtrace", deadline=None)
    settings.load_profile("podtrace")

SYSTEM_PYTHON = "/usr/bin/python3"
REQUIRE_KERNEL = "PODTRACE_REQUIRE_KERNEL"
"""Set where the kernel tests must run: what would skip them fails them instead."""


@functools.cache
def obstacle_to_tracing() -> str | None:
    """Return why this machine cannot trace, or None where it can."""
    if os.geteuid() != 0:
        return "tracing needs root: run the tests as root for these"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "tracing needs a kernel with BTF: /sys/kernel/btf/vmlinux does not exist"
    found = subprocess.run([SYSTEM_PYTHON, "-c", "from bcc import BPF"], capture_output=True)
    if found.returncode != 0:
        return f"tracing needs BCC for {SYSTEM_PYTHON}: install it with `make deps`"
    try:
        cgroup_mount()
    except StageError as error:
        return f"the tests need a cgroup of their own: {error}"
    return None


@pytest.fixture(scope="session", autouse=True)
def ordinary_signals() -> None:
    """Let programs start with a hang-up that ends them, under nohup too: some tests send one."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "kernel" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker("kernel")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel") is None:
        return
    reason = obstacle_to_tracing()
    if reason is not None and os.environ.get(REQUIRE_KERNEL):
        pytest.fail(reason, pytrace=False)
    elif reason is not None:
        pytest.skip(reason)
