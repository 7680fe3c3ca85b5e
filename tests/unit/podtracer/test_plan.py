from __future__ import annotations

import json

import pytest

from podtracer.plan import (
    CALL_KINDS,
    ENTRIES,
    MOST_LEVELS,
    RING_BYTES,
    SYSCALLS,
    Plan,
    Thresholds,
    sizes_from_environment,
    syscall_table,
)


def flags(plan: Plan, machine: str = "x86_64") -> dict[str, str]:
    pairs = (flag.removeprefix("-D").partition("=") for flag in plan.flags(machine, 12345))
    return {name: value for name, _, value in pairs}


def test_flags_say_all_that_the_probes_are_compiled_for() -> None:
    plan = Plan(
        cgroups={99: 1},
        levels=(3,),
        thresholds=Thresholds(rtt_spike_ns=1, slow_file_ns=2, long_block_ns=2**63),
        entries={**ENTRIES, "series": 64, "dns": 32},
        ring_bytes=64 * 1024,
    )
    assert flags(plan) == {
        "SCOPE_PIDS": "0",
        "SCOPE_LEVEL_0": "3",
        "SCOPE_LEVEL_1": "-1",
        "SCOPE_LEVEL_2": "-1",
        "SCOPE_LEVEL_3": "-1",
        "SCOPE_V1": "0",
        "SCOPE_SUBSYSTEM": "",
        "SERIES_ENTRIES": "64",
        "THREAD_ENTRIES": "16384",
        "SOCKET_ENTRIES": "16384",
        "PROCESS_ENTRIES": "8192",
        "LABEL_ENTRIES": "4096",
        "FILE_ENTRIES": "4096",
        "DNS_ENTRIES": "32",
        "TARGET_ENTRIES": "4096",
        "FILTER_SLOTS": "1024",
        "MAYBE_TARGET(id)": "((id)==99ULL)",
        "RING_PAGES": "16",
        "LABEL_SEED": "12345ULL",
        "RTT_SPIKE_NS": "1ULL",
        "SLOW_FILE_NS": "2ULL",
        "LONG_BLOCK_NS": f"{2**63}ULL",
        "CAST_MARK": str(0x70001),
        "SYSCALL_NUMBER": "orig_ax",
        "SYSCALL_ARGUMENT_0": "di",
        "SYSCALL_ARGUMENT_1": "si",
        "SYSCALL_ARGUMENT_2": "dx",
        "SYSCALL_ARGUMENT_4": "r8",
        "SYSCALL_readv": "19",
        "SYSCALL_writev": "20",
        "SYSCALL_sendto": "44",
        "SYSCALL_sendmsg": "46",
        "SYSCALL_recvmsg": "47",
        "SYSCALL_sendmmsg": "307",
        "SYSCALL_recvmmsg": "299",
        "ARGUMENT_REGISTER(n)": "((n)==0?112:(n)==1?104:(n)==2?96:88)",
        "KERNEL_STACK_BYTES": "16384",
    }


def test_cgroups_of_version_1_are_told_by_their_controller() -> None:
    made = flags(Plan(cgroups={7: 1}, levels=(1,), subsystem="pids_cgrp_id"))
    assert (made["SCOPE_V1"], made["SCOPE_SUBSYSTEM"]) == ("1", "pids_cgrp_id")


@pytest.mark.parametrize(
    ("cgroups", "expression"),
    [
        ({}, "1"),
        ({7: 1, 9: 2}, "((id)==7ULL||(id)==9ULL)"),
        ({number: number for number in range(1, 6)}, "1"),
    ],
)
def test_few_targets_are_compared_with_and_many_looked_up(
    cgroups: dict[int, int], expression: str
) -> None:
    assert flags(Plan(cgroups=cgroups, levels=(1,)))["MAYBE_TARGET(id)"] == expression


def test_targets_that_come_and_go_are_not_compiled_in() -> None:
    plan = Plan(cgroups={7: 1}, levels=(1,), moving=True)
    assert flags(plan)["MAYBE_TARGET(id)"] == "passes_filter(id)"


def test_registers_are_those_of_the_architecture() -> None:
    assert {
        name: value
        for name, value in flags(Plan(), "aarch64").items()
        if name.startswith(("SYSCALL_NUMBER", "SYSCALL_ARGUMENT"))
    } == {
        "SYSCALL_NUMBER": "syscallno",
        "SYSCALL_ARGUMENT_0": "regs[0]",
        "SYSCALL_ARGUMENT_1": "regs[1]",
        "SYSCALL_ARGUMENT_2": "regs[2]",
        "SYSCALL_ARGUMENT_4": "regs[4]",
    }


@pytest.mark.parametrize(
    ("levels", "given"),
    [
        ((), ["-1", "-1", "-1", "-1"]),
        ((2, 5), ["2", "5", "-1", "-1"]),
        ((1, 2, 3, 4), ["1", "2", "3", "4"]),
    ],
)
def test_levels_that_are_not_used_are_below_the_root(
    levels: tuple[int, ...], given: list[str]
) -> None:
    made = flags(Plan(levels=levels))
    assert [made[f"SCOPE_LEVEL_{index}"] for index in range(MOST_LEVELS)] == given


def test_without_cgroups_the_scope_is_processes() -> None:
    assert Plan(pids={7: 1}).by_pids
    assert flags(Plan(pids={7: 1}))["SCOPE_PIDS"] == "1"
    assert not Plan(cgroups={7: 1}, levels=(1,)).by_pids


def test_sizes_are_the_defaults_unless_the_environment_has_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PODTRACE_MAP_ENTRIES", raising=False)
    monkeypatch.delenv("PODTRACE_RING_BYTES", raising=False)
    assert sizes_from_environment() == (ENTRIES, RING_BYTES)
    monkeypatch.setenv("PODTRACE_MAP_ENTRIES", json.dumps({"series": 64}))
    monkeypatch.setenv("PODTRACE_RING_BYTES", "4096")
    assert sizes_from_environment() == ({**ENTRIES, "series": 64}, 4096)
    assert ENTRIES["series"] == 32768


def test_ring_is_a_power_of_two_of_whole_pages() -> None:
    assert RING_BYTES % 4096 == 0
    assert RING_BYTES & (RING_BYTES - 1) == 0


@pytest.mark.parametrize("machine", SYSCALLS)
def test_every_call_is_of_one_known_kind(machine: str) -> None:
    table = syscall_table(machine)
    assert len(table) == sum(len(calls) for calls in SYSCALLS[machine].values())
    assert set(SYSCALLS[machine]) == set(CALL_KINDS) - {"CALL_NONE"}


def test_calls_are_found_by_number() -> None:
    amd, arm = syscall_table("x86_64"), syscall_table("aarch64")
    assert (CALL_KINDS[amd[0]], CALL_KINDS[amd[42]]) == ("CALL_READ", "CALL_CONNECT")
    assert (CALL_KINDS[arm[63]], CALL_KINDS[arm[203]]) == ("CALL_READ", "CALL_CONNECT")
