"""What the loading child does: get ready, and once it knows what to trace, load and attach.

BCC serves as the compiler and makes the maps (compiler.py). Programs are taken out of it as bytes
and loaded by podtracer.bpf, because BCC does not know BTF tracepoints, BPF links of cgroups or
kernel functions.
"""

from __future__ import annotations

import os
import pickle
import platform
import secrets
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from podtracer import bpf, features
from podtracer.attach import Attacher
from podtracer.btf import VMLINUX, Btf
from podtracer.btf_types import BtfError
from podtracer.compiler import Compiled, CompileError, Compiler
from podtracer.errors import TracerError
from podtracer.hooks import Style
from podtracer.kernel_source import KernelSource, KernelSourceError, prepare
from podtracer.needs import Needs
from podtracer.plan import TARGET_ENTRIES, Plan, syscall_table
from podtracer.probes import (
    FAMILY_TYPES,
    PROBES,
    lacking_families,
    needs_without,
    require_subsystem,
)
from podtracer.refusals import no_permission, refuse_lockdown
from podtracer.sealed_source import sealed_source
from podtracer.target import family

MAPS = (
    "series", "overflow", "overflow_aspects", "threads", "sockets", "processes", "labels", "files",
    "dns_pending", "targets", "target_filter", "syscall_kinds", "lost", "moments", "events",
    "after_typed", "after_untyped",
)  # fmt: skip
_MOST_ROUNDS = 20
_MOST_BYTES = 1 << 20

Answer = tuple[dict[str, Any], list[int]]


def serve(hidden: frozenset[str], channel: socket.socket, noise: int) -> Answer | None:
    """Get ready, wait for the plan, carry it out; None if nobody wants it any more.

    Whatever is in the way is raised when the plan has come, not before.
    """
    trouble = None
    try:
        ready = _Ready(hidden)
    except Exception as error:
        trouble = error
    message = channel.recv(_MOST_BYTES)
    if trouble is not None:
        raise trouble
    with ready:
        return _Loading(ready, pickle.loads(message), noise).run() if message else None


class _Ready:
    """The compiler, the kernel's types, and the header made from them."""

    def __init__(self, hidden: frozenset[str]) -> None:
        refuse_lockdown()
        self.btf = _read_btf()
        needs = needs_without(hidden)
        self.reasons = lacking_families(self.btf, needs, hidden)
        try:
            self.compiler = Compiler()
        except ImportError as error:
            raise TracerError(
                "no_bcc",
                f"BCC is not installed for {sys.executable}: {error}",
                "Install it with: apt-get install python3-bpfcc",
            ) from error
        try:
            self.source = _source(self.btf, needs)
        except KernelSourceError as error:
            raise TracerError(
                "no_space",
                f"the generated header cannot be written: {error}",
                "Free some space in the temporary folder, or set TMPDIR to another.",
            ) from error

    def __enter__(self) -> _Ready:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.source.cleanup()


class _Loading:
    def __init__(self, ready: _Ready, plan: Plan, noise: int) -> None:
        self._ready = ready
        self._plan = plan
        self._noise = noise
        self._machine = platform.machine()
        self._label_seed = secrets.randbits(63)
        self._first: Compiled | None = None
        self._maps: dict[str, int] = {}
        self._seeded: set[int] = set()

    def run(self) -> Answer:
        reasons = self._ready.reasons
        require_subsystem(self._ready.btf, self._plan.subsystem)
        attacher = Attacher(self._plan, self._ready.btf, self._compile, self._maps)
        probes = [probe for probe in PROBES if probe.pids_scope or not self._plan.by_pids]
        attacher.load(probe for probe in probes if probe.family not in reasons)
        self._fill_maps()
        self._seed_processes()
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

    def _compile(self, style: Style, functions: frozenset[str]) -> Mapping[str, bytes]:
        """Return the code of C functions; the maps are those of the first call."""
        try:
            compiled = self._ready.compiler.compile(
                self._ready.source, self._flags(style), functions
            )
        except CompileError as error:
            raise self._compile_error(error) from error
        if self._first is not None:
            return compiled.with_maps(self._first.maps).code
        for name in MAPS:
            if name not in compiled.maps:
                raise TracerError("internal", f"map {name} was not made", "Report this.")
            self._maps[name] = compiled.maps[name]
        self._first = compiled
        return compiled.code

    def _flags(self, style: Style) -> list[str]:
        reasons = self._ready.reasons
        # Debug information would cost a seventh of the time and only serve the verifier's log.
        # BCC optimizes on its own what clang makes of the source: once is enough.
        # Nothing here gains from what pointers to different types may not share, and to find out
        # costs a tenth.
        flags = ["-g0", "-Xclang", "-disable-llvm-passes", "-fno-strict-aliasing"]
        flags += self._plan.flags(self._machine, self._label_seed)
        flags += [f"-DFAMILY_{name.upper()}={int(name not in reasons)}" for name in FAMILY_TYPES]
        flags += features.flags(self._ready.btf, self._plan.hidden, style)
        return [*flags, *style.flags()]

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


def _read_btf() -> Btf:
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


def _source(btf: Btf, needs: Needs) -> KernelSource:
    if os.geteuid() == 0:
        return prepare(_cache_folder(), btf, needs)
    return sealed_source(btf, needs)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "podtrace" if base else Path("/var/cache/podtrace")
