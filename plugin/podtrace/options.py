"""The options of a trace and of every report, and what they mean together.

click reads single words; that exactly one target is named, or that two options contradict each
other, is said here, with an example of how to write it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from podtrace import config, podoptions
from podtrace.cluster.access import Access
from podtrace.commandline import Duration, FileName, FirstWord, Option, whole_number
from podtrace.errors import UsageError
from podtrace.local.scope import Scope
from podtrace.metricsoptions import MetricsOptions, metrics_options, metrics_params
from podtrace.podoptions import PodSelection, TracerPodOptions, offer_containers, offer_pods

FORMATS = ("text", "json", "yaml")
SEVERITIES = ("info", "warning", "critical")
LARGEST_PID = 4_194_304

_EXAMPLE = "for example: kubectl-podtrace --local --diagnose 20s -- COMMAND"
_TARGETS = "--cgroup PATH, --pid N, --container ID or -- COMMAND"


@dataclass(frozen=True)
class ReportOptions:
    """How a result is shown and judged; every command that makes a report has these."""

    format: str
    fail_on: str | None
    settings: config.Settings
    verbose: bool
    no_color: bool


@dataclass(frozen=True)
class TraceOptions:
    """A trace of this machine. Durations in nanoseconds; `diagnose_ns` None means the live view."""

    scope: Scope
    diagnose_ns: int | None
    limit_ns: int | None
    record: str | None
    metrics: MetricsOptions | None
    report: ReportOptions


@dataclass(frozen=True)
class PodTraceOptions:
    """A trace of pods in a cluster. Durations as in `TraceOptions`."""

    access: Access
    selection: PodSelection
    tracer: TracerPodOptions
    diagnose_ns: int | None
    limit_ns: int | None
    record: str | None
    metrics: MetricsOptions | None
    report: ReportOptions


def trace_params() -> list[click.Parameter]:
    """Return the options of the default command."""
    return [
        FirstWord(["pods"], nargs=-1, shell_complete=offer_pods),
        Option(["-l", "--selector"], section=None, help="All running pods with these labels."),
        Option(
            ["-c", "--container"],
            section=None,
            help="That container alone.",
            shell_complete=offer_containers,
        ),
        Option(["--local"], is_flag=True, section=None, help="Trace this machine, as root."),
        Option(
            ["--cgroup"],
            type=FileName("dir"),
            section=None,
            help="With --local: that cgroup and those below it.",
        ),
        Option(["--pid"], section=None, help="With --local: that process and its descendants."),
        Option(
            ["--diagnose"],
            type=Duration(),
            metavar="DURATION",
            help="Trace for so long, then print the report.",
            section="Trace",
        ),
        Option(
            ["--for", "limit"],
            type=Duration(),
            metavar="DURATION",
            help="End the live view after so long.",
            section="Trace",
        ),
        Option(
            ["--record"],
            type=FileName(),
            metavar="FILE",
            help="Keep the stream in FILE, a new one, for replay; compressed if it ends in .gz.",
            section="Trace",
        ),
        *metrics_params(),
        *podoptions.kubectl_params(),
        *podoptions.tracer_pod_params(),
        *report_params(with_tracer=True),
    ]


def report_params(with_tracer: bool) -> list[click.Parameter]:
    """Return the options that say how a result is shown and judged."""
    return [
        Option(
            ["-o", "--output"],
            type=click.Choice(FORMATS),
            default="text",
            metavar="FORMAT",
            help="Report as text, json or yaml; the live view as text or json (the raw stream).",
            section="Options",
        ),
        Option(
            ["--fail-on"],
            type=click.Choice(SEVERITIES),
            metavar="SEVERITY",
            help="Exit with 4 on a finding of info, warning or critical, or above.",
            section="Options",
        ),
        Option(["--no-color"], is_flag=True, help="No colour.", section="Options"),
        Option(["-v", "--verbose"], is_flag=True, help="Say more about errors.", section="Options"),
        *config.threshold_params(with_tracer),
    ]


def report_options(values: Mapping[str, Any]) -> ReportOptions:
    """Return the options of the report.

    Raises:
        ConfigError: the configuration file is not as it must be.
    """
    return ReportOptions(
        format=values["output"],
        fail_on=values["fail_on"],
        settings=config.settings(values),
        verbose=values["verbose"],
        no_color=values["no_color"],
    )


def trace_options(
    values: Mapping[str, Any], command: Sequence[str] | None
) -> TraceOptions | PodTraceOptions:
    """Return what is to be traced and how.

    Args:
        values: the options as click read them.
        command: the words behind `--`, or None where there was none.

    Raises:
        UsageError: no target or several, or options that contradict each other.
    """
    scope = _scope(values, command) if values["local"] else None
    selection = None if scope is not None else podoptions.pod_selection(values, command)
    diagnose_ns, limit_ns = values["diagnose"], values["limit"]
    if diagnose_ns is not None and limit_ns is not None:
        raise UsageError(
            "--diagnose and --for both say how long to trace",
            "use --diagnose for the report alone, or --for to end the live view",
        )
    dry_run = values["dry_run"] is not None
    if diagnose_ns is None and values["output"] == "yaml" and not dry_run:
        raise UsageError(
            "-o yaml is a report, and the live view has none while it runs",
            "add --diagnose 20s, or use -o json for the raw stream",
        )
    record, metrics, report = values["record"], metrics_options(values), report_options(values)
    if scope is not None:
        return TraceOptions(scope, diagnose_ns, limit_ns, record, metrics, report)
    assert selection is not None
    tracer = podoptions.tracer_pod_options(values)
    return PodTraceOptions(
        podoptions.access(values), selection, tracer, diagnose_ns, limit_ns, record, metrics, report
    )


def _scope(values: Mapping[str, Any], command: Sequence[str] | None) -> Scope:
    named = [f"--{name}" for name in ("cgroup", "pid", "container") if values[name] is not None]
    if command is not None:
        named.append("-- COMMAND")
    for_pods = podoptions.named_for_pods(values)
    if for_pods is not None:
        raise UsageError(
            f"{for_pods} is for pods in a cluster, and --local is for this machine",
            f"with --local, name one of {_TARGETS}",
        )
    if not named:
        raise UsageError(f"--local does not say what to trace: name one of {_TARGETS}", _EXAMPLE)
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} name more than one target", _EXAMPLE)
    if command is not None:
        if not command or not command[0]:
            raise UsageError("there is no COMMAND after --", _EXAMPLE)
        return Scope(command=tuple(command))
    if values["pid"] is not None:
        return Scope(pid=_pid(values["pid"]))
    for name in ("cgroup", "container"):
        if values[name] is not None and not values[name].strip():
            raise UsageError(f"--{name} is empty", _EXAMPLE)
    return Scope(cgroup=values["cgroup"], container=values["container"])


def _pid(text: str) -> int:
    pid = whole_number(text, 1, LARGEST_PID)
    if pid is not None:
        return pid
    raise UsageError(
        f"--pid {text[:40]}: this is no process id",
        "a process id is a number such as `pgrep -n NAME` prints",
    )
