"""Which hook a probe ends at."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from btf_blob import FUNC, Blob
from podtracer import bpf
from podtracer.attach import Attacher
from podtracer.btf import Btf
from podtracer.errors import TracerError
from podtracer.hooks import (
    CGROUP_EGRESS,
    CGROUP_INGRESS,
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
ENTRIES = Probe("sys_enter", "calls", (Hook(TP_BTF, "sys_enter"), Hook(RAW_TP, "sys_enter")))
ANSWERS = Probe(
    "packet_in",
    "dns",
    (Hook(CGROUP_INGRESS), Hook(TAIL_TP_BTF, "sys_exit/received", "answer_received")),
)
QUERIES = Probe(
    "packet_out",
    "dns",
    (
        Hook(CGROUP_EGRESS),
        Hook(TAIL_TP_BTF, "sys_exit/sent", "query_sent"),
        Hook(TAIL_RAW_TP, "sys_exit/sent", "query_sent"),
    ),
    partner="packet_in",
)


class Chain:
    """A kernel that takes every program, and where those behind another were put."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
        self.put: list[tuple[int, bytes]] = []
        monkeypatch.setattr("podtracer.program_kinds.lacking", list)
        for name in ("load_program", "open_tracepoint"):
            monkeypatch.setattr(bpf, name, lambda *_: os.open(os.devnull, os.O_RDONLY))
        monkeypatch.setattr(bpf, "Map", self._map)
        blob = Blob()
        blob.tracepoint("sys_exit", [blob.pointer(0)])
        blob.tracepoint("sys_enter", [blob.pointer(0)])
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
    probe = chain.run(CALLS, ENTRIES, QUERIES)
    assert (probe["hook"], probe["state"]) == (hook, "attached")
    assert "no version 2 cgroup hierarchy is mounted" in str(probe["reason"])
    assert chain.put == [(array, bytes(4))]


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        ((), "unsupported", "calls are not seen either"),
        ((CALLS,), "failed", "sys_enter is not attached"),
    ],
)
def test_nothing_runs_behind_calls_that_are_not_seen(
    monkeypatch: pytest.MonkeyPatch, seen: tuple[Probe, ...], state: str, reason: str
) -> None:
    chain = Chain(monkeypatch, Plan())
    probe = chain.run(*seen, QUERIES)
    assert probe["state"] == state
    assert reason in str(probe["reason"])
    assert chain.put == []


@pytest.mark.parametrize("refused", ["ingress", "egress"])
@pytest.mark.parametrize("where", ["hidden", "attached"])
def test_both_directions_are_read_from_calls_where_one_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: str, where: str
) -> None:
    hidden = {f"hook cgroup_skb/{refused}"} if where == "hidden" else set()
    plan = Plan(packet_cgroups=(str(tmp_path),), hidden=frozenset(hidden))
    chain = Chain(monkeypatch, plan)
    types = {"ingress": bpf.ATTACH_CGROUP_INGRESS, "egress": bpf.ATTACH_CGROUP_EGRESS}
    links = []

    def link(prog_fd: int, folder: int, attach_type: int) -> int:
        if attach_type == types[refused]:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        links.append(os.open(os.devnull, os.O_RDONLY))
        return links[-1]

    monkeypatch.setattr(bpf, "create_link", link)
    chain.run(CALLS, ENTRIES, ANSWERS, QUERIES)
    probes = {probe["name"]: probe for probe in chain.attacher.probes}
    assert [probe["name"] for probe in chain.attacher.probes][-2:] == ["packet_in", "packet_out"]
    assert probes["packet_in"]["hook"] == "tail_call/tp_btf/sys_exit/received"
    assert probes["packet_out"]["hook"] == "tail_call/tp_btf/sys_exit/sent"
    assert {probe["state"] for probe in probes.values()} == {"attached"}
    given_up, refusing = ("packet_out", "packet_in")[:: 1 if refused == "ingress" else -1]
    assert f"{refusing} does not see packets" in str(probes[given_up]["reason"])
    assert not set(links) & set(chain.attacher.links)


def test_packets_are_not_tried_without_the_right_to(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(monkeypatch, Plan(moving=True))
    monkeypatch.setattr("podtracer.program_kinds.lacking", lambda: ["NET_ADMIN"])
    probe = chain.run(CALLS, ENTRIES, QUERIES)
    assert (probe["hook"], probe["state"]) == ("tail_call/tp_btf/sys_exit/sent", "attached")
    assert probe["reason"] == "not cgroup_skb/egress: it takes the capability NET_ADMIN"
