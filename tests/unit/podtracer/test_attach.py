"""What the kernel's refusals are called, and which hook a probe ends at."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from btf_blob import FUNC, Blob
from podtracer import bpf
from podtracer.attach import Attacher, refuse_lockdown
from podtracer.btf import Btf
from podtracer.errors import TracerError
from podtracer.hooks import (
    CGROUP_EGRESS,
    FENTRY,
    RAW_TP,
    TAIL_RAW_TP,
    TAIL_TP_BTF,
    TP_BTF,
    Hook,
    Style,
)
from podtracer.plan import Plan
from podtracer.probes import Probe


def test_confidentiality_is_refused_with_the_way_out(tmp_path: Path) -> None:
    state = tmp_path / "lockdown"
    state.write_text("none integrity [confidentiality]\n")
    with pytest.raises(TracerError) as raised:
        refuse_lockdown(str(state))
    assert raised.value.code == "lockdown"
    assert "lockdown=integrity" in raised.value.hint


@pytest.mark.parametrize(
    "text", ["[none] integrity confidentiality", "none [integrity] confidentiality"]
)
def test_weaker_lockdown_is_none_of_our_business(tmp_path: Path, text: str) -> None:
    state = tmp_path / "lockdown"
    state.write_text(text)
    refuse_lockdown(str(state))


def test_kernel_without_lockdown_is_fine(tmp_path: Path) -> None:
    refuse_lockdown(str(tmp_path / "absent"))


PROBE = Probe(
    "seen", "tcp", (Hook(TP_BTF, "seen"), Hook(RAW_TP, "seen"), Hook(FENTRY, "see", "see"))
)


class Kernel:
    """Accepts programs and attachments but for those it was told to refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *refused: tuple[str, int]) -> None:
        self._refused = dict(refused)
        self.compiled: list[tuple[Style, set[str]]] = []
        monkeypatch.setattr(bpf, "load_program", self._load)
        monkeypatch.setattr(bpf, "open_tracepoint", self._attach)
        blob = Blob()
        blob.tracepoint("seen", [blob.pointer(0)])
        blob.add(FUNC, "see", blob.prototype([]))
        self.attacher = Attacher(Plan(), Btf(blob.encoded()), self._compile, {})

    def _compile(self, style: Style, functions: frozenset[str]) -> dict[str, bytes]:
        self.compiled.append((style, set(functions)))
        return dict.fromkeys(functions, b"")

    def _load(self, code: bytes, name: str, kind: int, attach_type: int, *rest: object) -> int:
        kinds = {bpf.ATTACH_TRACE_RAW_TP: TP_BTF, bpf.ATTACH_TRACE_FENTRY: FENTRY}
        hook = kinds.get(attach_type, RAW_TP)
        return self._open(f"load {hook}")

    def _attach(self, fd: int, name: str = "") -> int:
        return self._open("attach raw_tp" if name else "attach")

    def _open(self, what: str) -> int:
        if what in self._refused:
            raise OSError(self._refused[what], os.strerror(self._refused[what]))
        return os.open(os.devnull, os.O_RDONLY)

    def run(self, lacking: str | None = None) -> dict[str, object]:
        if lacking is None:
            self.attacher.load([PROBE])
        self.attacher.attach(PROBE, lacking)
        for fd in (*self.attacher.links, *self.attacher.programs.values()):
            os.close(fd)
        [probe] = self.attacher.probes
        return probe


def test_the_best_hook_is_used_and_nothing_is_compiled_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch)
    probe = kernel.run()
    assert (probe["hook"], probe["state"], probe["reason"]) == ("tp_btf/seen", "attached", None)
    assert kernel.compiled == [(Style.TYPED, {"on_seen"})]


def test_a_hook_that_is_not_loaded_for_is_followed_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch, ("load tp_btf", errno.EINVAL))
    probe = kernel.run()
    assert (probe["hook"], probe["state"]) == ("raw_tp/seen", "attached")
    assert probe["reason"] == "not tp_btf/seen: Invalid argument"
    assert kernel.compiled == [(Style.TYPED, {"on_seen"}), (Style.UNTYPED, {"on_seen"})]


def test_a_hook_that_is_not_attached_to_is_followed_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = [("load tp_btf", errno.EINVAL), ("attach raw_tp", errno.EBUSY)]
    probe = Kernel(monkeypatch, *refused).run()
    assert (probe["hook"], probe["state"]) == ("fentry/see", "attached")
    assert probe["reason"] == (
        "not tp_btf/seen: Invalid argument; not raw_tp/seen: Device or resource busy"
    )


def test_when_all_are_refused_each_reason_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [(f"load {kind}", errno.EINVAL) for kind in (TP_BTF, RAW_TP)]
    probe = Kernel(monkeypatch, *refused, ("load fentry", errno.E2BIG)).run()
    assert (probe["hook"], probe["state"]) == ("tp_btf/seen", "failed")
    assert probe["reason"] == "Invalid argument; fentry/see: Argument list too long"


def test_a_kernel_that_lets_nothing_be_loaded_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, ("load tp_btf", errno.EPERM))
    with pytest.raises(TracerError) as raised:
        kernel.run()
    assert raised.value.code == "no_permission"


def test_a_family_without_its_types_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    probe = kernel.run(lacking="this kernel has no struct sock")
    assert (probe["hook"], probe["state"]) == ("tp_btf/seen", "unsupported")
    assert kernel.compiled == []


CALLS = Probe("sys_exit", "calls", (Hook(TP_BTF, "sys_exit"), Hook(RAW_TP, "sys_exit")))
QUERIES = Probe(
    "packet_out",
    "dns",
    (
        Hook(CGROUP_EGRESS),
        Hook(TAIL_TP_BTF, "sys_exit/sent", "query_sent"),
        Hook(TAIL_RAW_TP, "sys_exit/sent", "query_sent"),
    ),
)


class Chain:
    """A kernel that takes every program, and where those behind another were put."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
        self.put: list[tuple[int, bytes]] = []
        monkeypatch.setattr("podtracer.attach.lacking", list)
        for name in ("load_program", "open_tracepoint"):
            monkeypatch.setattr(bpf, name, lambda *_: os.open(os.devnull, os.O_RDONLY))
        monkeypatch.setattr(bpf, "Map", self._map)
        blob = Blob()
        blob.tracepoint("sys_exit", [blob.pointer(0)])
        maps = {"after_typed": 70, "after_untyped": 71}
        self.attacher = Attacher(
            plan, Btf(blob.encoded()), lambda _, names: dict.fromkeys(names, b""), maps
        )

    def _map(self, fd: int, *_: int) -> Chain:
        self._fd = fd
        return self

    def update(self, key: bytes, value: bytes) -> None:
        self.put.append((self._fd, key))

    def run(self, *probes: Probe) -> dict[str, object]:
        self.attacher.load(probes)
        for probe in probes:
            self.attacher.attach(probe, None)
        for fd in (*self.attacher.links, *self.attacher.programs.values()):
            os.close(fd)
        return self.attacher.probes[-1]


@pytest.mark.parametrize(
    ("hidden", "hook", "array"),
    [
        ((), "tail_call/tp_btf/sys_exit/sent", 70),
        (("hook tp_btf",), "tail_call/raw_tp/sys_exit/sent", 71),
    ],
)
def test_where_packets_are_not_seen_a_program_runs_behind_that_of_the_calls(
    monkeypatch: pytest.MonkeyPatch, hidden: tuple[str, ...], hook: str, array: int
) -> None:
    chain = Chain(monkeypatch, Plan(hidden=frozenset(hidden)))
    probe = chain.run(CALLS, QUERIES)
    assert (probe["hook"], probe["state"]) == (hook, "attached")
    assert "no version 2 cgroup hierarchy is mounted" in str(probe["reason"])
    assert chain.put == [(array, bytes(4))]


def test_nothing_runs_behind_calls_that_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(monkeypatch, Plan())
    probe = chain.run(QUERIES)
    assert probe["state"] == "failed"
    assert "sys_exit is not attached" in str(probe["reason"])
    assert chain.put == []


def test_packets_are_not_tried_without_the_right_to(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(monkeypatch, Plan(moving=True))
    monkeypatch.setattr("podtracer.attach.lacking", lambda: ["NET_ADMIN"])
    probe = chain.run(CALLS, QUERIES)
    assert (probe["hook"], probe["state"]) == ("tail_call/tp_btf/sys_exit/sent", "attached")
    assert probe["reason"] == "not cgroup_skb/egress: it takes the capability NET_ADMIN"
