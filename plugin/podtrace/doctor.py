"""`doctor`: asks everything beforehand that could keep a trace of pods from working.

First what the cluster can tell, then, where nothing speaks against it, the only sure answer: a
tracer on each node for a second.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from podtrace.checkup import Checkup, check_of
from podtrace.cluster.api import Api
from podtrace.cluster.checks import Wish, ask_cluster
from podtrace.cluster.image import NAME, tracer_image
from podtrace.cluster.interface import ApiLike
from podtrace.cluster.patch import read_patch
from podtrace.cluster.settings import LaunchSettings
from podtrace.cluster.source import ClusterSource
from podtrace.cluster.target import Selection, TargetPod
from podtrace.errors import EXIT_ERROR, EXIT_OK, ClusterError, Interrupted, LaunchError
from podtrace.interrupts import stop_on_signals
from podtrace.output import Output
from podtrace.rehearsal import SECONDS, Rehearsal, not_rehearsed, rehearse, worst_sections
from podtrace.report.escape import printable
from podtrace.suboptions import DoctorOptions
from podtrace.wire.version import VERSION

_AT_ONCE = 8
"""So many nodes are tried at the same time."""

Tell = Callable[[str], None]


def run_doctor(options: DoctorOptions) -> int:
    """Ask everything, print the answers, and return the exit code: 0 if a trace would work.

    Raises:
        UsageError: --patch cannot be read.
        Interrupted: the user did not want to wait for the answers.
        OutputClosed: nobody reads standard output.
    """
    patch = None if options.tracer.patch is None else read_patch(options.tracer.patch)
    try:
        api = Api.connect(options.access)
    except ClusterError as error:
        return _show(Checkup((check_of("Kubeconfig", error),)), options)
    selection, tracer = options.selection, options.tracer
    image, trouble = _image(tracer.image, os.environ)
    settings = LaunchSettings(
        image=image,
        namespace=tracer.namespace or api.namespace,
        window_seconds=SECONDS,
        profile=tracer.profile,
        pull_policy=tracer.pull_policy or "IfNotPresent",
        pull_secrets=tracer.pull_secrets,
        keep=tracer.keep,
        patch=patch,
    )
    pods = Selection(api.namespace, selection.words, selection.selector, selection.container)
    checkup = examine(
        api, Wish(pods, settings, trouble), starts_tracers=tracer.dry_run is None, tell=_say
    )
    return _show(checkup, options)


def examine(api: ApiLike, wish: Wish, *, starts_tracers: bool, tell: Tell) -> Checkup:
    """Return all answers of a cluster about a trace.

    Args:
        api: the cluster.
        wish: what a trace would be asked to do.
        starts_tracers: whether a tracer may be started on each node for a second.
        tell: shows the user what goes on.

    Raises:
        Interrupted: the user did not want to wait for the answers.
    """
    answers = ask_cluster(api, wish)
    targets = _by_node(answers.targets)
    if not answers.is_hopeless and starts_tracers and targets:
        rehearsals = _rehearse_all(api, targets, wish.settings, tell)
        checks = (*answers.checks, *(each.check for each in rehearsals))
        return Checkup(checks, worst_sections(rehearsals))
    if answers.is_hopeless:
        reason = "no tracer was started, because of what failed above"
    elif not targets:
        reason = "no tracer was started, because no pod is named: kubectl podtrace doctor POD"
    else:
        reason = "no tracer was started, because of --dry-run"
    return Checkup((*answers.checks, *not_rehearsed(targets, reason)))


def _rehearse_all(
    api: ApiLike, targets: Mapping[str, Sequence[TargetPod]], settings: LaunchSettings, tell: Tell
) -> list[Rehearsal]:
    """Start a tracer on each node, all at once, and hear what they say.

    Raises:
        Interrupted: the user did not want to wait; the tracers have been removed.
    """
    sources = {node: ClusterSource(api, pods, settings, tell) for node, pods in targets.items()}
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        for source in sources.values():
            source.stop()

    with stop_on_signals(stop), ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            running = [pool.submit(rehearse, source, node) for node, source in sources.items()]
            rehearsals = [each.result() for each in running]
        finally:
            for source in sources.values():
                source.close()
    if stopped.is_set():
        raise Interrupted("interrupted before all was known; the tracers were removed")
    return rehearsals


def _by_node(targets: Sequence[TargetPod]) -> dict[str, list[TargetPod]]:
    nodes: dict[str, list[TargetPod]] = {}
    for target in targets:
        nodes.setdefault(target.node, []).append(target)
    return nodes


def _image(option: str | None, environment: Mapping[str, str]) -> tuple[str, LaunchError | None]:
    """Return the image; where none was named, a name for it all the same, and why there is none."""
    try:
        return tracer_image(option, environment), None
    except LaunchError as error:
        return f"{NAME}:{VERSION}", error


def _show(checkup: Checkup, options: DoctorOptions) -> int:
    from podtrace.report.doctor_table import write_doctor_json, write_doctor_table
    from podtrace.report.style import style_for

    output = Output(sys.stdout)
    if options.format == "json":
        output.write_with(lambda stream: write_doctor_json(checkup, stream))
    else:
        environment = {**os.environ, **({"NO_COLOR": "1"} if options.no_color else {})}
        style = style_for(output.stream, environment)
        output.write_with(lambda stream: write_doctor_table(checkup, stream, style))
    return EXIT_OK if checkup.works else EXIT_ERROR


def _say(text: str) -> None:
    """Write a line about what goes on to standard error."""
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()
