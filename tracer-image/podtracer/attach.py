"""Loading and attaching, each probe on its own: one that the kernel refuses leaves the others.

A probe has its hooks in order; the first that the kernel accepts is used. What became of every one
is kept for the stream's hello, with the kernel's own reason.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable, NamedTuple

from podtracer import bpf, perf
from podtracer.btf import Btf
from podtracer.capabilities import lacking
from podtracer.errors import TracerError
from podtracer.hooks import (
    CGROUP_EGRESS,
    CGROUP_INGRESS,
    CONTINUATIONS,
    FENTRY,
    FEXIT,
    ITERATOR,
    KPROBE,
    RAW_TP,
    TAILS,
    TP_BTF,
    Hook,
    Style,
)
from podtracer.plan import CAST_MARK, Plan
from podtracer.probes import Probe

LOCKDOWN = "/sys/kernel/security/lockdown"
_LOADED_AT_ONCE = 4
_PACKETS = {
    CGROUP_EGRESS: bpf.ATTACH_CGROUP_EGRESS,
    CGROUP_INGRESS: bpf.ATTACH_CGROUP_INGRESS,
}
_FUNCTIONS = {FENTRY: bpf.ATTACH_TRACE_FENTRY, FEXIT: bpf.ATTACH_TRACE_FEXIT}
_VERIFIER_LINES = 3
_VERIFIER_CHARACTERS = 400

Compile = Callable[[Style, "frozenset[str]"], Mapping[str, bytes]]
"""Returns the code of C functions, those that this kernel has no need of left out."""


class _Kind(NamedTuple):
    prog_type: int
    attach_type: int = 0
    btf_id: int = 0


class _Attempt:
    """A probe on its way down the list of its hooks."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self._hooks = deque(probe.hooks)
        self.refusals: list[tuple[Hook, str]] = []
        self.errors: list[OSError] = []
        self.fd = -1

    @property
    def hook(self) -> Hook | None:
        """The hook to try, None when all were refused."""
        return self._hooks[0] if self._hooks else None

    def refuse(self, reason: str, error: OSError | None = None) -> None:
        """Go on to the next hook."""
        self.refusals.append((self._hooks.popleft(), reason))
        if error is not None:
            self.errors.append(error)

    def told(self) -> str | None:
        """Why the hooks so far were refused, each reason once; None where none was."""
        reasons: dict[str, str] = {}
        for hook, reason in self.refusals:
            reasons.setdefault(reason, hook.described)
        if self.hook is not None:
            return "; ".join(f"not {hook}: {why}" for why, hook in reasons.items()) or None
        first = next(iter(reasons), None)
        return "; ".join(why if why == first else f"{hook}: {why}" for why, hook in reasons.items())


class Attacher:
    """Attaches probes and holds the descriptors: `programs` by probe name, `links`.

    `compile_for` makes the code of C functions as it is needed, and the `maps` with it. With
    PODTRACE_VERIFIER_LOG set to a folder, what the verifier said of a refused program is written
    there.
    """

    def __init__(self, plan: Plan, btf: Btf, compile_for: Compile, maps: Mapping[str, int]) -> None:
        self._plan = plan
        self._btf = btf
        self._compile = compile_for
        self._maps = maps
        self._functions = {CAST_MARK: btf.func("bpf_rdonly_cast") or 0}
        self._attempts: dict[str, _Attempt] = {}
        self.programs: dict[str, int] = {}
        self.links: list[int] = []
        self._iterators: dict[str, int] = {}
        self.probes: list[dict[str, Any]] = []

    def load(self, probes: Iterable[Probe]) -> None:
        """Load the programs of probes, each for the first of its hooks that takes it.

        Raises TracerError when not a single program may be loaded.
        """
        attempts = [_Attempt(probe) for probe in probes]
        self._attempts = {attempt.probe.name: attempt for attempt in attempts}
        while attempts:
            attempts = self._load_next(attempts)
            if all(attempt.fd < 0 for attempt in self._attempts.values()) and any(
                error.errno == errno.EPERM for a in attempts for error in a.errors
            ):
                raise no_permission()

    def attach(self, probe: Probe, lacking: str | None) -> None:
        """Attach a loaded probe, unless its family is `lacking` something; note what came of it."""
        attempt = self._attempts.get(probe.name) or _Attempt(probe)
        attached = lacking is None and self._attach_to_any(attempt)
        self.probes.append(
            {
                "name": probe.name,
                "family": probe.family,
                "hook": (attempt.hook or probe.hooks[0]).described,
                "state": "attached" if attached else "failed" if attempt.errors else "unsupported",
                "reason": attempt.told() if lacking is None else lacking,
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

    def _attach_to_any(self, attempt: _Attempt) -> bool:
        while attempt.hook is not None:
            if self._attach_to_next(attempt):
                return True
            waiting = [attempt]
            while waiting:
                waiting = self._load_next(waiting)
        return False

    def _attach_to_next(self, attempt: _Attempt) -> bool:
        assert attempt.hook is not None
        try:
            self._attach(attempt.probe, attempt.hook, attempt.fd)
        except OSError as error:
            os.close(attempt.fd)
            attempt.fd = -1
            attempt.refuse(_describe(attempt.probe, error), error)
            return False
        return True

    def _load_next(self, attempts: list[_Attempt]) -> list[_Attempt]:
        """Load each for its next hook; return those that were refused and have one more."""
        kinds: dict[str, _Kind] = {}
        wanted: dict[Style, set[str]] = {}
        for attempt in attempts:
            while attempt.hook is not None:
                kind = self._kind(attempt.hook)
                if not isinstance(kind, str):
                    kinds[attempt.probe.name] = kind
                    functions = wanted.setdefault(attempt.hook.style, set())
                    functions.add(attempt.probe.function(attempt.hook))
                    break
                attempt.refuse(kind)
        code = {
            (style, name): made
            for style, functions in wanted.items()
            for name, made in self._compile(style, frozenset(functions)).items()
        }
        ready = []
        for attempt in attempts:
            if attempt.hook is not None:
                function = attempt.probe.function(attempt.hook)
                ready.append(
                    (attempt, kinds[attempt.probe.name], code[attempt.hook.style, function])
                )
        self._load_all(ready)
        return [attempt for attempt in attempts if attempt.hook is not None and attempt.fd < 0]

    def _load_all(self, ready: list[tuple[_Attempt, _Kind, bytes]]) -> None:
        """Load programs, several at a time: most of it is the verifier's work."""
        # The longest first, so that none is left alone with it at the end.
        waiting = deque(sorted(ready, key=lambda entry: -len(entry[2])))

        def work() -> None:
            while True:
                try:
                    attempt, kind, code = waiting.popleft()
                except IndexError:
                    return
                name = attempt.probe.name
                try:
                    attempt.fd = bpf.load_program(code, name, *kind, self._functions)
                except OSError as error:
                    attempt.refuse(_describe(attempt.probe, error), error)

        helpers = [
            threading.Thread(target=work)
            for _ in range(min(_LOADED_AT_ONCE, len(os.sched_getaffinity(0)), len(ready)) - 1)
        ]
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()

    def _kind(self, hook: Hook) -> _Kind | str:
        """What program a hook takes; what the kernel lacks for it, as text."""
        if hook.is_hidden(self._plan.hidden):
            return "it is switched off"
        if hook.kind in (TP_BTF, RAW_TP):
            point = self._btf.tracepoint(hook.attach_to)
            if point is None or f"tracepoint {hook.attach_to}" in self._plan.hidden:
                return f"this kernel has no tracepoint {hook.attach_to}"
            if hook.kind == RAW_TP:
                return _Kind(bpf.PROG_TYPE_RAW_TRACEPOINT)
            return _Kind(bpf.PROG_TYPE_TRACING, bpf.ATTACH_TRACE_RAW_TP, point.type_id)
        if hook.kind in _FUNCTIONS:
            btf_id = self._btf.func(hook.attach_to)
            if btf_id is None:
                return f"this kernel has no function {hook.attach_to}"
            return _Kind(bpf.PROG_TYPE_TRACING, _FUNCTIONS[hook.kind], btf_id)
        if hook.kind == KPROBE:
            return _Kind(bpf.PROG_TYPE_KPROBE) if perf.has_kprobes() else "it has no kprobes"
        if hook.kind == ITERATOR:
            btf_id = self._btf.func(f"bpf_iter_{hook.attach_to}")
            if btf_id is None:
                return f"this kernel has no iterator {hook.attach_to}"
            return _Kind(bpf.PROG_TYPE_TRACING, bpf.ATTACH_TRACE_ITER, btf_id)
        if hook.kind in TAILS:
            before = Hook(TAILS[hook.kind][0], hook.attach_to.partition("/")[0])
            return self._kind(before)
        if self._plan.subsystem or not (self._plan.packet_cgroups or self._plan.moving):
            return "no version 2 cgroup hierarchy is mounted"
        if "NET_ADMIN" in lacking():
            return "it takes the capability NET_ADMIN"
        return _Kind(bpf.PROG_TYPE_CGROUP_SKB, _PACKETS[hook.kind])

    def _attach(self, probe: Probe, hook: Hook, fd: int) -> None:
        if hook.kind == RAW_TP:
            self.links.append(bpf.open_tracepoint(fd, hook.attach_to))
        elif hook.kind == KPROBE:
            self.links.append(perf.attach_kprobe(fd, hook.attach_to))
        elif hook.kind == ITERATOR:
            if not self._plan.moving:
                bpf.run_iterator(fd)
            self._iterators[probe.name] = fd
        elif hook.kind in TAILS:
            self._attach_behind(hook, fd)
        elif hook.kind in _PACKETS:
            self._attach_to_cgroups(fd, _PACKETS[hook.kind])
        else:
            self.links.append(bpf.open_tracepoint(fd))
        self.programs[probe.name] = fd

    def _attach_behind(self, hook: Hook, fd: int) -> None:
        """Let the program of another probe go on with this one."""
        kind, array = TAILS[hook.kind]
        name = hook.attach_to.partition("/")[0]
        before = self._attempts[name].hook if name in self.programs else None
        if before is None or before.kind != kind:
            raise OSError(errno.ENOENT, f"{name} is not attached to {kind}")
        slot = struct.pack("=I", CONTINUATIONS.index(hook.attach_to))
        bpf.Map(self._maps[array], 4, 4, len(CONTINUATIONS)).update(slot, struct.pack("=I", fd))

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
        return error.strerror or str(error)
    end = " / ".join(log.splitlines()[-_VERIFIER_LINES:])[-_VERIFIER_CHARACTERS:]
    return f"{error.strerror}: {end}"


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
