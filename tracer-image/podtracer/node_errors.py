"""Errors in words for somebody who has kubectl and cannot log in to the node.

What goes wrong on a machine of one's own and on a node is the same, but the next step is not.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping

from podtracer.capabilities import lacking
from podtracer.errors import TracerError

OLDEST = (5, 8)
_ELSEWHERE = "Trace a pod on another node."
_PRIVILEGED = "Use --profile privileged."

_HINTS: Mapping[str, str] = {
    "no_btf": "The node's kernel must be built with CONFIG_DEBUG_INFO_BTF=y, as those of"
    " distributions are from 5.8 on. " + _ELSEWHERE,
    "lockdown": "Only a node that is booted with lockdown=integrity or lockdown=none can be"
    " traced. " + _ELSEWHERE,
    "no_node_root": "The tracer pod needs hostPID and the capability SYS_PTRACE, and AppArmor must"
    " not confine it. " + _PRIVILEGED,
    "loader_died": "The compiler needs about 150 MiB for a second: give the tracer's container a"
    " higher memory limit with --patch.",
    "no_space": "The tracer's container needs some MiB in its temporary folder; is its root file"
    " system read-only, or the node's disk full?",
    "no_prometheus_client": "The image has no metrics: see --tracer-image.",
    "no_bcc": "The image is not one of podtrace's tracer: see --tracer-image.",
}
_TOO_OLD = ("no_probe", "compile_failed", "unknown_kernel", "no_btf")


def on_node(error: TracerError, node: str, release: str | None = None) -> TracerError:
    """Return the error with the node's name in it and a hint that can be followed."""
    release = platform.release() if release is None else release
    place = f"node {node}" if node else "the node"
    message = error.message.replace("this machine", place)
    if error.code in _TOO_OLD and _version(release) < OLDEST:
        return TracerError(
            "old_kernel",
            f"{place} runs Linux {release}, and podtrace needs 5.8 or newer: {message}",
            _ELSEWHERE,
        )
    if place not in message:
        message = f"{place} (Linux {release}): {message}"
    return TracerError(error.code, message, _hint(error))


def _hint(error: TracerError) -> str:
    if error.code == "no_permission":
        missing = lacking()
        if missing:
            return f"The tracer lacks the capabilities {', '.join(missing)}. {_PRIVILEGED}"
        return (
            "It has the capabilities, so something else on the node forbids it: seccomp, SELinux or"
            " another security module. Ask whoever runs the node."
        )
    return _HINTS.get(error.code, error.hint)


def _version(release: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else OLDEST
