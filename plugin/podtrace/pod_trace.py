"""A trace of pods: from options to their tracers in the cluster, a report and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from podtrace.cluster import cleanup
from podtrace.cluster.api import Api
from podtrace.cluster.image import tracer_image
from podtrace.cluster.local_ports import LocalPort, local_ports
from podtrace.cluster.metrics_forward import MetricsForward
from podtrace.cluster.metrics_rights import check_metrics_rights
from podtrace.cluster.names import PeerNames
from podtrace.cluster.patch import read_patch
from podtrace.cluster.settings import LaunchSettings
from podtrace.cluster.source import ClusterSource, dry_run
from podtrace.cluster.target import Selection, TargetPod, resolve
from podtrace.cluster.tracer import Tracer
from podtrace.commandline import whole_number
from podtrace.errors import EXIT_OK
from podtrace.metricsoptions import MetricsOptions, host_and_port, metrics_line
from podtrace.model.pod_notes import PodNote
from podtrace.model.session import Session
from podtrace.options import PodTraceOptions
from podtrace.output import Output
from podtrace.podoptions import PodSelection
from podtrace.presentation import Tell, conclude, execute, is_terminal, live_view
from podtrace.recording import RecordingWriter
from podtrace.report.escape import printable
from podtrace.run import View
from podtrace.suboptions import PodCleanupOptions
from podtrace.views import ProgressView, QuietView

_NANOSECONDS = 1_000_000_000
_NAMES_WAIT_SECONDS = 2.0


def run_pod_trace(options: PodTraceOptions, tell: Tell) -> int:
    """Trace pods and return the exit code.

    Raises:
        PodtraceError: there is nothing to report, and why.
        OutputClosed: nobody reads standard output.
    """
    api = Api.connect(options.access)
    pods = find_pods(api, options.selection)
    settings = _launch_settings(options, pods)
    report, output = options.report, Output(sys.stdout)
    if options.tracer.dry_run is not None:
        made = dry_run(api, pods, settings, on_server=options.tracer.dry_run == "server")
        return _print_objects(made, report.format, output)
    with _metrics_ports(api, options.metrics, pods, settings) as ports:
        return _trace(api, pods, settings, options, ports, output, tell)


def _trace(
    api: Api,
    pods: Sequence[TargetPod],
    settings: LaunchSettings,
    options: PodTraceOptions,
    ports: Sequence[LocalPort],
    output: Output,
    tell: Tell,
) -> int:
    report, is_live = options.report, options.diagnose_ns is None
    recorder = RecordingWriter(options.record) if options.record is not None else None
    view: View = QuietView()
    if is_live:
        view = live_view(report, output)
    elif is_terminal(sys.stderr):
        view = ProgressView(sys.stderr, options.diagnose_ns)
    session = Session()
    names = PeerNames(api, frozenset(pod.namespace for pod in pods))
    session.name_peers(names.known())
    source = ClusterSource(api, pods, settings, view.say)
    session.streams_expected = len(source.nodes)
    session.name_nodes(source.nodes)
    session.note_pods(
        PodNote(f"{pod.namespace}/{pod.name}", said) for pod in pods for said in pod.complaints
    )
    forward = MetricsForward(api, source.tracers if ports else (), ports)
    if options.metrics is not None:
        _tell_places(options.metrics, source.tracers, ports, view.notice)
    forward.start()
    names.start()
    try:
        outcome = execute(
            source,
            view,
            recorder,
            report,
            output,
            is_live,
            session,
            at_end=lambda: names.known(_NAMES_WAIT_SECONDS),
        )
    finally:
        names.close()
        forward.close()
    return conclude(outcome, report, output, is_live, tell)


def run_pod_cleanup(options: PodCleanupOptions) -> int:
    """Remove what runs left in the cluster, and say what that was.

    Raises:
        ClusterError: the cluster did not let us look, or remove all of it.
    """
    api = Api.connect(options.access)
    namespace = None if options.all_namespaces else api.namespace
    done = cleanup.clean_up(api, namespace, force=options.force)
    where = "any namespace" if namespace is None else f"namespace {namespace}"
    nothing = f"nothing was left behind in {where}"
    text = "".join(f"{printable(line)}\n" for line in done.lines or (nothing,))
    Output(sys.stdout).write_with(lambda stream: stream.write(text))
    done.check()
    return EXIT_OK


def find_pods(api: Api, selection: PodSelection) -> list[TargetPod]:
    """Return the pods that the user means, asking on a terminal where that is open.

    Raises:
        UsageError: several pods could be meant.
        TargetError: there is none, or it cannot be traced.
    """
    wanted = Selection(api.namespace, selection.words, selection.selector, selection.container)
    return resolve(api, wanted, _choose)


@contextmanager
def _metrics_ports(
    api: Api,
    metrics: MetricsOptions | None,
    pods: Sequence[TargetPod],
    settings: LaunchSettings,
) -> Iterator[list[LocalPort]]:
    """Take a port of this machine for each node's tracer; none where no metrics are wanted.

    Raises:
        MetricsError: a port cannot be had.
        ClusterError: the user may not forward the metrics.
    """
    ports: list[LocalPort] = []
    if metrics is not None:
        ports = local_ports(metrics.address, metrics.port, len({pod.node for pod in pods}))
    try:
        if metrics is not None:
            check_metrics_rights(api, pods[0].namespace, settings.namespace)
        yield ports
    finally:
        for port in ports:
            port.close()


def _tell_places(
    metrics: MetricsOptions,
    tracers: Sequence[Tracer],
    ports: Sequence[LocalPort],
    say: Callable[[str], None],
) -> None:
    if metrics.warning is not None:
        say(metrics.warning)
    for tracer, port in zip(tracers, ports, strict=True):
        whose = f" of node {tracer.plan.node}" if len(tracers) > 1 else ""
        say(metrics_line(host_and_port(port.address, port.port), whose))


def _launch_settings(options: PodTraceOptions, pods: Sequence[TargetPod]) -> LaunchSettings:
    tracer, limits = options.tracer, options.report.settings
    window_ns = options.limit_ns if options.diagnose_ns is None else options.diagnose_ns
    return LaunchSettings(
        image=tracer_image(tracer.image, os.environ),
        namespace=tracer.namespace or pods[0].namespace,
        window_seconds=None if window_ns is None else window_ns / _NANOSECONDS,
        profile=tracer.profile,
        pull_policy=tracer.pull_policy or "IfNotPresent",
        pull_secrets=tracer.pull_secrets,
        keep=tracer.keep,
        patch=None if tracer.patch is None else read_patch(tracer.patch),
        rtt_spike_ns=limits.rtt_spike_ns,
        slow_file_ns=limits.slow_file_ns,
        long_block_ns=limits.long_block_ns,
        metrics_processes=None if options.metrics is None else options.metrics.processes,
    )


def _print_objects(objects: Sequence[Mapping[str, Any]], form: str, output: Output) -> int:
    """Print Kubernetes objects as YAML documents, or as JSON."""
    if form == "json":
        import json

        whole = objects[0] if len(objects) == 1 else _as_list(objects)
        text = json.dumps(whole, indent=2) + "\n"
    else:
        import yaml

        class Dumper(yaml.SafeDumper):
            """Writes what stands at two places twice: nobody wants references in a manifest."""

            def ignore_aliases(self, data: Any) -> bool:
                return True

        text = yaml.dump_all(objects, Dumper=Dumper, sort_keys=False)
    output.write_with(lambda stream: stream.write(text))
    return EXIT_OK


def _as_list(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def _choose(candidates: Sequence[str]) -> int | None:
    """Ask which one is meant; None where there is nobody to ask."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return None
    for number, name in enumerate(candidates, 1):
        sys.stderr.write(f"  {number}) {printable(name)}\n")
    while True:
        sys.stderr.write(f"Which one? [1-{len(candidates)}] ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer or answer.strip().lower() in ("q", "quit"):
            return None
        chosen = whole_number(answer, 1, len(candidates))
        if chosen is not None:
            return chosen - 1
