"""Compile, load and attach: in a child, so that LLVM's memory goes when it has done its work.

BCC serves as the compiler and makes the maps (compiler.py). Programs are taken out of it as bytes
and loaded by podtracer.bpf, because BCC does not know BTF tracepoints, BPF links of cgroups or
kernel functions. The child hands over the descriptors of maps, programs and links and exits; the
kernel keeps what they refer to while the tracer lives, and no longer.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from podtracer import bpf
from podtracer.attach import Attacher, no_permission, refuse_lockdown
from podtracer.btf import VMLINUX, Btf
from podtracer.btf_types import BtfError
from podtracer.compiler import CompileError, Compiler
from podtracer.errors import TracerError, defect
from podtracer.kernel_source import KernelSourceError, prepare
from podtracer.lifetime import die_with_parent
from podtracer.needs import Needs
from podtracer.plan import TARGET_ENTRIES, Plan, syscall_table
from podtracer.probes import (
    CAST_TYPES,
    FAMILY_TYPES,
    PROBES,
    lacking_families,
    needs_without,
)
from podtracer.stops import Stops
from podtracer.target import family

MAPS = (
    "series", "overflow", "overflow_aspects", "threads", "sockets", "processes", "labels", "files",
    "dns_pending", "targets", "target_filter", "syscall_kinds", "lost", "moments", "events",
)  # fmt: skip

_MOST_ROUNDS = 20


class Stopped(Exception):
    """The end was asked for before the probes were attached: there is nothing to tell."""


@dataclass
class Loaded:
    """What the child handed over; descriptors are this process's own."""

    maps: dict[str, int]
    programs: dict[str, int]
    links: list[int]
    probes: list[dict[str, Any]]

    def close(self) -> None:
        """Detach everything and give the maps back."""
        for fd in (*self.links, *self.programs.values(), *self.maps.values()):
            os.close(fd)


def load(plan: Plan, stops: Stops, meanwhile: Callable[[], None] = lambda: None) -> Loaded:
    """Load and attach all that this kernel accepts; call `meanwhile` while the child is at it.

    Raises TracerError with what is in the way and the next step, Stopped where `stops` says so.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # What BCC and clang print: in memory, because there may be no folder to write to.
    with open(os.memfd_create("noise"), "w+b") as noise:
        child = os.fork()
        if child == 0:
            ours.close()
            _run_child(plan, theirs, noise.fileno())
        theirs.close()
        try:
            meanwhile()
            _wait_for_answer(ours, child, stops)
            message, fds, _, _ = socket.recv_fds(ours, 1 << 20, 250)
        finally:
            ours.close()
            _, status = os.waitpid(child, 0)
        if not message:
            noise.seek(0)
            text = noise.read()[-2000:].decode(errors="replace").strip()
            raise TracerError(
                "loader_died",
                f"the loader ended without a result (wait status {status}): {text}",
                "Is there memory for the compiler? It needs about 150 MiB for a second.",
            )
    answer = json.loads(message)
    if "error" in answer:
        raise TracerError(**answer["error"])
    names = iter(fds)
    return Loaded(
        maps={name: next(names) for name in answer["maps"]},
        programs={name: next(names) for name in answer["programs"]},
        links=list(names),
        probes=answer["probes"],
    )


def _wait_for_answer(channel: socket.socket, child: int, stops: Stops) -> None:
    """Wait until the child has an answer or is dead; end it where the end is asked for before.

    Compiling takes seconds, in which whoever started us may be killed.
    """
    while not select.select([channel], [], [], 0)[0]:
        if stops.asked:
            os.kill(child, signal.SIGKILL)
            raise Stopped
        if stops.fd in select.select([channel.fileno(), stops.fd], [], [])[0]:
            os.read(stops.fd, 4096)


def _run_child(plan: Plan, channel: socket.socket, noise: int) -> None:
    """Do the work and end the child; whatever goes wrong becomes an answer."""
    code = 1
    try:
        die_with_parent(signal.SIGKILL)
        for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(stop, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.dup2(noise, 1)
        os.dup2(noise, 2)
        try:
            answer, fds = _Child(plan, noise).run()
        except Exception as error:
            answer, fds = {"error": defect(error).as_fields()}, []
        socket.send_fds(channel, [json.dumps(answer).encode()], fds)
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)


class _Child:
    def __init__(self, plan: Plan, noise: int) -> None:
        self._plan = plan
        self._noise = noise
        self._machine = platform.machine()
        self._maps: dict[str, int] = {}
        self._seeded: set[int] = set()

    def run(self) -> tuple[dict[str, Any], list[int]]:
        refuse_lockdown()
        btf = self._read_btf()
        needs = needs_without(self._plan.hidden)
        reasons = lacking_families(btf, needs, self._plan.hidden)
        code = self._compile(btf, needs, reasons)
        self._fill_maps()
        attacher = Attacher(self._plan, btf, code)
        self._seed_processes()
        probes = [probe for probe in PROBES if probe.pids_scope or not self._plan.by_pids]
        attacher.load(probe for probe in probes if probe.family not in reasons)
        for probe in probes:
            attacher.attach(probe, reasons.get(probe.family))
        for _ in range(_MOST_ROUNDS):
            # Forked between the look into /proc and the moment from which forks are followed.
            if not self._seed_processes():
                break
            attacher.run_again("iter_task")
        attacher.check()
        answer = {
            "maps": list(self._maps),
            "programs": list(attacher.programs),
            "probes": attacher.probes,
        }
        return answer, [*self._maps.values(), *attacher.programs.values(), *attacher.links]

    def _read_btf(self) -> Btf:
        if not os.path.exists(VMLINUX):
            raise TracerError(
                "no_btf",
                f"{VMLINUX} is not there: this kernel has no type information (BTF)",
                "Use a kernel built with CONFIG_DEBUG_INFO_BTF=y (distribution kernels from 5.8"
                " have it); in a container, mount /sys/kernel/btf.",
            )
        try:
            return Btf.load()
        except (OSError, BtfError) as error:
            raise TracerError(
                "no_btf", f"the kernel's BTF cannot be used: {error}", "Report this kernel."
            ) from error

    def _compile(self, btf: Btf, needs: Needs, reasons: Mapping[str, str]) -> dict[str, bytes]:
        """Make the maps and return the code of the programs by their functions."""
        try:
            compiler = Compiler()
        except ImportError as error:
            raise TracerError(
                "no_bcc",
                f"BCC is not installed for {sys.executable}: {error}",
                "Install it with: apt-get install python3-bpfcc",
            ) from error
        # Debug information would cost a seventh of the time and only serve the verifier's log.
        # BCC optimizes on its own what clang makes of the source: once is enough.
        flags = ["-g0", "-Xclang", "-disable-llvm-passes"]
        flags += self._plan.flags(self._machine, secrets.randbits(63))
        flags += [f"-DFAMILY_{name.upper()}={int(name not in reasons)}" for name in FAMILY_TYPES]
        cast = self._can_cast(btf)
        flags.append(f"-DHAVE_CAST={int(cast)}")
        if cast:
            flags += [f"-DBTF_ID_{name}={btf.find('struct', name)}" for name in CAST_TYPES]
        try:
            with prepare(_cache_folder(), btf, needs) as source:
                compiled = compiler.compile(source, flags)
        except KernelSourceError as error:
            raise TracerError(
                "no_space",
                f"the generated header cannot be written: {error}",
                "Free some space in the temporary folder, or set TMPDIR to another.",
            ) from error
        except CompileError as error:
            raise self._compile_error(error) from error
        for name in MAPS:
            if name not in compiled.maps:
                raise TracerError("internal", f"map {name} was not made", "Report this.")
            self._maps[name] = compiled.maps[name]
        return compiled.code

    def _compile_error(self, error: Exception) -> TracerError:
        os.lseek(self._noise, 0, os.SEEK_SET)
        text = os.read(self._noise, 1 << 16).decode(errors="replace").strip()
        if "Operation not permitted" in text + str(error):
            return no_permission()
        return TracerError(
            "compile_failed",
            f"the probes do not compile on kernel {platform.release()}: {error}: {text[-3000:]}",
            "Report this with the kernel's version.",
        )

    def _can_cast(self, btf: Btf) -> bool:
        return (
            "func bpf_rdonly_cast" not in self._plan.hidden
            and "struct callback_head" not in self._plan.hidden
            and btf.func("bpf_rdonly_cast") is not None
            and btf.member("struct callback_head", "next") is not None
            and all(btf.find("struct", name) is not None for name in CAST_TYPES)
        )

    def _fill_maps(self) -> None:
        kinds = bpf.Map(self._maps["syscall_kinds"], 4, 1, 512)
        for number, kind in syscall_table(self._machine).items():
            kinds.update(struct.pack("=I", number), bytes([kind]))
        targets = bpf.Map(self._maps["targets"], 8, 4, TARGET_ENTRIES)
        for cgroup, target in self._plan.cgroups.items():
            targets.update(struct.pack("=Q", cgroup), struct.pack("=I", target))

    def _seed_processes(self) -> bool:
        """Name the member processes that were not named before; whether there were any."""
        targets = bpf.Map(self._maps["targets"], 8, 4, TARGET_ENTRIES)
        found = False
        for root, target in self._plan.pids.items():
            for pid in family(root) - self._seeded:
                targets.update(struct.pack("=Q", pid), struct.pack("=I", target))
                self._seeded.add(pid)
                found = True
        return found


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "podtrace" if base else Path("/var/cache/podtrace")
