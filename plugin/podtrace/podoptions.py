"""The options for pods: kubectl's own, how the tracer pod is made, and what they mean together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from podtrace.cluster.access import Access
from podtrace.commandline import FileName, Option
from podtrace.durations import parse_duration
from podtrace.errors import UsageError

Profile = Literal["privileged", "capabilities"]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
PULL_POLICIES: tuple[PullPolicy, ...] = ("Always", "IfNotPresent", "Never")
PROFILES: tuple[Profile, ...] = ("privileged", "capabilities")
DRY_RUNS = ("client", "server")
TARGET_EXAMPLE = "for example: kubectl podtrace -n shop web-0 --diagnose 20s"
LONGEST_NS = 24 * 3600 * 1_000_000_000

_NANOSECONDS = 1_000_000_000
_CLUSTER = "Cluster"
_TRACER = "Tracer pod"


@dataclass(frozen=True)
class PodSelection:
    """Which pods: words as the user wrote them (POD or TYPE/NAME), or a selector, or neither."""

    words: tuple[str, ...] = ()
    selector: str | None = None
    container: str | None = None


@dataclass(frozen=True)
class TracerPodOptions:
    """How the tracer pod is made; None leaves it to the default."""

    image: str | None = None
    namespace: str | None = None
    pull_policy: PullPolicy | None = None
    pull_secrets: tuple[str, ...] = ()
    profile: Profile = "privileged"
    keep: bool = False
    patch: str | None = None
    dry_run: str | None = None


def kubectl_params() -> list[click.Parameter]:
    """Return the options that say which cluster, as whom, and in which namespace."""
    shown = [
        Option(
            ["-n", "--namespace"],
            metavar="NAME",
            help="Namespace of the pods.",
            shell_complete=offer_namespaces,
        ),
        Option(
            ["--context"],
            metavar="NAME",
            help="Context of the kubeconfig.",
            shell_complete=offer_entries,
        ),
        Option(["--kubeconfig"], type=FileName(), metavar="FILE", help="Path of the kubeconfig."),
    ]
    hidden = [
        Option(["--cluster"], shell_complete=offer_entries),
        Option(["--user"], shell_complete=offer_entries),
        Option(["-s", "--server"]),
        Option(["--token"]),
        Option(["--as", "as_user"]),
        Option(["--as-uid"]),
        Option(["--as-group", "as_groups"], multiple=True),
        Option(["--certificate-authority"], type=FileName()),
        Option(["--client-certificate"], type=FileName()),
        Option(["--client-key"], type=FileName()),
        Option(["--insecure-skip-tls-verify"], is_flag=True),
        Option(["--tls-server-name"]),
        Option(["--request-timeout"]),
    ]
    for option in shown:
        option.section = _CLUSTER
    for option in hidden:
        option.hidden = True
    return [*shown, *hidden]


def ignored_kubectl_params() -> list[click.Parameter]:
    """Return the same options for a command without a cluster: taken and left aside, as kubectl's.

    They stand in aliases and habits, before the command or behind it.
    """
    return [
        Option(
            param.opts,
            type=param.type,
            is_flag=isinstance(param, click.Option) and param.is_flag,
            multiple=param.multiple,
            hidden=True,
            expose_value=False,
        )
        for param in kubectl_params()
    ]


def tracer_pod_params() -> list[click.Parameter]:
    """Return the options that say how the tracer pod is made."""
    options = [
        Option(["--tracer-image"], metavar="IMAGE", help="Image of the tracer pod."),
        Option(
            ["--tracer-namespace"],
            metavar="NAME",
            help="Namespace of the tracer pod, if not the traced pod's.",
            shell_complete=offer_namespaces,
        ),
        Option(
            ["--image-pull-policy"],
            type=click.Choice(PULL_POLICIES),
            metavar="POLICY",
            help="Always, IfNotPresent or Never.",
        ),
        Option(
            ["--image-pull-secret", "image_pull_secrets"],
            multiple=True,
            metavar="NAME",
            help="Secret for the image's registry; may be repeated.",
        ),
        Option(
            ["--profile"],
            type=click.Choice(PROFILES),
            default="privileged",
            metavar="PROFILE",
            help="privileged, or capabilities: only those that tracing needs.",
        ),
        Option(
            ["--patch"],
            metavar="PATCH",
            help="Change the tracer pod by a JSON patch or merge patch, or by @FILE.",
        ),
        Option(["--keep"], is_flag=True, help="Leave the finished tracer pod there."),
        Option(
            ["--dry-run"],
            type=click.Choice(DRY_RUNS),
            metavar="MODE",
            help="Print what would be created (client), or what the server makes of it (server).",
        ),
    ]
    for option in options:
        option.section = _TRACER
    return [*options]


def access(values: Mapping[str, Any]) -> Access:
    """Return how the cluster is to be reached.

    Raises:
        UsageError: the request time-out is no duration.
    """
    return Access(
        kubeconfig=values["kubeconfig"],
        context=values["context"],
        cluster=values["cluster"],
        user=values["user"],
        server=values["server"],
        token=values["token"],
        namespace=values["namespace"],
        as_user=values["as_user"],
        as_uid=values["as_uid"],
        as_groups=tuple(values["as_groups"]),
        certificate_authority=values["certificate_authority"],
        client_certificate=values["client_certificate"],
        client_key=values["client_key"],
        insecure_skip_tls_verify=values["insecure_skip_tls_verify"],
        tls_server_name=values["tls_server_name"],
        request_timeout_seconds=_request_timeout(values["request_timeout"]),
    )


def pod_selection(values: Mapping[str, Any], command: Sequence[str] | None) -> PodSelection:
    """Return which pods are meant; that none is named is for the cluster to answer.

    Raises:
        UsageError: names and a selector, or words that only make sense with --local.
    """
    local = [f"--{name}" for name in ("cgroup", "pid") if values.get(name) is not None]
    if command is not None:
        local.append("-- COMMAND")
    if local:
        raise UsageError(
            f"{local[0]} is for tracing this machine and needs --local",
            "for example: kubectl-podtrace --local --diagnose 20s -- COMMAND",
        )
    words = tuple(values["pods"])
    for word in words:
        kind, slash, name = word.rpartition("/")
        if not name or (slash and not kind):
            raise UsageError(f"{word or 'an empty word'!s} is neither POD nor TYPE/NAME",
                             TARGET_EXAMPLE)  # fmt: skip
    for name in ("namespace", "selector", "container"):
        if values[name] is not None and not values[name].strip():
            raise UsageError(f"--{name} is empty", TARGET_EXAMPLE)
    if words and values["selector"]:
        raise UsageError(
            f"{words[0]} and --selector both say which pods to trace", "use one of them"
        )
    return PodSelection(words, values["selector"], values["container"])


def offer_namespaces(context: click.Context, param: click.Parameter, prefix: str) -> list[str]:
    """Return the namespaces that begin with a prefix, for a shell's completion."""
    from podtrace.cluster import complete

    return _beginning(prefix, complete.offered(access(context.params), complete.namespaces))


def offer_entries(context: click.Context, param: click.Parameter, prefix: str) -> list[str]:
    """Return the clusters, contexts or users of the kubeconfig, for a shell's completion."""
    from podtrace.cluster import complete

    return _beginning(prefix, complete.entries(access(context.params), f"{param.name}s"))


def offer_pods(context: click.Context, param: click.Parameter, prefix: str) -> list[str]:
    """Return what may stand as POD or TYPE/NAME, for a shell's completion."""
    from podtrace.cluster import complete

    values = context.params
    if values.get("local"):
        return []
    found = complete.offered(access(values), lambda api: complete.targets(api, prefix))
    return [name for name in found if name not in (values.get("pods") or ())]


def offer_containers(context: click.Context, param: click.Parameter, prefix: str) -> list[str]:
    """Return the containers of the chosen pods, for a shell's completion."""
    from podtrace.cluster import complete

    values = context.params
    if values.get("local"):
        return []
    # While -c itself has no value yet, click does not get as far as to give the words a name.
    words, selector = values.get("pods") or context.args, values.get("selector")
    found = complete.offered(access(values), lambda api: complete.containers(api, words, selector))
    return _beginning(prefix, found)


def tracer_pod_options(values: Mapping[str, Any]) -> TracerPodOptions:
    """Return how the tracer pod is to be made."""
    return TracerPodOptions(
        image=values["tracer_image"],
        namespace=values["tracer_namespace"],
        pull_policy=values["image_pull_policy"],
        pull_secrets=tuple(values["image_pull_secrets"]),
        profile=values["profile"],
        keep=values["keep"],
        patch=values["patch"],
        dry_run=values["dry_run"],
    )


def named_for_pods(values: Mapping[str, Any]) -> str | None:
    """Return the first option or word of the line that makes sense for pods only."""
    if values["pods"]:
        return str(values["pods"][0])
    for param in (*kubectl_params(), *tracer_pod_params(), Option(["-l", "--selector"])):
        value = values.get(param.name or "")
        if value not in (None, False, ()) and value != param.default:
            return max(param.opts, key=len)
    return None


def _beginning(prefix: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def _request_timeout(text: str | None) -> float | None:
    """Return seconds; kubectl takes whole seconds without a unit too, and 0 for no limit."""
    if text is None or not text.strip():
        return None
    if text.strip() in ("0s", "0m", "0h"):
        return 0.0
    if text.strip().isascii() and text.strip().isdigit():
        return float(text)
    return parse_duration(text, "--request-timeout") / _NANOSECONDS
