"""The registry: every probe, the family that it serves, and what it needs of the kernel.

A family whose needs this kernel lacks is left out before compilation, so that it never fails for
it. Of each probe's hooks the first that the kernel accepts is used; a probe of which it accepts
none leaves the others at work. What is missing makes sections of the report degraded or blank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podtracer.btf import Btf
from podtracer.errors import TracerError
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
from podtracer.needs import Needs, missing


@dataclass(frozen=True)
class Probe:
    """What is seen at one place of the kernel, and the hooks that can see it, the best one first.

    All hooks of a probe see the same things as often as the others do. What a probe and the
    `partner` before it in the list note belongs together: both see packets, or neither.
    """

    name: str
    family: str
    hooks: Sequence[Hook]
    pids_scope: bool = True
    partner: str = ""

    def function(self, hook: Hook) -> str:
        """Name of the C function for a hook."""
        return "on_" + (hook.program or self.name)


def _tracepoint(family: str, name: str, *more: Hook, pids_scope: bool = True) -> Probe:
    return Probe(name, family, (Hook(TP_BTF, name), Hook(RAW_TP, name), *more), pids_scope)


def _entry(function: str, program: str = "") -> tuple[Hook, Hook]:
    """Hooks at the entry of a kernel function."""
    return Hook(FENTRY, function, program), Hook(KPROBE, function, program)


def _behind(what: str, program: str) -> tuple[Hook, Hook]:
    """Hooks behind the program that sees calls return, of those that moved something."""
    place = f"sys_exit/{what}"
    return Hook(TAIL_TP_BTF, place, program), Hook(TAIL_RAW_TP, place, program)


WITHIN_ITSELF = "state_within_state"
"""The probe that does what another one would, had it not been interrupted by the same event."""

PROBES: Sequence[Probe] = (
    _tracepoint("cpu", "sched_switch"),
    _tracepoint("cpu", "sched_wakeup"),
    _tracepoint("cpu", "sched_wakeup_new"),
    _tracepoint("process", "sched_process_fork", *_entry("wake_up_new_task", "wake_up_new_task")),
    _tracepoint("process", "sched_process_exec"),
    _tracepoint("process", "sched_process_exit", *_entry("taskstats_exit", "taskstats_exit")),
    _tracepoint("process", "cgroup_attach_task", pids_scope=False),
    _tracepoint("oom", "mark_victim", *_entry("mark_oom_victim", "mark_oom_victim")),
    # Returns first: a call that was seen to begin must be seen to end.
    _tracepoint("calls", "sys_exit"),
    _tracepoint("calls", "sys_enter"),
    _tracepoint("tcp", "inet_sock_set_state", *_entry("tcp_set_state", "tcp_set_state")),
    Probe(
        WITHIN_ITSELF,
        "within",
        tuple(Hook(kind, "inet_sock_set_state", WITHIN_ITSELF) for kind in (TP_BTF, RAW_TP)),
    ),
    _tracepoint("tcp", "tcp_destroy_sock", *_entry("tcp_v4_destroy_sock")),
    _tracepoint("rtt", "tcp_probe", *_entry("tcp_rcv_established")),
    _tracepoint("rtt", "tcp_rcv_space_adjust", *_entry("tcp_rcv_space_adjust")),
    _tracepoint(
        "retransmit",
        "tcp_retransmit_skb",
        Hook(FEXIT, "__tcp_retransmit_skb", "tcp_retransmitted"),
    ),
    _tracepoint("reset", "tcp_receive_reset", *_entry("tcp_reset")),
    # Answers first, for the same reason.
    Probe("packet_in", "dns", (Hook(CGROUP_INGRESS), *_behind("received", "answer_received"))),
    Probe(
        "packet_out",
        "dns",
        (Hook(CGROUP_EGRESS), *_behind("sent", "query_sent")),
        partner="packet_in",
    ),
    Probe("iter_task", "process", (Hook(ITERATOR, "task"),)),
    Probe("iter_task_file", "tcp", (Hook(ITERATOR, "task_file"),)),
)

TRACEPOINTS: Sequence[str] = tuple(
    hook.attach_to for probe in PROBES for hook in probe.hooks if hook.kind == TP_BTF
)

SOURCES: Sequence[str] = (
    "podtrace.h",
    "scope.h",
    "sched.c",
    "process.c",
    "socket.h",
    "file.h",
    "outcome.h",
    "syscalls.c",
    "rtt.h",
    "tcp.c",
    "dns.h",
    "dns.c",
    "dns_calls.c",
    "snapshot.c",
)
"""Compiled in this order as one unit."""

SECTIONS: Mapping[str, Sequence[str]] = {
    "dns": ("dns",),
    "tcp": ("rtt", "tcp", "calls", "retransmit", "reset"),
    "connections": ("tcp", "calls"),
    "filesystem": ("calls",),
    "io_other": ("calls",),
    "cpu": ("cpu", "process"),
    "cpu_usage": ("cpu", "process"),
    "process_activity": ("process",),
}
"""Report sections and the families they live on; without the first one a section is blank."""

NEEDS: Mapping[str, Sequence[str]] = {
    "struct task_struct": (
        "pid", "tgid", "comm", "cgroups", "group_leader", "real_parent", "thread_pid", "__state",
        "se.sum_exec_runtime", "start_time",
        "state", "in_iowait", "exit_state", "exit_code", "on_cpu", "signal", "files", "fs",
        "thread_info.status", "thread_info.flags", "stack", "flags",
    ),
    "struct css_set": ("dfl_cgrp", "subsys"),
    "struct cgroup_subsys_state": ("cgroup",),
    "enum cgroup_subsys_id": ("*",),
    "struct cgroup": ("level", "kn", "ancestors", "ancestor_ids"),
    "struct kernfs_node": ("id",),
    "struct pid": ("level", "numbers"),
    "struct upid": ("*",),
    "struct signal_struct": ("live.counter", "group_exit_code", "flags"),
    "struct files_struct": ("fdt",),
    "struct fdtable": ("max_fds", "fd"),
    "struct file": ("f_inode", "private_data", "f_path.dentry", "f_path.mnt"),
    "struct path": ("dentry", "mnt"),
    "struct inode": ("i_mode", "i_ino", "i_sb", "i_rdev", "i_generation"),
    "struct super_block": ("s_dev",),
    "struct dentry": ("d_name.name", "d_parent"),
    "struct vfsmount": ("*",),
    "struct mount": ("mnt", "mnt_parent", "mnt_mountpoint"),
    "struct fs_struct": ("root.dentry", "root.mnt"),
    "struct callback_head": ("next",),
    "struct socket": ("sk", "state"),
    "struct sock": ("__sk_common", "sk_protocol", "sk_err", "sk_cgrp_data"),
    "struct sock_common": (
        "skc_family", "skc_state", "skc_daddr", "skc_dport", "skc_num", "skc_v6_daddr",
    ),
    "struct sock_cgroup_data": ("cgroup", "val"),
    "struct in6_addr": ("*",),
    "struct tcp_sock": ("rack.mstamp", "rack.rtt_us", "tcp_mstamp", "tcp_wstamp_ns", "rtt_min"),
    "struct minmax": ("*",),
    "struct minmax_sample": ("*",),
    "struct pt_regs": ("*",),
}  # fmt: skip
"""Types and members that the C code names; the header made from BTF has these only."""

OPTIONAL = frozenset(
    {
        "struct task_struct.__state",
        "struct task_struct.start_time",
        "struct task_struct.state",
        "struct task_struct.stack",
        "struct task_struct.thread_info.status",
        "struct task_struct.thread_info.flags",
        "struct css_set.subsys",
        "struct cgroup.ancestors",
        "struct cgroup.ancestor_ids",
        "struct sock_cgroup_data.cgroup",
        "struct sock_cgroup_data.val",
        "struct sock_common.skc_v6_daddr",
        "struct callback_head.next",
    }
)
"""Members that the code can do without, or that have another name on other kernels."""

CORE_TYPES: Sequence[str] = (
    "struct task_struct", "struct css_set", "struct cgroup", "struct kernfs_node", "struct pid",
    "struct upid",
)  # fmt: skip
"""Without these nobody can tell whose anything is."""

_SOCKET_TYPES = (
    "struct files_struct", "struct fdtable", "struct file", "struct inode", "struct socket",
    "struct sock", "struct sock_common",
)  # fmt: skip
_TCP_TYPES = (
    *_SOCKET_TYPES, "struct sock_cgroup_data", "struct in6_addr", "struct tcp_sock",
    "struct minmax", "struct minmax_sample",
)  # fmt: skip

FAMILY_TYPES: Mapping[str, Sequence[str]] = {
    "cpu": ("struct pt_regs",),
    "process": ("struct signal_struct",),
    "oom": (),
    "calls": (
        *_SOCKET_TYPES, "struct pt_regs", "struct super_block", "struct dentry", "struct vfsmount",
        "struct mount", "struct fs_struct", "struct path",
    ),
    "tcp": _TCP_TYPES,
    "within": _TCP_TYPES,
    "rtt": _TCP_TYPES,
    "retransmit": _TCP_TYPES,
    "reset": _TCP_TYPES,
    "dns": (),
}  # fmt: skip
"""What each family needs beside the core."""


def needs_without(hidden: frozenset[str]) -> dict[str, list[str]]:
    """Return all needs, tracepoints too, but for what a test hides from the probes."""
    needs = {
        key: [member for member in members if f"{key}.{member}" not in hidden]
        for key, members in NEEDS.items()
        if key not in hidden
    }
    for name in TRACEPOINTS:
        if f"tracepoint {name}" not in hidden:
            needs[f"tracepoint {name}"] = []
    return needs


def require_subsystem(btf: Btf, subsystem: str) -> None:
    """Raise TracerError where the kernel does not tell cgroups of a controller, if one is asked."""
    wanted = {
        "struct css_set": ("subsys",),
        "struct cgroup_subsys_state": ("cgroup",),
        "enum cgroup_subsys_id": (subsystem,),
    }
    lacking = missing(btf, wanted) if subsystem else []
    if lacking:
        raise TracerError(
            "unknown_kernel",
            f"this kernel has no {', '.join(lacking)}, which tells cgroups of version 1 apart",
            "Boot it with systemd.unified_cgroup_hierarchy=1, or trace by --pid.",
        )


def lacking_families(btf: Btf, needs: Needs, hidden: frozenset[str]) -> dict[str, str]:
    """Say why a family cannot be compiled on this kernel; families without an entry can.

    Raises TracerError where none can.
    """
    absent = {item for item in missing(btf, needs) if item not in OPTIONAL}
    absent |= hidden - OPTIONAL
    core = sorted(item for item in absent if item.partition(".")[0] in CORE_TYPES)
    if core:
        raise TracerError(
            "unknown_kernel",
            f"this kernel has no {', '.join(core)}, without which no process can be told apart",
            "Report this kernel's version; podtrace needs Linux 5.8 or newer.",
        )
    reasons = {}
    for name, types in FAMILY_TYPES.items():
        lacking = sorted(item for item in absent if item.partition(".")[0] in types)
        if lacking:
            reasons[name] = "this kernel has no " + ", ".join(lacking)
    return reasons
