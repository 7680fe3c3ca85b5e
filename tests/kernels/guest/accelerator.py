"""How fast a guest can run here: with /dev/kvm where that boots a kernel, else emulated."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

_EMULATED = ("-accel", "tcg,thread=single", "-cpu", "max")
"""One thread for all processors: with more, kernels panic at times while probes are attached."""
_PATIENCE_SECONDS = 8.0


@functools.cache
def accelerator(image: Path) -> tuple[str, ...]:
    """Return QEMU's options. That /dev/kvm can be opened does not say that guests get anywhere."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return _EMULATED
    for processor in ("host", "host,-arch-capabilities"):
        options = ("-accel", "kvm", "-cpu", processor)
        if _boots(image, options):
            return options
    return _EMULATED


def _boots(image: Path, options: tuple[str, ...]) -> bool:
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
