from __future__ import annotations

from collections import Counter

import factories
from podtracer.features import CAST_TYPES
from podtracer.hooks import (
    CGROUP_EGRESS,
    CGROUP_INGRESS,
    FENTRY,
    FEXIT,
    ITERATOR,
    KPROBE,
    RAW_TP,
    TAIL_RAW_TP,
    TAIL_TP_BTF,
    TP_BTF,
    Hook,
)
from podtracer.probes import (
    FAMILY_TYPES,
    NEEDS,
    OPTIONAL,
    PROBES,
    SECTIONS,
    WITHIN_ITSELF,
    Probe,
)


def test_names_and_hooks_are_told_once() -> None:
    assert [name for name, n in Counter(probe.name for probe in PROBES).items() if n > 1] == []
    others = [probe for probe in PROBES if probe.name != WITHIN_ITSELF]
    hooks = Counter(hook.described for probe in others for hook in probe.hooks)
    assert [hook for hook, n in hooks.items() if n > 1] == []


def test_hooks_are_spelled_as_sections_of_libbpf() -> None:
    assert Hook("tp_btf", "sched_switch").described == "tp_btf/sched_switch"
    assert Hook("cgroup_skb/egress").described == "cgroup_skb/egress"


def test_hooks_at_other_places_have_programs_of_their_own() -> None:
    probe = Probe("x", "tcp", (Hook("tp_btf", "x"), Hook("fentry", "y", "z")))
    assert [probe.function(hook) for hook in probe.hooks] == ["on_x", "on_z"]


def test_hooks_with_types_come_before_those_without() -> None:
    packets = [CGROUP_INGRESS, CGROUP_EGRESS, TAIL_TP_BTF, TAIL_RAW_TP]
    order = [*packets, TP_BTF, RAW_TP, FENTRY, FEXIT, KPROBE]
    for probe in PROBES:
        kinds = [hook.kind for hook in probe.hooks]
        assert len(kinds) == 1 or kinds == sorted(kinds, key=order.index)


def test_iterators_run_when_all_that_happens_is_seen() -> None:
    iterators = [probe.hooks[0].kind == ITERATOR for probe in PROBES]
    assert iterators == sorted(iterators)
    # The first names the processes to the second, which looks at what they have open.
    assert [probe.name for probe in PROBES if probe.hooks[0].kind == ITERATOR] == [
        "iter_task",
        "iter_task_file",
    ]


def test_sections_are_those_of_the_report_and_live_on_families_that_exist() -> None:
    assert tuple(SECTIONS) == factories.SECTIONS
    families = {probe.family for probe in PROBES}
    assert {family for needed in SECTIONS.values() for family in needed} <= families
    assert all(SECTIONS.values())


def test_every_family_but_what_is_rare_makes_a_section() -> None:
    used = {family for needed in SECTIONS.values() for family in needed}
    assert {probe.family for probe in PROBES} - used == {"oom", "within"}


def test_types_that_families_and_casts_name_are_in_the_header() -> None:
    named = {kind for kinds in FAMILY_TYPES.values() for kind in kinds}
    assert named | {f"struct {kind}" for kind in CAST_TYPES} <= set(NEEDS)


def test_optional_members_are_asked_for() -> None:
    asked = {f"{kind}.{member}" for kind, members in NEEDS.items() for member in members}
    assert asked >= OPTIONAL
