"""How deep below the kernel's own root a hierarchy is mounted.

The probes compare a cgroup's ancestor at a level that the kernel counts from its root. On a node
that is itself a container, as those of kind are, the mount that the node sees begins further down,
and no file tells how far. Its own directory is an ancestor of the tracer's cgroup, though, and BPF
can find out which one, on the probes' own way from structure to structure. There is a helper, but
only from Linux 5.15 on, and not for version 1.
"""

from __future__ import annotations

import os
import struct

from podtracer import bpf
from podtracer.btf import Btf
from podtracer.btf_types import BtfError
from podtracer.errors import TracerError

_DEEPEST = 32
_KERNEL_ROOT = 1
_LOOKUP, _CURRENT_TASK, _READ_KERNEL = 1, 35, 113


def root_level(top: str, subsystem: str) -> int:
    """Level of the directory at which a hierarchy is mounted; 0 is the kernel's root.

    `subsystem` is the controller of version 1 whose it is, "" where it is of version 2. Raises
    TracerError where the level cannot be told.
    """
    identity = os.stat(top).st_ino
    if identity == _KERNEL_ROOT:
        return 0
    try:
        ancestors = own_ancestors(subsystem)
    except (OSError, BtfError) as error:
        raise _unknown(top, str(error)) from error
    if identity not in ancestors:
        raise _unknown(top, "the tracer is not below it")
    return ancestors.index(identity)


def _unknown(top: str, why: str) -> TracerError:
    return TracerError(
        "cgroup_level",
        f"{top} is not the kernel's root of cgroups, and how deep it lies is not known: {why}",
        "The node seems to be a container itself; it needs Linux 5.10 or newer for that.",
    )


def own_ancestors(subsystem: str) -> list[int]:
    """Ids of the cgroups of a hierarchy that this process is in, the kernel's root first.

    Raises OSError where the kernel does not tell, BtfError where its types are not what they were.
    """
    ids = bpf.create_map(bpf.MAP_TYPE_ARRAY, 4, 8 * _DEEPEST, 1)
    try:
        code = _begin(ids) + _walk(Btf.load(), subsystem) + _END
        program = bpf.load_program(code, "own_ancestors", bpf.PROG_TYPE_RAW_TRACEPOINT, 0, 0, {})
        try:
            bpf.run_once(program)
        finally:
            os.close(program)
        value = bpf.Map(ids, 4, 8 * _DEEPEST, 1).lookup(bytes(4))
    finally:
        os.close(ids)
    assert value is not None
    found = struct.unpack(f"={_DEEPEST}Q", value)
    return [identity for identity in found if identity]


def _instruction(opcode: int, target: int, source: int, offset: int, number: int) -> bytes:
    return struct.pack("=BBhi", opcode, source << 4 | target, offset, number)


_END = _instruction(0xB7, 0, 0, 0, 0) + _instruction(0x95, 0, 0, 0, 0)  # return 0


def _begin(ids: int) -> bytes:
    """Write the beginning: r6 = the map's only value, where the ids go."""
    return b"".join(
        (
            _instruction(0x62, 10, 0, -4, 0),  # *(u32 *)(r10 - 4) = 0
            _instruction(0x18, 1, 1, 0, ids) + _instruction(0, 0, 0, 0, 0),  # r1 = the map
            _instruction(0xBF, 2, 10, 0, 0),  # r2 = r10
            _instruction(0x07, 2, 0, 0, -4),  # r2 += -4
            _instruction(0x85, 0, 0, 0, _LOOKUP),
            _instruction(0x55, 0, 0, 2, 0),  # if r0 != 0 skip 2
            _END,
            _instruction(0xBF, 6, 0, 0, 0),  # r6 = r0
        )
    )


def _walk(btf: Btf, subsystem: str) -> bytes:
    """Write: value[level] = id of the ancestor at that level, on the way from the running task."""
    code = _instruction(0x85, 0, 0, 0, _CURRENT_TASK) + _instruction(0xBF, 8, 0, 0, 0)  # r8 = task
    code += _follow(8, 8, _offset(btf, "task_struct", "cgroups"))
    if subsystem:
        number = btf.enum_value("cgroup_subsys_id", subsystem)
        if number is None:
            raise BtfError(f"this kernel has no {subsystem}")
        code += _follow(8, 8, _offset(btf, "css_set", "subsys") + 8 * number)
        code += _follow(8, 8, _offset(btf, "cgroup_subsys_state", "cgroup"))
    else:
        code += _follow(8, 8, _offset(btf, "css_set", "dfl_cgrp"))
    code += _follow(7, 8, _offset(btf, "cgroup", "level"), size=4)
    for level in range(_DEEPEST):
        if btf.member("struct cgroup", "ancestors") is not None:
            step = _follow(9, 8, _offset(btf, "cgroup", "ancestors") + 8 * level)
            step += _follow(9, 9, _offset(btf, "cgroup", "kn"))
            step += _follow(9, 9, _offset(btf, "kernfs_node", "id"))
        else:
            step = _follow(9, 8, _offset(btf, "cgroup", "ancestor_ids") + 8 * level)
        step += _instruction(0x7B, 6, 9, 8 * level, 0)  # *(u64 *)(r6 + 8 * level) = r9
        # if r7 < level skip the step: what lies behind the array is no ancestor.
        code += _instruction(0xA5, 7, 0, len(step) // bpf.INSTRUCTION_BYTES, level) + step
    return code


def _follow(target: int, source: int, offset: int, size: int = 8) -> bytes:
    """Write: target = what stands at an offset from source, read as probes do; 0 on a fault."""
    load = 0x79 if size == 8 else 0x61
    return b"".join(
        (
            _instruction(0xBF, 3, source, 0, 0),  # r3 = source
            _instruction(0x07, 3, 0, 0, offset),  # r3 += offset
            _instruction(0xB7, 2, 0, 0, size),  # r2 = size
            _instruction(0xBF, 1, 10, 0, 0),  # r1 = r10
            _instruction(0x07, 1, 0, 0, -16),  # r1 += -16
            _instruction(0x85, 0, 0, 0, _READ_KERNEL),
            _instruction(load, target, 10, -16, 0),  # target = *(r10 - 16)
        )
    )


def _offset(btf: Btf, structure: str, member: str) -> int:
    found = btf.member(f"struct {structure}", member)
    if found is None:
        raise BtfError(f"this kernel has no struct {structure}.{member}")
    return found.offset
