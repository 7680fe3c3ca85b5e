"""Start and end test clusters by hand: `PYTHONPATH=tests python -m e2e.machine up|down|list`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from e2e.machine import binaries, images
from e2e.machine.cluster import Cluster, sweep
from e2e.machine.plan import existing


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="e2e.machine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a cluster and print the path of its kubeconfig")
    up.add_argument("--image", action="append", default=[], type=Path, help="an archive to load")
    down = commands.add_parser(
        "down", help="end clusters: all of them, or the one with this number"
    )
    down.add_argument("number", nargs="?", type=int)
    commands.add_parser("list", help="print the kubeconfigs of the clusters that there are")
    load = commands.add_parser("load", help="load an archive of images on every node")
    load.add_argument("number", type=int)
    load.add_argument("archive", type=Path)
    commands.add_parser("prepare", help="build what the tests need; it is kept in the cache")
    commands.add_parser("sweep", help="end the clusters whose tests ended without doing so")
    options = parser.parse_args()

    begin = time.monotonic()
    if options.command == "prepare":
        _prepare()
        return 0
    if options.command == "sweep":
        sweep()
        return 0
    if options.command == "up":
        cluster = Cluster.up(options.image)
        print(cluster.plan.kubeconfig)
        print(f"up in {time.monotonic() - begin:.1f} s", file=sys.stderr)
        return 0
    for plan in existing():
        if options.command == "list":
            print(plan.kubeconfig)
        elif options.command == "down" and options.number in (None, plan.number):
            Cluster(plan).down()
            print(f"{plan.directory} down in {time.monotonic() - begin:.1f} s", file=sys.stderr)
        elif options.command == "load" and options.number == plan.number:
            Cluster(plan).import_image(options.archive)
    return 0


def _prepare() -> None:
    for what, make in (
        ("Kubernetes", binaries.kubernetes),
        ("Prometheus", binaries.prometheus),
        ("the pause image", images.pause_archive),
        ("the workload image", images.workload_archive),
        ("the tracer image", images.tracer_archive),
    ):
        begin = time.monotonic()
        print(f"{what} ... ", end="", flush=True)
        path = make()
        print(f"{time.monotonic() - begin:.1f} s, {path}")


if __name__ == "__main__":
    sys.exit(main())
