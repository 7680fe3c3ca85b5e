"""A kernel that lacks a type leaves a family out; compilation never fails for it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from kernel.tracing import PATIENCE_SECONDS, command
from podtracer.probes import CORE_TYPES, NEEDS, TRACEPOINTS

TYPES = [name for name in NEEDS if name not in CORE_TYPES]


def _hello_without(*hidden: str) -> tuple[dict[str, object], str]:
    result = subprocess.run(
        command("--local", "-o", "json", "--", "/bin/true"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PODTRACE_HIDE": ",".join(hidden)},
        check=False,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return (lines[0] if lines and lines[0]["kind"] == "hello" else {}), result.stderr


@pytest.mark.parametrize("name", TYPES)
def test_a_type_that_is_missing_breaks_no_other_family(name: str) -> None:
    hello, errors = _hello_without(name)
    probes = hello.get("probes")
    assert isinstance(probes, list), errors
    states = {probe["state"] for probe in probes}
    assert "attached" in states
    assert "failed" not in states, probes
    lacking = {probe["reason"] for probe in probes if probe["state"] == "unsupported"}
    assert all(name in reason for reason in lacking)


def test_all_tracepoints_but_one_missing_still_count() -> None:
    absent = [f"tracepoint {name}" for name in TRACEPOINTS if name != "sched_switch"]
    hello, errors = _hello_without(*absent, "hook fentry", "hook fexit", "hook kprobe")
    probes = hello.get("probes")
    assert isinstance(probes, list), errors
    states = {probe["name"]: probe["state"] for probe in probes if "tp_btf" in probe["hook"]}
    assert states.pop("sched_switch") == "attached"
    assert set(states.values()) == {"unsupported"}
    sections = hello["sections"]
    assert isinstance(sections, dict)
    assert sections["connections"]["state"] == "blank"
    assert "tracepoint" in sections["connections"]["reason"]


@pytest.mark.parametrize("name", ["struct task_struct.tgid", "struct cgroup.kn"])
def test_a_core_type_that_is_missing_is_one_clear_error(name: str) -> None:
    hello, errors = _hello_without(name)
    assert hello == {}
    assert errors.startswith("error: ")
    assert name in errors
