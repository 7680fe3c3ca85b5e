"""Command line of the tracer: python3 -m podtracer, started by the plugin or by the image."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys

from podtracer import capabilities, lifetime, pods
from podtracer.address import Address
from podtracer.loader import Loader
from podtracer.plan import Thresholds


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(text)
    return seconds


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count


def _pods(text: str) -> tuple[pods.Pod, ...]:
    try:
        return tuple(pods.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    defaults = Thresholds()
    parser = argparse.ArgumentParser(prog="podtracer", description=__doc__)
    scope = parser.add_mutually_exclusive_group(required=True)
    scope.add_argument("--cgroup", metavar="PATH")
    scope.add_argument("--pid", type=int, metavar="N")
    scope.add_argument("--container", metavar="ID")
    scope.add_argument("--command", action="store_true", help="trace what stands behind --")
    scope.add_argument("--pods", type=_pods, metavar="JSON", help="pods of this node")
    scope.add_argument("--cleanup", action="store_true", help="remove what dead tracers left")
    parser.add_argument("--name", default="", help="what the report calls the target")
    parser.add_argument("--for", type=_seconds, dest="seconds", metavar="SECONDS")
    parser.add_argument("--limit", type=_seconds, metavar="SECONDS", help="the longest life")
    parser.add_argument("--until-unheard", type=_seconds, metavar="SECONDS")
    parser.add_argument("--rtt-spike", type=int, default=defaults.rtt_spike_ns, metavar="NS")
    parser.add_argument("--slow-file", type=int, default=defaults.slow_file_ns, metavar="NS")
    parser.add_argument("--long-block", type=int, default=defaults.long_block_ns, metavar="NS")
    parser.add_argument(
        "--metrics", type=_address, metavar="ADDRESS:PORT", help="serve counts for Prometheus"
    )
    parser.add_argument("--metrics-processes", type=_count, default=100, metavar="N")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when it is no longer parent")
    parser.add_argument("--uid", type=int, help="run COMMAND as this user")
    parser.add_argument("--gid", type=int)
    parser.add_argument("--path", help="what COMMAND is looked for in, if not in $PATH")
    parser.add_argument("--held", type=int, nargs=3, metavar=("PID", "GO", "FAILED"))
    return parser


def main(argv: list[str]) -> int:
    """Run the tracer and return its exit code."""
    words, command = argv, []
    if "--" in argv:
        split = argv.index("--")
        words, command = argv[:split], argv[split + 1 :]
    parser = _parser()
    options = parser.parse_args(words)
    if bool(command) != options.command:
        parser.error("--command needs -- COMMAND, and -- COMMAND needs --command")
    lifetime.set_name("podtracer")
    # Where the caller ignores it, the kernel tells nobody how children ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if os.geteuid() != 0:
        capabilities.keep_private()
    hidden = frozenset(filter(None, os.environ.get("PODTRACE_HIDE", "").split(",")))
    if options.cleanup:
        return _clean_up(hidden)
    if options.limit is not None:
        lifetime.limit_life(options.limit)
    if options.parent is not None:
        lifetime.die_with_parent_of(options.parent)
    with Loader(hidden) as loader:
        if os.geteuid() != 0 and options.pods is None:
            # The child loads and attaches; only cgroups of pods get more programs later.
            capabilities.keep_for_tables()
        return _trace(options, tuple(command), hidden, loader)


def _clean_up(hidden: frozenset[str]) -> int:
    from podtracer import cgroups
    from podtracer.command_cgroup import remove_leftovers

    for folder in remove_leftovers(cgroups.hierarchies(hidden=hidden)):
        sys.stdout.write(f"{folder}\n")
    return 0


def _trace(
    options: argparse.Namespace, command: tuple[str, ...], hidden: frozenset[str], loader: Loader
) -> int:
    # While the loader's child imports the compiler.
    from podtracer.command import Held
    from podtracer.emit import Stream, StreamClosed
    from podtracer.own_pod import own_pod
    from podtracer.request import Request
    from podtracer.tracer import run

    request = Request(
        cgroup=options.cgroup,
        pid=options.pid,
        container=options.container,
        command=command,
        pods=options.pods or (),
        name=options.name,
        seconds=options.seconds,
        unheard_seconds=options.until_unheard,
        thresholds=Thresholds(options.rtt_spike, options.slow_file, options.long_block),
        metrics=options.metrics,
        metrics_processes=options.metrics_processes,
        parent=options.parent,
        uid=options.uid,
        gid=options.gid,
        path=options.path,
        held=Held(*options.held) if options.held else None,
        hidden=hidden,
        own=own_pod(),
    )
    try:
        return run(request, Stream(sys.stdout.fileno()), loader)
    except StreamClosed:
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
