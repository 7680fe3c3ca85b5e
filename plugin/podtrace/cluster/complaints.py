"""What a pod's own status says is wrong with its containers, which no tracer can see."""

from __future__ import annotations

from podtrace.cluster.objects import Fields, listed, mapping, text

_ORDINARY = ("ContainerCreating", "PodInitializing", "Completed")


def complaints_of(pod: Fields) -> tuple[str, ...]:
    """Return a sentence for each container that does not run as it should."""
    status = mapping(pod, "status")
    found = []
    for key in ("initContainerStatuses", "containerStatuses"):
        for each in listed(status, key):
            said = _complaint(each, is_init=key.startswith("init"))
            if said:
                found.append(f"container {text(each, 'name')} {said}")
    return tuple(found)


def _complaint(container: Fields, *, is_init: bool) -> str:
    waiting = mapping(container, "state", "waiting")
    last = mapping(container, "state", "terminated") or mapping(
        container, "lastState", "terminated"
    )
    restarts = container.get("restartCount") or 0
    reason = text(waiting, "reason")
    if reason and reason not in _ORDINARY:
        return f"is in {reason}{_history(restarts, last)}"
    if restarts and not is_init:
        return f"runs{_history(restarts, last)}"
    if mapping(container, "state", "running") and container.get("ready") is False and not is_init:
        return "runs, but is not ready"
    return ""


def _history(restarts: int, last: Fields) -> str:
    parts = []
    if restarts:
        parts.append("1 restart" if restarts == 1 else f"{restarts} restarts")
    if last:
        why = text(last, "reason")
        code = f"exit code {last.get('exitCode')}"
        how = code if why in ("", "Error", "Completed") else f"{why}, {code}"
        when = text(last, "finishedAt")
        parts.append(f"it last ended with {how}" + (f" at {when}" if when else ""))
    return f": {', '.join(parts)}" if parts else ""
