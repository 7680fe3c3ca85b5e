"""Programs for arm64 on another machine: QEMU runs them, and the kernel is told so for a while."""

from __future__ import annotations

import platform
import shutil

_EMULATOR = "/usr/bin/qemu-aarch64-static"
# The head of an ELF program for aarch64 that is linked statically or dynamically; and what counts.
_HEAD = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# With F the emulator is opened now: it need not be in the root that a program is run in. See
# https://docs.kernel.org/admin-guide/binfmt-misc.html.
_SCRIPT = f"""
formats=/proc/sys/fs/binfmt_misc
mount -t binfmt_misc none $formats
printf %s ':podtrace-'$$':M::{_HEAD}:{_MASK}:{_EMULATOR}:F' >$formats/register
trap 'echo -1 >$formats/podtrace-'$$ EXIT
"$@"
"""


def obstacle() -> str | None:
    """Return why programs for arm64 cannot be run, or need no emulator."""
    if platform.machine() == "aarch64":
        return "this machine is one of arm64, for which all other tests speak"
    if not shutil.which(_EMULATOR) or not shutil.which("arch-test"):
        return "needs an emulator: scripts/install-dependencies.sh emulation"
    return None


def emulated(*command: str) -> list[str]:
    """Return the command line that runs a command, as root, which may start programs for arm64."""
    return ["unshare", "--mount", "sh", "-euc", _SCRIPT, "sh", *command]
