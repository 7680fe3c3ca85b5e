"""Why a tracer pod did not start, or ended before its time, in words."""

from __future__ import annotations

from collections.abc import Sequence

from podtrace.cluster.explain import last_lines
from podtrace.cluster.image import LOADING
from podtrace.cluster.manifest import BTF_PATH
from podtrace.cluster.pod_status import Ending, Obstacle
from podtrace.cluster.settings import LaunchSettings
from podtrace.errors import LaunchError, PodtraceError, StreamError

_WRONG_ARCHITECTURE = ("no match for platform", "exec format error", "does not match the specified")
NEVER_STARTED = ("StartError", "ContainerCannotRun", "ContainerStatusUnknown")
"""Reasons of a container that ended without its program having run."""
_IMAGE_REASONS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)


def start_error(obstacle: Obstacle, where: str, node: str, settings: LaunchSettings) -> LaunchError:
    """Return why a pod does not start.

    Args:
        obstacle: what its status says.
        where: `NAMESPACE/NAME` of the pod.
        node: the node that it is meant for.
        settings: what it was made from.
    """
    reason, text = obstacle.reason, obstacle.message
    said = (f"{reason}: {text}",) if text else ()
    image = settings.image
    if any(words in text for words in _WRONG_ARCHITECTURE):
        return LaunchError(
            f"the image {image} is not for the processor of node {node}",
            "build or name an image for that architecture: --tracer-image; to see it: "
            f"kubectl get node {node} -L kubernetes.io/arch",
            said,
        )
    if reason == "ErrImageNeverPull":
        return LaunchError(
            f"node {node} has no image {image}, and may not pull it",
            "load the image on the node, or let it be pulled: --image-pull-policy IfNotPresent",
            (
                *said,
                f"to a file:                make image OUTPUT=FILE.tar, or docker save {image} "
                "-o FILE.tar",
                *LOADING,
                "what a node has:          ctr -n k8s.io images list -q",
            ),
        )
    if reason == "InvalidImageName":
        return LaunchError(
            f"{image} is no name that an image can have", "name the image: --tracer-image", said
        )
    if reason in _IMAGE_REASONS:
        return LaunchError(
            f"node {node} cannot pull the image {image}: {reason}",
            "check the name (--tracer-image), load the image on the node, or name the secret of "
            "the registry: --image-pull-secret",
            said,
        )
    if reason in ("Unschedulable", "SchedulingGated"):
        return LaunchError(
            f"the tracer pod {where} is not scheduled: {text or reason}",
            "check what --patch asks of the node",
        )
    if BTF_PATH in text and reason != "FailedCreate":
        return LaunchError(
            f"node {node} has no {BTF_PATH}: its kernel comes without type information (BTF), "
            "and cannot be traced",
            "use a node whose kernel is built with CONFIG_DEBUG_INFO_BTF=y",
            said,
        )
    if "unable to apply caps" in text:
        return LaunchError(
            f"node {node} may not give a container the capabilities that the tracer asks for",
            "use --profile privileged, or take some away with --patch",
            said,
        )
    if reason.startswith("OutOf"):
        return LaunchError(
            f"node {node} has no room for the tracer pod: {text or reason}",
            "ask for less with --patch, or make room on the node",
        )
    if reason in ("FailedMount", "FailedCreatePodSandBox"):
        return LaunchError(
            f"node {node} cannot prepare the tracer pod {where}: {reason}",
            f"repair the node, or change the pod with --patch; kubectl describe node {node}",
            said,
        )
    return LaunchError(
        f"node {node} does not start the tracer pod {where}: {reason}",
        f"see what the node says: kubectl get events -n {settings.namespace} and "
        f"kubectl describe node {node}; to keep the pod for a look at it: --keep",
        said,
    )


def early_end_error(
    ending: Ending, lines: Sequence[str], where: str, node: str, settings: LaunchSettings
) -> LaunchError:
    """Return why a tracer ended before its first line.

    Args:
        ending: how it ended.
        lines: what it printed last.
        where: `NAMESPACE/NAME` of the pod.
        node: its node.
        settings: what it was made from.
    """
    text = " ".join((ending.message, *lines))
    never_ran = ending.exit_code is None or ending.reason in NEVER_STARTED
    if never_ran or any(words in text for words in _WRONG_ARCHITECTURE):
        return start_error(Obstacle(ending.reason, text), where, node, settings)
    return LaunchError(
        f"the tracer in pod {where} on node {node} ended before its first line: {_how(ending)}",
        "run the same command again with --keep, and look at the pod that is left",
        (*((ending.message,) if ending.message else ()), *last_lines(lines)),
    )


def end_error(ending: Ending | None, lines: Sequence[str], where: str, node: str) -> PodtraceError:
    """Return why a tracer ended in the middle of a trace; `ending` None: its pod is gone."""
    if ending is None:
        return StreamError(
            f"the tracer pod {where} on node {node} was deleted before the trace was complete",
            "somebody or something removed it; what arrived until then is all there is",
            last_lines(lines),
        )
    hint = "run the same command again; what arrived until then is all there is"
    if ending.reason == "OOMKilled":
        hint = "give it more memory with --patch; what arrived until then is all there is"
    return StreamError(
        f"the tracer in pod {where} on node {node} ended before the trace was complete: "
        f"{_how(ending)}",
        hint,
        (*((ending.message,) if ending.message else ()), *last_lines(lines)),
    )


def _how(ending: Ending) -> str:
    if ending.reason == "OOMKilled":
        return "it was killed, because it used more memory than its limit"
    code = ending.exit_code
    if ending.reason in ("Error", "Completed", "") and code is not None:
        return f"exit code {code}" + (f" (signal {code - 128})" if 128 < code < 160 else "")
    return ending.reason + ("" if code is None else f", exit code {code}")
