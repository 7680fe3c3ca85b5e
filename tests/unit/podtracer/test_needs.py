from __future__ import annotations

import pytest

from btf_blob import Blob
from podtracer.btf import Btf, BtfError
from podtracer.needs import layout, macro, missing, present


def sample() -> Btf:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    u16 = blob.integer("u16", 2)
    hidden = blob.union("", 4, [("left", u32, 0), ("right", u16, 0)])
    entity = blob.struct("sched_entity", 8, [("vruntime", u32, 32)])
    blob.struct(
        "task_struct",
        24,
        [("__state", u32, 0), ("se", entity, 32), ("", hidden, 96), ("flag", u32, 131, 1)],
    )
    blob.enum("cgroup_subsys_id", {"cpu_cgrp_id": 1, "io_cgrp_id": 3})
    blob.enum("", {"TCP_ESTABLISHED": 1})
    blob.tracepoint("sched_switch", [u32])
    return Btf(blob.encoded())


def test_missing_names_types_members_and_tracepoints() -> None:
    needs = {
        "struct task_struct": ("__state", "state", "se.vruntime", "se.deadline", "left", "*"),
        "struct nothing": ("a", "b"),
        "union nothing": (),
        "enum cgroup_subsys_id": ("cpu_cgrp_id", "misc_cgrp_id"),
        "enum": ("TCP_ESTABLISHED", "TCP_NOTHING"),
        "tracepoint sched_switch": (),
        "tracepoint tcp_probe": (),
        "func bpf_rdonly_cast": (),
    }
    assert missing(sample(), needs) == [
        "struct task_struct.state",
        "struct task_struct.se.deadline",
        "struct nothing",
        "union nothing",
        "enum cgroup_subsys_id.misc_cgrp_id",
        "enum.TCP_NOTHING",
        "tracepoint tcp_probe",
        "func bpf_rdonly_cast",
    ]


def test_a_star_stands_for_all_members_anonymous_ones_seen_through() -> None:
    needs = {"struct task_struct": ("*",), "enum cgroup_subsys_id": ("*",)}
    assert list(present(sample(), needs)) == [
        ("struct task_struct", ""),
        ("struct task_struct", "__state"),
        ("struct task_struct", "se"),
        ("struct task_struct", "left"),
        ("struct task_struct", "right"),
        ("struct task_struct", "flag"),
        ("enum cgroup_subsys_id", ""),
        ("enum cgroup_subsys_id", "cpu_cgrp_id"),
        ("enum cgroup_subsys_id", "io_cgrp_id"),
    ]


def test_layout_is_in_bytes_and_has_present_members_only() -> None:
    needs = {"struct task_struct": ("se.vruntime", "right", "flag", "state"), "struct no": ("a",)}
    assert layout(sample(), needs) == {
        ("struct task_struct", "se.vruntime"): (8, 4),
        ("struct task_struct", "right"): (12, 2),
        ("struct task_struct", "flag"): (16, 1),
    }


def test_macros_drop_the_kind_of_members_only() -> None:
    assert macro("struct sock") == "HAVE_struct_sock"
    assert macro("struct sock", "__sk_common.skc_num") == "HAVE_sock____sk_common__skc_num"
    assert macro("enum", "TCP_CLOSE") == "HAVE_TCP_CLOSE"
    assert macro("tracepoint tcp_probe") == "HAVE_tracepoint_tcp_probe"


@pytest.mark.parametrize("members", [("*",), ("absent",)])
def test_an_anonymous_type_within_itself_is_an_error(members: tuple[str, ...]) -> None:
    blob = Blob()
    itself = 2
    blob.struct("sock", 8, [("", itself, 0)])
    blob.struct("", 8, [("", itself, 0)])
    btf = Btf(blob.encoded())
    with pytest.raises(BtfError, match="contains itself"):
        missing(btf, {"struct sock": members})
