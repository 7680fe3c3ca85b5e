"""Questions about the pods that are to be traced: are they there, and can they be traced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from podtrace.checkup import FAILED, OK, Check, check_of
from podtrace.cluster.interface import ApiLike
from podtrace.cluster.objects import mapping, text
from podtrace.cluster.paths import object_path
from podtrace.cluster.rights_checks import TARGETS
from podtrace.cluster.target import Selection, TargetPod, resolve
from podtrace.errors import ClusterError, PodtraceError

MOST_LISTED = 10


def is_named(selection: Selection) -> bool:
    """Tell whether the user says which pods are meant."""
    return bool(selection.words or selection.selector or selection.container)


def find_targets(api: ApiLike, selection: Selection) -> tuple[list[Check], list[TargetPod]]:
    """Look for each of the pods that the user names; one that is not there hides no other.

    Returns:
        A check for each pod that is there and each name behind which there is none, and the pods.
    """
    checks: list[Check] = []
    targets: dict[str, TargetPod] = {}
    for one in _one_by_one(selection):
        try:
            found = resolve(api, one, _nobody_to_ask)
        except PodtraceError as error:
            checks.append(_trouble(_label(one), error))
            continue
        for target in found:
            targets.setdefault(target.uid, target)
    pods = [replace(target, number=number) for number, target in enumerate(targets.values(), 1)]
    listed = [_check_target(api, target) for target in pods[:MOST_LISTED]]
    if len(pods) > MOST_LISTED:
        listed.append(Check("Other pods", OK, f"{len(pods) - MOST_LISTED} more, all running"))
    return [*listed, *checks], pods


def _trouble(label: str, error: PodtraceError) -> Check:
    if any("kind: Role" in line for line in error.details):
        return Check(label, FAILED, "the cluster does not let you look for it", f"see {TARGETS}")
    return check_of(label, error)


def _one_by_one(selection: Selection) -> Sequence[Selection]:
    if not selection.words:
        return [selection]
    return [replace(selection, words=(word,)) for word in selection.words]


def _label(selection: Selection) -> str:
    if selection.words:
        word = selection.words[0]
        return word if "/" in word else f"Pod {word}"
    return f"Pods {selection.selector}" if selection.selector else "Pod"


def _check_target(api: ApiLike, target: TargetPod) -> Check:
    kinds = [
        part.name if part.kind == "container" else f"{part.name} ({part.kind})"
        for part in target.containers
        if part.id and (not target.only or part.name in target.only)
    ]
    found = f"on {target.node}; {'container' if len(kinds) == 1 else 'containers'} "
    found += ", ".join(kinds) if kinds else "none running now"
    path = object_path("pods", namespace=target.namespace, name=target.name)
    try:
        pod = api.get(path)
    except ClusterError:
        return Check(f"Pod {target.name}", OK, found)
    phase = text(mapping(pod, "status"), "phase")
    runtime = text(mapping(pod, "spec"), "runtimeClassName")
    found = f"{phase} {found}" + (f"; runtime class {runtime}" if runtime else "")
    return Check(f"Pod {target.name}", OK, found)


def _nobody_to_ask(candidates: Sequence[str]) -> int | None:
    return None
