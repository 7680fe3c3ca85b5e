"""Loading and attaching, each probe on its own: one that the kernel refuses leaves the others.

What became of every probe is kept for the stream's hello, with the kernel's own reason.
"""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from podtracer import bpf
from podtracer.btf import Btf
from podtracer.errors import TracerError
from podtracer.plan import CAST_MARK, Plan
from podtracer.probes import CGROUP_EGRESS, CGROUP_INGRESS, ITERATOR, TRACEPOINT, Probe

LOCKDOWN = "/sys/kernel/security/lockdown"
_VERIFIER_LINES = 3
_VERIFIER_CHARACTERS = 400


class Attacher:
    """Attaches probes and holds the descriptors: `programs` by probe name, `links`.

    `code_of` gives the compiled bytes of a C function. With PODTRACE_VERIFIER_LOG set to a folder,
    what the verifier said of a refused program is written there.
    """

    def __init__(self, plan: Plan, btf: Btf, code_of: Callable[[bytes], bytes]) -> None:
        self._plan = plan
        self._btf = btf
        self._code_of = code_of
        self._functions = {CAST_MARK: btf.func("bpf_rdonly_cast") or 0}
        self.programs: dict[str, int] = {}
        self.links: list[int] = []
        self._iterators: dict[str, int] = {}
        self.probes: list[dict[str, Any]] = []

    def attach(self, probe: Probe, lacking: str | None) -> None:
        """Attach one probe, unless its family is `lacking` something; note what came of it.

        Raises TracerError when not even the first program may be loaded.
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

    def _attach(self, probe: Probe) -> str | None:
        """Load and attach; return what the kernel lacks for it, None when all is well."""
        if probe.hook == TRACEPOINT:
            return self._attach_tracepoint(probe)
        if probe.hook == ITERATOR:
            return self._run_iterator(probe)
        return self._attach_to_cgroups(probe)

    def _attach_tracepoint(self, probe: Probe) -> str | None:
        point = self._btf.tracepoint(probe.attach_to)
        if point is None or f"tracepoint {probe.attach_to}" in self._plan.hidden:
            return f"this kernel has no tracepoint {probe.attach_to}"
        fd = self._load(probe, bpf.PROG_TYPE_TRACING, bpf.ATTACH_TRACE_RAW_TP, point.type_id)
        self.programs[probe.name] = fd
        self.links.append(bpf.open_tracepoint(fd))
        return None

    def _run_iterator(self, probe: Probe) -> str | None:
        btf_id = self._btf.func(f"bpf_iter_{probe.attach_to}")
        if btf_id is None:
            return f"this kernel has no iterator {probe.attach_to}"
        fd = self._load(probe, bpf.PROG_TYPE_TRACING, bpf.ATTACH_TRACE_ITER, btf_id)
        self.programs[probe.name] = self._iterators[probe.name] = fd
        if not self._plan.moving:
            bpf.run_iterator(fd)
        return None

    def run_again(self, name: str) -> None:
        """Run an iterator that was attached before once more."""
        if name in self._iterators:
            bpf.run_iterator(self._iterators[name])

    def _attach_to_cgroups(self, probe: Probe) -> str | None:
        if not self._plan.packet_cgroups and not self._plan.moving:
            return "no version 2 cgroup hierarchy is mounted"
        attach_type = {
            CGROUP_EGRESS: bpf.ATTACH_CGROUP_EGRESS,
            CGROUP_INGRESS: bpf.ATTACH_CGROUP_INGRESS,
        }[probe.hook]
        fd = self._load(probe, bpf.PROG_TYPE_CGROUP_SKB, attach_type, 0)
        self.programs[probe.name] = fd
        for path in self._plan.packet_cgroups:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self.links.append(bpf.create_link(fd, folder, attach_type))
            finally:
                os.close(folder)
        return None

    def _load(self, probe: Probe, prog_type: int, attach_type: int, btf_id: int) -> int:
        code = self._code_of(probe.function.encode())
        return bpf.load_program(code, probe.name, prog_type, attach_type, btf_id, self._functions)


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
