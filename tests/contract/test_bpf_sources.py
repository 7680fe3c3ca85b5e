"""What the C sources of the probes name against the registry, the plan and the schema."""

from __future__ import annotations

import re

import pytest

from bpf_sources import CODE, HEADER, SOURCES
from podtrace.wire import schema
from podtracer import features, hooks, plan, probes, records


def test_every_program_is_registered_and_every_registered_one_exists() -> None:
    written = re.findall(r"^int (on_\w+)\(", CODE, re.M)
    registered = {probe.function(hook) for probe in probes.PROBES for hook in probe.hooks}
    assert sorted(written) == sorted(registered)


def test_every_source_is_compiled() -> None:
    assert sorted(probes.SOURCES) == sorted(SOURCES)


def test_families_of_the_probes_are_those_that_the_sources_know() -> None:
    known = {name.lower() for name in re.findall(r"\bFAMILY_(\w+)", CODE)}
    assert known == set(probes.FAMILY_TYPES) == {probe.family for probe in probes.PROBES}


def test_structures_that_are_cast_are_registered() -> None:
    # `name` is the macro's own parameter.
    used = set(re.findall(r"\bTYPED\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*, (\w+)\)", CODE))
    assert used - {"name"} == set(features.CAST_TYPES)


def test_members_that_the_sources_test_for_are_optional() -> None:
    tested = set(re.findall(r"\bHAVE_(\w+__\w+)", CODE))
    assert tested
    # As podtracer.needs.macro spells it.
    known = {name.removeprefix("struct ").replace(".", "__") for name in probes.OPTIONAL}
    assert tested - known == set()


@pytest.mark.parametrize("machine", plan.SYSCALLS)
def test_every_flag_is_used_by_the_sources(machine: str) -> None:
    flags = [*plan.Plan().flags(machine, 1), *hooks.Style.TYPED.flags()]
    given = {re.split(r"[=(]", flag[2:])[0] for flag in flags} | set(features.HELPERS.values())
    assert {name for name in given if not re.search(rf"\b{name}\b", CODE)} == set()


def test_numbers_of_system_calls_fit_their_array() -> None:
    array = re.search(r"BPF_ARRAY\(syscall_kinds, u8, (\d+)\)", HEADER)
    assert array is not None
    assert max(max(plan.syscall_table(machine)) for machine in plan.SYSCALLS) < int(array[1])


def test_every_metric_and_event_is_in_the_schema() -> None:
    assert set(records.METRICS[1:]) <= set(schema.METRICS)
    # What podtracer measures without probes: files by their table, throttling by cgroup files.
    assert set(schema.METRICS) - set(records.METRICS) == {"file", "throttled"}
    assert set(records.EVENTS[1:]) <= set(schema.EVENTS)
