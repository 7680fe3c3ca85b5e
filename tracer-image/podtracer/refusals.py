"""Why a kernel lets no program be loaded at all, and the way out."""

from __future__ import annotations

from pathlib import Path

from podtracer.errors import TracerError

LOCKDOWN = "/sys/kernel/security/lockdown"


def refuse_lockdown(state: str = LOCKDOWN) -> None:
    """Raise TracerError where the kernel lets nobody read its memory.

    It would refuse some programs, whose helpers it then does not know, and load others
    (kernel_lockdown(7)).
    """
    try:
        locked = "[confidentiality]" in Path(state).read_text()
    except OSError:
        return
    if locked:
        raise TracerError(
            "lockdown",
            "the kernel is locked down (confidentiality): it lets nobody read kernel memory",
            "Boot with lockdown=integrity or lockdown=none, or trace on another node.",
        )


def no_permission() -> TracerError:
    """Say that the kernel refuses eBPF to us."""
    return TracerError(
        "no_permission",
        "the kernel refuses to load eBPF programs: permission denied",
        "Run as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_PTRACE.",
    )
