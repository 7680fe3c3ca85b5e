"""What eBPF on this kernel can do, beyond Linux 5.8, as compiler flags for bpf/.

It is apart from needs.py because these are not types that the header could have: helpers, kernel
functions and the place of a bit-field. A test hides one as "helper NAME" or "func NAME".
"""

from __future__ import annotations

from collections.abc import Sequence

from podtracer.btf import Btf
from podtracer.hooks import Style

CAST_TYPES: Sequence[str] = (
    "task_struct", "css_set", "cgroup_subsys_state", "cgroup", "kernfs_node", "pid", "file",
    "inode", "super_block", "dentry", "mount", "fs_struct", "callback_head", "socket", "sock",
    "tcp_sock",
)  # fmt: skip
"""Structures that the C code reaches by bpf_rdonly_cast."""

HELPERS = {
    "get_current_task_btf": "HAVE_CURRENT_TYPED",
    "task_pt_regs": "HAVE_TASK_REGISTERS",
}
"""Helpers of Linux 5.11 and 5.15, and the flags that tell the C code of them."""

_IN_IOWAIT = ("struct task_struct", "in_iowait")


def flags(btf: Btf, hidden: frozenset[str], style: Style) -> list[str]:
    """Return the flags; see the comment at the top of podtrace.h."""
    # Behind other hooks than those with types it would gain little.
    cast = style is Style.TYPED and can_cast(btf, hidden)
    found = {"HAVE_CAST": int(cast)}
    if cast:
        found.update({f"BTF_ID_{name}": btf.find("struct", name) or 0 for name in CAST_TYPES})
    for helper, flag in HELPERS.items():
        found[flag] = int(_has_helper(btf, helper) and f"helper {helper}" not in hidden)
    waiting = btf.member(*_IN_IOWAIT)
    if waiting is not None:
        byte, bit = divmod(waiting.bit_offset, 8)
        found["IN_IOWAIT_BYTE"] = waiting.offset + byte
        found["IN_IOWAIT_MASK"] = 1 << bit
    return [f"-D{name}={value}" for name, value in found.items()]


def can_cast(btf: Btf, hidden: frozenset[str]) -> bool:
    """Whether there is bpf_rdonly_cast (Linux 6.2), and all that is cast to."""
    return (
        "func bpf_rdonly_cast" not in hidden
        and "struct callback_head" not in hidden
        and btf.func("bpf_rdonly_cast") is not None
        and btf.member("struct callback_head", "next") is not None
        and all(btf.find("struct", name) is not None for name in CAST_TYPES)
    )


def _has_helper(btf: Btf, name: str) -> bool:
    return btf.enum_value("bpf_func_id", f"BPF_FUNC_{name}") is not None
