from __future__ import annotations

from collections import Counter

import factories
from podtracer.probes import (
    CAST_TYPES,
    FAMILY_TYPES,
    ITERATOR,
    NEEDS,
    OPTIONAL,
    PROBES,
    SECTIONS,
    Probe,
)


def test_names_and_hooks_are_told_once() -> None:
    assert [name for name, n in Counter(probe.name for probe in PROBES).items() if n > 1] == []
    hooks = Counter(probe.described_hook for probe in PROBES)
    assert [hook for hook, n in hooks.items() if n > 1] == []


def test_hooks_are_spelled_as_sections_of_libbpf() -> None:
    assert Probe("x", "cpu", "tp_btf", "sched_switch").described_hook == "tp_btf/sched_switch"
    assert Probe("x", "dns", "cgroup_skb/egress", "").described_hook == "cgroup_skb/egress"
    assert Probe("x", "dns", "cgroup_skb/egress", "").function == "on_x"


def test_iterators_run_when_all_that_happens_is_seen() -> None:
    hooks = [probe.hook == ITERATOR for probe in PROBES]
    assert hooks == sorted(hooks)
    # The first names the processes to the second, which looks at what they have open.
    assert [probe.name for probe in PROBES if probe.hook == ITERATOR] == [
        "iter_task",
        "iter_task_file",
    ]


def test_sections_are_those_of_the_report_and_live_on_families_that_exist() -> None:
    assert tuple(SECTIONS) == factories.SECTIONS
    families = {probe.family for probe in PROBES}
    assert {family for needed in SECTIONS.values() for family in needed} <= families
    assert all(SECTIONS.values())


def test_every_family_but_the_rare_kill_makes_a_section() -> None:
    used = {family for needed in SECTIONS.values() for family in needed}
    assert {probe.family for probe in PROBES} - used == {"oom"}


def test_types_that_families_and_casts_name_are_in_the_header() -> None:
    named = {kind for kinds in FAMILY_TYPES.values() for kind in kinds}
    assert named | {f"struct {kind}" for kind in CAST_TYPES} <= set(NEEDS)


def test_optional_members_are_asked_for() -> None:
    asked = {f"{kind}.{member}" for kind, members in NEEDS.items() for member in members}
    assert asked >= OPTIONAL
