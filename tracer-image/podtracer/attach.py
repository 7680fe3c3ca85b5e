"""Loading and attaching, each probe on its own: one that the kernel refuses leaves the others.

What became of every probe is kept for the stream's hello, with the kernel's own reason.
"""

from __future__ import annotations

import errno
import os
import platform
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from podtracer import bpf
from podtracer.btf import Btf
from podtracer.errors import TracerError
from podtracer.plan import CAST_MARK, Plan
from podtracer.probes import CGROUP_EGRESS, CGROUP_INGRESS, ITERATOR, TRACEPOINT, Probe

LOCKDOWN = "/sys/kernel/security/lockdown"
_LOADED_AT_ONCE = 4
_PACKETS = {
    CGROUP_EGRESS: bpf.ATTACH_CGROUP_EGRESS,
    CGROUP_INGRESS: bpf.ATTACH_CGROUP_INGRESS,
}
_VERIFIER_LINES = 3
_VERIFIER_CHARACTERS = 400


class _Kind(NamedTuple):
    prog_type: int
    attach_type: int
    btf_id: int


class Attacher:
    """Attaches probes and holds the descriptors: `programs` by probe name, `links`.

    `code` has the compiled bytes of the C functions. With PODTRACE_VERIFIER_LOG set to a folder,
    what the verifier said of a refused program is written there.
    """

    def __init__(self, plan: Plan, btf: Btf, code: Mapping[str, bytes]) -> None:
        self._plan = plan
        self._btf = btf
        self._code = code
        self._functions = {CAST_MARK: btf.func("bpf_rdonly_cast") or 0}
        self._outcomes: dict[str, int | OSError] = {}
        self.programs: dict[str, int] = {}
        self.links: list[int] = []
        self._iterators: dict[str, int] = {}
        self.probes: list[dict[str, Any]] = []

    def load(self, probes: Iterable[Probe]) -> None:
        """Load the programs of probes, several at a time: most of it is the verifier's work."""
        kinds = {probe: self._kind(probe) for probe in probes}
        # The longest first, so that none is left alone with it at the end.
        waiting = deque(
            sorted(
                ((probe, kind) for probe, kind in kinds.items() if not isinstance(kind, str)),
                key=lambda entry: -len(self._code[entry[0].function]),
            )
        )
        helpers = [
            threading.Thread(target=self._load_all, args=(waiting,))
            for _ in range(min(_LOADED_AT_ONCE, len(os.sched_getaffinity(0))) - 1)
        ]
        for helper in helpers:
            helper.start()
        self._load_all(waiting)
        for helper in helpers:
            helper.join()

    def attach(self, probe: Probe, lacking: str | None) -> None:
        """Attach a loaded probe, unless its family is `lacking` something; note what came of it.

        Raises TracerError when not a single program may be loaded.
        """
        state, reason = "unsupported", lacking
        if lacking is None:
            try:
                reason = self._attach(probe)
                state = "unsupported" if reason else "attached"
            except OSError as error:
                if error.errno == errno.EPERM and not self.programs:
                    raise no_permission() from error
                state, reason = "failed", _describe(probe, error)
        self.probes.append(
            {
                "name": probe.name,
                "family": probe.family,
                "hook": probe.described_hook,
                "state": state,
                "reason": reason,
            }
        )

    def check(self) -> None:
        """Raise TracerError when nothing could be attached."""
        if not self.links:
            reasons = sorted({str(probe["reason"]) for probe in self.probes})
            raise TracerError(
                "no_probe",
                f"kernel {platform.release()} accepted no probe: {'; '.join(reasons)[:1000]}",
                "podtrace needs Linux 5.8 or newer with BTF and root or CAP_BPF and CAP_PERFMON.",
            )

    def _kind(self, probe: Probe) -> _Kind | str:
        """What program a probe is; what the kernel lacks for it, as text."""
        if probe.hook == TRACEPOINT:
            point = self._btf.tracepoint(probe.attach_to)
            if point is None or f"tracepoint {probe.attach_to}" in self._plan.hidden:
                return f"this kernel has no tracepoint {probe.attach_to}"
            return _Kind(bpf.PROG_TYPE_TRACING, bpf.ATTACH_TRACE_RAW_TP, point.type_id)
        if probe.hook == ITERATOR:
            btf_id = self._btf.func(f"bpf_iter_{probe.attach_to}")
            if btf_id is None:
                return f"this kernel has no iterator {probe.attach_to}"
            return _Kind(bpf.PROG_TYPE_TRACING, bpf.ATTACH_TRACE_ITER, btf_id)
        if self._plan.subsystem or not (self._plan.packet_cgroups or self._plan.moving):
            return "no version 2 cgroup hierarchy is mounted"
        return _Kind(bpf.PROG_TYPE_CGROUP_SKB, _PACKETS[probe.hook], 0)

    def _load_all(self, waiting: deque[tuple[Probe, _Kind]]) -> None:
        while True:
            try:
                probe, kind = waiting.popleft()
            except IndexError:
                return
            code = self._code[probe.function]
            try:
                fd = bpf.load_program(code, probe.name, *kind, self._functions)
            except OSError as error:
                self._outcomes[probe.name] = error
            else:
                self._outcomes[probe.name] = fd

    def _attach(self, probe: Probe) -> str | None:
        """Attach; return what the kernel lacks for it, None when all is well."""
        kind = self._kind(probe)
        if isinstance(kind, str):
            return kind
        outcome = self._outcomes[probe.name]
        if isinstance(outcome, OSError):
            raise outcome
        self.programs[probe.name] = outcome
        if probe.hook == TRACEPOINT:
            self.links.append(bpf.open_tracepoint(outcome))
        elif probe.hook == ITERATOR:
            self._iterators[probe.name] = outcome
            if not self._plan.moving:
                bpf.run_iterator(outcome)
        else:
            self._attach_to_cgroups(outcome, kind.attach_type)
        return None

    def run_again(self, name: str) -> None:
        """Run an iterator that was attached before once more."""
        if name in self._iterators:
            bpf.run_iterator(self._iterators[name])

    def _attach_to_cgroups(self, fd: int, attach_type: int) -> None:
        for path in self._plan.packet_cgroups:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self.links.append(bpf.create_link(fd, folder, attach_type))
            finally:
                os.close(folder)


def _describe(probe: Probe, error: OSError) -> str:
    log = error.log.strip() if isinstance(error, bpf.BpfError) else ""
    folder = os.environ.get("PODTRACE_VERIFIER_LOG")
    if folder:
        Path(folder, probe.name).write_text(log)
    if not log:
        return str(error)
    end = " / ".join(log.splitlines()[-_VERIFIER_LINES:])[-_VERIFIER_CHARACTERS:]
    return f"{error}: {end}"


def refuse_lockdown(state: str = LOCKDOWN) -> None:
    """Raise TracerError where the kernel lets nobody read its memory.

    It would refuse some programs, whose helpers it then does not know, and load others
    (kernel_lockdown(7)).
    """
    try:
        locked = "[confidentiality]" in Path(state).read_text()
    except OSError:
        return
    if locked:
        raise TracerError(
            "lockdown",
            "the kernel is locked down (confidentiality): it lets nobody read kernel memory",
            "Boot with lockdown=integrity or lockdown=none, or trace on another node.",
        )


def no_permission() -> TracerError:
    """Say that the kernel refuses eBPF to us."""
    return TracerError(
        "no_permission",
        "the kernel refuses to load eBPF programs: permission denied",
        "Run as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_PTRACE.",
    )
