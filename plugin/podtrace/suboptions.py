"""The options of the commands beside the trace: replay, cleanup and doctor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from podtrace import podoptions
from podtrace.cluster.access import Access
from podtrace.commandline import FileName, FirstWord, Option
from podtrace.errors import UsageError
from podtrace.options import ReportOptions, report_options, report_params
from podtrace.podoptions import PodSelection, TracerPodOptions, offer_containers, offer_pods


@dataclass(frozen=True)
class PodCleanupOptions:
    """Where to look for what runs left, and whether to remove tracers that still run."""

    access: Access
    all_namespaces: bool
    force: bool


@dataclass(frozen=True)
class DoctorOptions:
    """What a trace would be asked to do, for questions beforehand."""

    access: Access
    selection: PodSelection
    tracer: TracerPodOptions
    format: str
    no_color: bool


@dataclass(frozen=True)
class ReplayOptions:
    """A recording to make the report of, or to show as it went."""

    file: str
    live: bool
    report: ReportOptions


def replay_params() -> list[click.Parameter]:
    """Return the options of `replay`."""
    return [
        click.Argument(["file"], type=FileName(), required=False),
        Option(["--live"], is_flag=True, help="Show it as it went.", section="Replay"),
        *report_params(with_tracer=False),
        *podoptions.ignored_kubectl_params(),
    ]


def replay_options(values: Mapping[str, Any], command: Sequence[str] | None) -> ReplayOptions:
    """Return which recording is to be replayed and how.

    Raises:
        UsageError: no file, or options that contradict each other.
    """
    words = [*([values["file"]] if values["file"] else []), *(command or ())]
    if len(words) != 1:
        raise UsageError(
            f"replay needs one FILE, and got {len(words)}",
            "for example: kubectl-podtrace replay slow.jsonl",
        )
    if values["live"] and values["output"] == "yaml":
        raise UsageError(
            "-o yaml is a report, and the live view has none while it runs",
            "leave out --live, or use -o json for the raw stream",
        )
    return ReplayOptions(words[0], values["live"], report_options(values))


def cleanup_params() -> list[click.Parameter]:
    """Return the options of `cleanup`."""
    return [
        Option(["--local"], is_flag=True, help="Clean up on this machine instead."),
        Option(["-A", "--all-namespaces"], is_flag=True, help="Look in every namespace."),
        Option(["--force"], is_flag=True, help="Remove tracers that still run, too."),
        Option(["-v", "--verbose"], is_flag=True, help="Say more about errors."),
        *podoptions.kubectl_params(),
    ]


def cleanup_options(values: Mapping[str, Any]) -> PodCleanupOptions | None:
    """Return where to clean up: in a cluster, or on this machine (None).

    Raises:
        UsageError: options that contradict each other.
    """
    if values["local"]:
        if values["all_namespaces"] or values["namespace"]:
            raise UsageError("--local is for this machine, which has no namespaces", "leave it out")
        return None
    if values["all_namespaces"] and values["namespace"]:
        raise UsageError("--all-namespaces and --namespace contradict each other", "use one")
    return PodCleanupOptions(podoptions.access(values), values["all_namespaces"], values["force"])


def doctor_params() -> list[click.Parameter]:
    """Return the options of `doctor`."""
    return [
        FirstWord(["pods"], nargs=-1, shell_complete=offer_pods),
        Option(["-l", "--selector"], metavar="LABELS", help="Pods with these labels."),
        Option(
            ["-c", "--container"],
            metavar="NAME",
            help="That container of them alone.",
            shell_complete=offer_containers,
        ),
        Option(
            ["-o", "--output"],
            type=click.Choice(("text", "json")),
            default="text",
            metavar="FORMAT",
            help="text or json.",
        ),
        Option(["--no-color"], is_flag=True, help="No colour."),
        Option(["-v", "--verbose"], is_flag=True, help="Say more about errors."),
        *podoptions.kubectl_params(),
        *podoptions.tracer_pod_params(),
    ]


def doctor_options(values: Mapping[str, Any], command: Sequence[str] | None) -> DoctorOptions:
    """Return what `doctor` is asked.

    Raises:
        UsageError: options that contradict each other.
    """
    return DoctorOptions(
        podoptions.access(values),
        podoptions.pod_selection(values, command),
        podoptions.tracer_pod_options(values),
        values["output"],
        values["no_color"],
    )
