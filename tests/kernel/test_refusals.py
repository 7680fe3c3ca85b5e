"""Kernels that cannot be traced, played by mounts that only the program under test sees."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from kernel.tracing import PATIENCE_SECONDS, command

TARGET = ("--local", "--diagnose", "1s", "--", "/bin/true")


def _with_mounts(script: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a mount namespace of its own that the script has changed."""
    line = f"{script} && exec {shlex.join(map(str, command(*TARGET)))}"
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", line],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(
    ("script", "message", "next_step"),
    [
        (
            "mount -t tmpfs none /sys/kernel/btf",
            "/sys/kernel/btf/vmlinux is not there",
            "CONFIG_DEBUG_INFO_BTF",
        ),
        (
            "mount -t tmpfs none /sys/kernel/btf && echo junk > /sys/kernel/btf/vmlinux",
            "BTF cannot be used",
            "Report",
        ),
        (
            "mount -t tmpfs none /sys/kernel/security"
            " && echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown",
            "locked down (confidentiality)",
            "lockdown=integrity",
        ),
    ],
)
def test_refusal_says_why_and_what_to_do(script: str, message: str, next_step: str) -> None:
    result = _with_mounts(script)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert next_step in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
