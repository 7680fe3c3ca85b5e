from __future__ import annotations

from pathlib import Path

import pytest

from podtracer import node_errors
from podtracer.capabilities import lacking
from podtracer.errors import TracerError
from podtracer.node_errors import on_node


def test_error_names_the_node_and_its_kernel() -> None:
    error = on_node(TracerError("no_btf", "no BTF here", "mount it"), "worker-3", "6.1.0-x")
    assert error.code == "no_btf"
    assert error.message == "node worker-3 (Linux 6.1.0-x): no BTF here"
    assert "Trace a pod on another node" in error.hint


def test_machine_becomes_the_node() -> None:
    given = TracerError("no_cgroups", "no hierarchy is mounted on this machine", "x")
    error = on_node(given, "worker-3", "6.1")
    assert error.message == "no hierarchy is mounted on node worker-3"
    assert on_node(given, "", "6.1").message == "no hierarchy is mounted on the node"


@pytest.mark.parametrize("code", ["no_probe", "compile_failed", "unknown_kernel", "no_btf"])
def test_old_kernel_is_called_that(code: str) -> None:
    error = on_node(TracerError(code, "what failed", "x"), "worker-3", "5.4.0-150-generic")
    assert error.code == "old_kernel"
    assert "node worker-3 runs Linux 5.4.0-150-generic, and podtrace needs 5.8" in error.message
    assert "what failed" in error.message
    assert on_node(TracerError(code, "what failed", "x"), "worker-3", "5.8.0").code == code
    assert on_node(TracerError(code, "what failed", "x"), "worker-3", "strange").code == code


def test_hint_that_holds_everywhere_stays() -> None:
    error = on_node(TracerError("no_pod_cgroup", "node n: m", "Is it running?"), "n", "6.1")
    assert error.hint == "Is it running?"


@pytest.mark.parametrize(
    ("missing", "hint"),
    [(["BPF", "PERFMON"], "lacks the capabilities BPF, PERFMON. Use --profile"), ([], "seccomp")],
)
def test_denied_permission_is_traced_to_its_cause(
    monkeypatch: pytest.MonkeyPatch, missing: list[str], hint: str
) -> None:
    monkeypatch.setattr(node_errors, "lacking", lambda: missing)
    assert hint in on_node(TracerError("no_permission", "denied", "x"), "n", "6.1").hint


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("000001ffffffffff", []),
        ("0000000000000000", ["BPF", "PERFMON", "SYS_PTRACE", "NET_ADMIN"]),
        ("000000c000081000", []),
        ("000000c000080000", ["NET_ADMIN"]),
        ("0000004000081000", ["BPF"]),
        ("0000000000281000", []),
    ],
)
def test_capabilities_are_read_from_the_process(
    tmp_path: Path, effective: str, missing: list[str]
) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tpodtracer\nCapPrm:\t{'f' * 16}\nCapEff:\t{effective}\n")
    assert lacking(str(status)) == missing
