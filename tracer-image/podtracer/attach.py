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
from typing import Any, Callable

from podtracer import bpf, perf
from podtracer.attempt import Attempt
from podtracer.btf import Btf
from podtracer.errors import TracerError
from podtracer.hooks import (
    CONTINUATIONS,
    ITERATOR,
    KPROBE,
    PACKETS,
    RAW_TP,
    TAILS,
    Hook,
    Style,
)
from podtracer.plan import CAST_MARK, Plan
from podtracer.probes import Probe
from podtracer.program_kinds import ProgramKind, kind_of
from podtracer.refusals import no_permission

_LOADED_AT_ONCE = 4
_VERIFIER_LINES = 3
_VERIFIER_CHARACTERS = 400

Compile = Callable[[Style, "frozenset[str]"], Mapping[str, bytes]]
"""Returns the code of C functions, those that this kernel has no need of left out."""


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
        self._attempts: dict[str, Attempt] = {}
        self.programs: dict[str, int] = {}
        self._links: dict[str, list[int]] = {}
        self._told: dict[str, dict[str, Any]] = {}

    @property
    def links(self) -> list[int]:
        """Descriptors that keep the programs attached."""
        return [link for links in self._links.values() for link in links]

    @property
    def probes(self) -> list[dict[str, Any]]:
        """What became of each probe, as the stream's hello has it."""
        return list(self._told.values())

    def load(self, probes: Iterable[Probe]) -> None:
        """Load the programs of probes, each for the first of its hooks that takes it.

        Raises TracerError when not a single program may be loaded.
        """
        attempts = [Attempt(probe) for probe in probes]
        self._attempts = {attempt.probe.name: attempt for attempt in attempts}
        while attempts:
            attempts = self._load_next(attempts)
            if all(attempt.fd < 0 for attempt in self._attempts.values()) and any(
                error.errno == errno.EPERM for a in attempts for error in a.errors
            ):
                raise no_permission()

    def attach(self, probe: Probe, lacking: str | None) -> None:
        """Attach a loaded probe, unless its family is `lacking` something; note what came of it."""
        attempt = self._attempts.get(probe.name) or Attempt(probe)
        if lacking is None:
            self._attach_to_any(attempt)
            self._join(attempt, self._attempts.get(probe.partner))
        self._tell(attempt, lacking)

    def _tell(self, attempt: Attempt, lacking: str | None = None) -> None:
        probe = attempt.probe
        attached = probe.name in self.programs
        self._told[probe.name] = {
            "name": probe.name,
            "family": probe.family,
            "hook": (attempt.hook or probe.hooks[0]).described,
            "state": "attached" if attached else "failed" if attempt.errors else "unsupported",
            "reason": attempt.told() if lacking is None else lacking,
        }

    def _join(self, attempt: Attempt, partner: Attempt | None) -> None:
        """Let partners see the same: both the packets, or neither."""
        if partner is None:
            return
        for one, other in ((attempt, partner), (partner, attempt)):
            if _sees_packets(one) and not _sees_packets(other):
                self._detach(one.probe.name)
                one.refuse(f"{other.probe.name} does not see packets")
                self._go_on(one)
                self._attach_to_any(one)
                self._tell(one)

    def _detach(self, name: str) -> None:
        for link in self._links.pop(name, ()):
            os.close(link)
        os.close(self.programs.pop(name))
        self._attempts[name].fd = -1

    def check(self) -> None:
        """Raise TracerError when nothing could be attached."""
        if not self.links:
            reasons = sorted({str(probe["reason"]) for probe in self.probes})
            raise TracerError(
                "no_probe",
                f"kernel {platform.release()} accepted no probe: {'; '.join(reasons)[:1000]}",
                "podtrace needs Linux 5.8 or newer with BTF and root or CAP_BPF and CAP_PERFMON.",
            )

    def _attach_to_any(self, attempt: Attempt) -> None:
        while attempt.hook is not None and not self._attach_to_next(attempt):
            self._go_on(attempt)

    def _go_on(self, attempt: Attempt) -> None:
        """Load for the next hook that takes the program, if there is one."""
        waiting = [attempt]
        while waiting:
            waiting = self._load_next(waiting)

    def _attach_to_next(self, attempt: Attempt) -> bool:
        assert attempt.hook is not None
        name = attempt.probe.name
        self.programs[name] = attempt.fd
        try:
            self._attach(name, attempt.hook, attempt.fd)
        except OSError as error:
            self._detach(name)
            attempt.refuse(_describe(attempt, error), error)
            return False
        return True

    def _load_next(self, attempts: list[Attempt]) -> list[Attempt]:
        """Load each for its next hook; return those that were refused and have one more."""
        kinds: dict[str, ProgramKind] = {}
        wanted: dict[Style, set[str]] = {}
        for attempt in attempts:
            while attempt.hook is not None:
                kind = kind_of(attempt.hook, self._btf, self._plan, self._attempts)
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

    def _load_all(self, ready: list[tuple[Attempt, ProgramKind, bytes]]) -> None:
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
                    attempt.refuse(_describe(attempt, error), error)

        helpers = [
            threading.Thread(target=work)
            for _ in range(min(_LOADED_AT_ONCE, len(os.sched_getaffinity(0)), len(ready)) - 1)
        ]
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()

    def _attach(self, name: str, hook: Hook, fd: int) -> None:
        links = self._links.setdefault(name, [])
        if hook.kind == RAW_TP:
            links.append(bpf.open_tracepoint(fd, hook.attach_to))
        elif hook.kind == KPROBE:
            links.append(perf.attach_kprobe(fd, hook.attach_to))
        elif hook.kind == ITERATOR:
            if not self._plan.moving:
                bpf.run_iterator(fd)
        elif hook.kind in TAILS:
            self._attach_behind(hook, fd)
        elif hook.kind in PACKETS:
            for path in self._plan.packet_cgroups:
                links.append(_link_to_cgroup(fd, path, PACKETS[hook.kind]))
        else:
            links.append(bpf.open_tracepoint(fd))

    def _attach_behind(self, hook: Hook, fd: int) -> None:
        """Let the program of another probe go on with this one."""
        kind, array = TAILS[hook.kind]
        name = hook.attach_to.partition("/")[0]
        before = self._attempts[name].hook if name in self.programs else None
        if before is None or before.kind != kind:
            raise OSError(errno.ENOENT, f"{name} is not attached to {kind}")
        if "sys_enter" not in self.programs:
            raise OSError(errno.ENOENT, "sys_enter is not attached")
        slot = struct.pack("=I", CONTINUATIONS.index(hook.attach_to))
        bpf.Map(self._maps[array], 4, 4, len(CONTINUATIONS)).update(slot, struct.pack("=I", fd))

    def run_again(self, name: str) -> None:
        """Run an iterator that was attached before once more."""
        if name in self.programs:
            bpf.run_iterator(self.programs[name])


def _sees_packets(attempt: Attempt) -> bool:
    return attempt.hook is not None and attempt.hook.kind in PACKETS


def _link_to_cgroup(fd: int, path: str, attach_type: int) -> int:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return bpf.create_link(fd, folder, attach_type)
    finally:
        os.close(folder)


def _describe(attempt: Attempt, error: OSError) -> str:
    log = error.log.strip() if isinstance(error, bpf.BpfError) else ""
    folder = os.environ.get("PODTRACE_VERIFIER_LOG")
    if not log or attempt.hook is None:
        return error.strerror or str(error)
    if folder:
        hook = attempt.hook.described.replace("/", "-")
        Path(folder, f"{attempt.probe.name}.{hook}").write_text(log)
    end = " / ".join(log.splitlines()[-_VERIFIER_LINES:])[-_VERIFIER_CHARACTERS:]
    return f"{error.strerror}: {end}"
