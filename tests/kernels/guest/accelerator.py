"""How fast a guest can run here: with /dev/kvm where that boots a kernel, else emulated."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kernels.guest.debian import CACHE

_EMULATED = ("-accel", "tcg,thread=single", "-cpu", "Nehalem")
"""One thread for all processors: with more, kernels panic at times while probes are attached. Of
an old kind, because newer vector instructions are emulated slowly."""
_HOSTS = ("host", "host,-arch-capabilities")
"""The second for hypervisors that do not let a guest's guest have that register."""
_PATIENCE_SECONDS = 8.0


def accelerator(image: Path) -> list[str]:
    """Return QEMU's options, found out once after each start of this machine.

    That /dev/kvm can be opened does not say that guests get anywhere: `image` is a kernel to try.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = CACHE.folder / "accelerator.json"
    with CACHE.locked("lock-accelerator"):
        found: dict[str, list[str]] = json.loads(known.read_text()) if known.exists() else {}
        if boot not in found:
            found = {boot: list(_fastest(image))}
            known.write_text(json.dumps(found))
    return found[boot]


def _fastest(image: Path) -> Sequence[str]:
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        for processor in _HOSTS:
            options = ("-accel", "kvm", "-cpu", processor)
            if _boots(image, options):
                return options
    return _EMULATED


def _boots(image: Path, options: Sequence[str]) -> bool:
    """Tell whether a kernel without a root file system comes as far as its panic over that."""
    command = [
        *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-m", "512M"),
        *("-serial", "stdio", "-kernel", str(image), "-append", "console=ttyS0 panic=-1", *options),
    ]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and b"Kernel panic" in done.stdout
