"""How deep below the kernel's own root a hierarchy is mounted.

The probes compare a cgroup's ancestor at a level that the kernel counts from its root. On a node
that is itself a container, as those of kind are, the mount that the node sees begins further down,
and no file tells how far. Its own directory is an ancestor of the tracer's cgroup, though, and BPF
can ask which one.
"""

from __future__ import annotations

import os
import struct

from podtracer import bpf
from podtracer.errors import TracerError

_DEEPEST = 32
_KERNEL_ROOT = 1
_LOOKUP, _ANCESTOR_ID = 1, 123


def root_level(unified: str) -> int:
    """Level of the directory at which a version 2 hierarchy is mounted; 0 is the kernel's root.

    Raises TracerError where it cannot be told.
    """
    identity = os.stat(unified).st_ino
    if identity == _KERNEL_ROOT:
        return 0
    try:
        ancestors = _own_ancestors()
    except OSError as error:
        raise _unknown(unified, str(error)) from error
    if identity not in ancestors:
        raise _unknown(unified, "the tracer is not below it")
    return ancestors.index(identity)


def _unknown(unified: str, why: str) -> TracerError:
    return TracerError(
        "cgroup_level",
        f"{unified} is not the kernel's root of cgroups, and how deep it lies is not known: {why}",
        "The node seems to be a container itself; it needs Linux 5.10 or newer for that.",
    )


def _own_ancestors() -> list[int]:
    """Ids of the cgroups that this process is in, the kernel's root first."""
    ids = bpf.create_map(bpf.MAP_TYPE_ARRAY, 4, 8 * _DEEPEST, 1)
    try:
        program = bpf.load_program(
            _code(ids), "own_ancestors", bpf.PROG_TYPE_RAW_TRACEPOINT, 0, 0, {}
        )
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


def _code(ids: int) -> bytes:
    """Write the program: value[level] = bpf_get_current_ancestor_cgroup_id(level), for each."""

    def instruction(opcode: int, target: int, source: int, offset: int, number: int) -> bytes:
        return struct.pack("=BBhi", opcode, source << 4 | target, offset, number)

    code = [
        instruction(0x62, 10, 0, -4, 0),  # *(u32 *)(r10 - 4) = 0
        instruction(0x18, 1, 1, 0, ids) + instruction(0, 0, 0, 0, 0),  # r1 = the map
        instruction(0xBF, 2, 10, 0, 0),  # r2 = r10
        instruction(0x07, 2, 0, 0, -4),  # r2 += -4
        instruction(0x85, 0, 0, 0, _LOOKUP),
        instruction(0x55, 0, 0, 2, 0),  # if r0 != 0 skip 2
        instruction(0xB7, 0, 0, 0, 0),  # r0 = 0
        instruction(0x95, 0, 0, 0, 0),  # exit
        instruction(0xBF, 6, 0, 0, 0),  # r6 = r0
    ]
    for level in range(_DEEPEST):
        code += [
            instruction(0xB7, 1, 0, 0, level),  # r1 = level
            instruction(0x85, 0, 0, 0, _ANCESTOR_ID),
            instruction(0x7B, 6, 0, 8 * level, 0),  # *(u64 *)(r6 + 8 * level) = r0
        ]
    code += [instruction(0xB7, 0, 0, 0, 0), instruction(0x95, 0, 0, 0, 0)]
    return b"".join(code)
