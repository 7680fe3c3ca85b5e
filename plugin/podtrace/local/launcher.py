"""The launcher that lets the members of a group trace without being root, where it is set up.

scripts/setup-capabilities.sh installs it beside a copy of the tracer. It starts that copy only, so
the copy has to be of the same version as this program.
"""

from __future__ import annotations

import grp
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from podtrace.errors import StartError
from podtrace.wire.version import VERSION

LAUNCHER = "/usr/local/libexec/podtrace/podtrace-tracer"
LAUNCHER_VARIABLE = "PODTRACE_LAUNCHER"
_SCRIPT = "setup-capabilities.sh"


def find_launcher(environment: Mapping[str, str], user: str, setup: str) -> str | None:
    """Return the launcher if this user may execute it, None where there is none.

    Args:
        environment: may name another than the usual one.
        user: who wants to trace, for messages.
        setup: the command line that installs it, for messages.

    Raises:
        StartError: it is not for this user, or of another version than this program.
    """
    path = environment.get(LAUNCHER_VARIABLE) or LAUNCHER
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not os.access(path, os.X_OK):
        raise _not_in_group(user, status.st_gid)
    found = _version(Path(path).parent / "tracer")
    if found != VERSION:
        which = f"is of podtrace {found}, and this is {VERSION}" if found else "is incomplete"
        raise StartError(f"the tracer beside {path} {which}", f"set it up again: {setup}")
    return path


def setup_line(folder: Path) -> str:
    """Return the command line that sets the launcher up; `folder` is the tracer's."""
    installed = folder / _SCRIPT
    checkout = folder.parent / "scripts" / _SCRIPT
    return shlex.join(["sudo", "bash", str(installed if installed.exists() else checkout)])


def _not_in_group(user: str, gid: int) -> StartError:
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        name, members = str(gid), []
    else:
        name, members = group.gr_name, group.gr_mem
    if user in members:
        return StartError(
            f"user {user} may trace from the next login on, as a member of the group {name}",
            f"log in again, or begin a shell in the group: newgrp {name}",
        )
    line = shlex.join(["sudo", "usermod", "-aG", name, user])
    return StartError(
        f"user {user} may not trace: that takes root, or the group {name}",
        f"run podtrace with sudo, or have somebody run: {line}, and log in again",
    )


def _version(tracer: Path) -> str | None:
    try:
        text = (tracer / "podtrace" / "wire" / "version.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    match = re.search(r'^VERSION = "([^"]+)"$', text, re.MULTILINE)
    return match[1] if match else None
