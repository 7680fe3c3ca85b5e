"""Tracing a pod in a cluster: not in this version."""

from __future__ import annotations

from podtrace.errors import PodtraceError

KUBECTL_OPTIONS = (
    ("-n", "--namespace"),
    ("-l", "--selector"),
    ("--context",),
    ("--kubeconfig",),
    ("--cluster",),
    ("--user",),
    ("-s", "--server"),
    ("--token",),
    ("--as",),
    ("--as-group",),
    ("--request-timeout",),
)
"""Options that kubectl users will write; understood so that the answer is about the pod."""


def refuse(what: str) -> PodtraceError:
    """Return the error for a command line that is about a pod."""
    return PodtraceError(
        f"{what}: tracing pods in a cluster is not in this version of podtrace",
        "trace on the node itself, as root, for example: "
        "kubectl-podtrace --local --container ID --diagnose 20s",
    )
