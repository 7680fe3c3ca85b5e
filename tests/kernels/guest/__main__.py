"""Run a command in a guest: `PYTHONPATH=tests python -m kernels.guest run --kernel 6.1 -- CMD`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kernels.guest.boot import GuestError, boot
from kernels.guest.debian import DebianError
from kernels.guest.kernel import SUITES, Kernel, kernel
from kernels.guest.payload import IMAGE_PYTHON, Order
from kernels.guest.root import Root, root

_CHECKOUT = Path(__file__).resolve().parents[3]


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="kernels.guest", description=__doc__)
    commands = parser.add_subparsers(dest="action", required=True)
    commands.add_parser("prepare", help="fetch and build what is not in the cache yet")
    run = commands.add_parser("run", help="boot a guest and run a command in it as root")
    run.add_argument("--kernel", choices=SUITES, default="6.1")
    run.add_argument("--cgroups", choices=("v2", "hybrid", "v1"), default="v2")
    run.add_argument(
        "--source", type=Path, default=_CHECKOUT, metavar="DIR",
        help="the checkout that the guest has in /podtrace (default: this one)",
    )  # fmt: skip
    run.add_argument("--seconds", type=float, default=600, help="when to give up (default: 600)")
    run.add_argument("--hide-btf", action="store_true", help="take the kernel's BTF away")
    run.add_argument("--append", default="", help="more of the kernel's command line")
    run.add_argument(
        "--image-python", action="store_true", help="run the tracer from its image's file system"
    )
    run.add_argument("command", nargs="+", metavar="-- COMMAND")
    options = parser.parse_args()
    try:
        return _prepare() if options.action == "prepare" else _run(options)
    except (DebianError, GuestError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 125


def _run(options: argparse.Namespace) -> int:
    environment = IMAGE_PYTHON if options.image_python else {}
    outcome = boot(
        kernel(options.kernel),
        root(),
        options.source.resolve(),
        Order(options.command, options.cgroups, options.hide_btf, environment),
        seconds=options.seconds,
        parameters=shlex.split(options.append),
        passed=_print,
    )
    print(
        f"exit code {outcome.code} after {outcome.seconds:.1f} s, {outcome.boot_seconds:.1f} s of "
        f"it to boot; console, output and results: {outcome.folder}",
        file=sys.stderr,
    )
    return outcome.code & 0xFF


def _prepare() -> int:
    """Make everything at once: most of it waits for the archive."""
    with ThreadPoolExecutor() as pool:
        made = [pool.submit(_timed, root), *(pool.submit(_timed, kernel, name) for name in SUITES)]
        for future in made:
            found, seconds = future.result()
            print(f"{found.folder}: {seconds:.1f} s", flush=True)
    return 0


def _timed(make: Callable[..., Root | Kernel], *arguments: str) -> tuple[Root | Kernel, float]:
    begin = time.monotonic()
    return make(*arguments), time.monotonic() - begin


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
