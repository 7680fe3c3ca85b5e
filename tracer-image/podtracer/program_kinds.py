"""What kind of BPF program a hook takes, and whether this kernel has the hook at all."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from podtracer import bpf, perf
from podtracer.btf import Btf
from podtracer.capabilities import lacking
from podtracer.hooks import (
    FENTRY,
    FEXIT,
    ITERATOR,
    KPROBE,
    PACKETS,
    RAW_TP,
    TAILS,
    TP_BTF,
    Hook,
)
from podtracer.plan import Plan

_FUNCTIONS = {FENTRY: bpf.ATTACH_TRACE_FENTRY, FEXIT: bpf.ATTACH_TRACE_FEXIT}


class ProgramKind(NamedTuple):
    """What bpf(2) wants to know of a program when it is loaded."""

    prog_type: int
    attach_type: int = 0
    btf_id: int = 0


def kind_of(hook: Hook, btf: Btf, plan: Plan, probes: Container[str]) -> ProgramKind | str:
    """Return what program a hook takes, or as text what the kernel lacks for it.

    `probes` are the names of all that are to be attached.
    """
    if hook.is_hidden(plan.hidden):
        return "it is switched off"
    if hook.kind in (TP_BTF, RAW_TP):
        point = btf.tracepoint(hook.attach_to)
        if point is None or f"tracepoint {hook.attach_to}" in plan.hidden:
            return f"this kernel has no tracepoint {hook.attach_to}"
        if hook.kind == RAW_TP:
            return ProgramKind(bpf.PROG_TYPE_RAW_TRACEPOINT)
        return ProgramKind(bpf.PROG_TYPE_TRACING, bpf.ATTACH_TRACE_RAW_TP, point.type_id)
    if hook.kind in _FUNCTIONS:
        btf_id = btf.func(hook.attach_to)
        if btf_id is None:
            return f"this kernel has no function {hook.attach_to}"
        return ProgramKind(bpf.PROG_TYPE_TRACING, _FUNCTIONS[hook.kind], btf_id)
    if hook.kind == KPROBE:
        return ProgramKind(bpf.PROG_TYPE_KPROBE) if perf.has_kprobes() else "it has no kprobes"
    if hook.kind == ITERATOR:
        btf_id = btf.func(f"bpf_iter_{hook.attach_to}")
        if btf_id is None:
            return f"this kernel has no iterator {hook.attach_to}"
        return ProgramKind(bpf.PROG_TYPE_TRACING, bpf.ATTACH_TRACE_ITER, btf_id)
    if hook.kind in TAILS:
        before = hook.attach_to.partition("/")[0]
        if before not in probes:
            return "calls are not seen either"
        return kind_of(Hook(TAILS[hook.kind][0], before), btf, plan, probes)
    if plan.subsystem or not (plan.packet_cgroups or plan.moving):
        return "no version 2 cgroup hierarchy is mounted"
    if "NET_ADMIN" in lacking():
        return "it takes the capability NET_ADMIN"
    return ProgramKind(bpf.PROG_TYPE_CGROUP_SKB, PACKETS[hook.kind])
