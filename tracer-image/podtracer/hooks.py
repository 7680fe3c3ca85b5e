"""Where programs are attached: the kinds of hooks, and how code for each gets its arguments.

It is apart because four parties ask: the registry of probes, the compiler's flags, the attacher,
and what follows targets that come and go.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from podtracer import bpf

TP_BTF: Final = "tp_btf"
RAW_TP: Final = "raw_tp"
FENTRY: Final = "fentry"
FEXIT: Final = "fexit"
KPROBE: Final = "kprobe"
CGROUP_EGRESS: Final = "cgroup_skb/egress"
CGROUP_INGRESS: Final = "cgroup_skb/ingress"
ITERATOR: Final = "iter"

PACKETS: Final = {
    CGROUP_EGRESS: bpf.ATTACH_CGROUP_EGRESS,
    CGROUP_INGRESS: bpf.ATTACH_CGROUP_INGRESS,
}
"""Hooks at a cgroup's packets, and what bpf(2) calls them."""
TAIL_TP_BTF: Final = "tail_call/tp_btf"
TAIL_RAW_TP: Final = "tail_call/raw_tp"


class Style(enum.Enum):
    """How a program gets its arguments; the sources are compiled for one style at a time."""

    TYPED = enum.auto()
    """As words whose types the verifier knows."""
    UNTYPED = enum.auto()
    """As words that are mere numbers to it."""
    REGISTERS = enum.auto()
    """In the registers of the function that was interrupted."""

    def flags(self) -> list[str]:
        """Compiler flags for bpf/: see the comment at the top of podtrace.h."""
        return [
            f"-DARGUMENTS_TYPED={int(self is Style.TYPED)}",
            f"-DARGUMENTS_IN_REGISTERS={int(self is Style.REGISTERS)}",
        ]


_UNTYPED: Final = {
    RAW_TP: Style.UNTYPED,
    TAIL_RAW_TP: Style.UNTYPED,
    KPROBE: Style.REGISTERS,
}

TAILS: Final = {TAIL_TP_BTF: (TP_BTF, "after_typed"), TAIL_RAW_TP: (RAW_TP, "after_untyped")}
"""Behind another program: where that one is attached, and the array in which it finds this one."""
CONTINUATIONS: Final = ("sys_exit/sent", "sys_exit/received")
"""Places behind a program, in the order of enum continuation."""


@dataclass(frozen=True)
class Hook:
    """One place to attach a probe; `program` is its C function where not the probe's own."""

    kind: str
    attach_to: str = ""
    program: str = ""

    @property
    def style(self) -> Style:
        """How a program gets its arguments here."""
        return _UNTYPED.get(self.kind, Style.TYPED)

    @property
    def described(self) -> str:
        """The hook as libbpf spells a section: tp_btf/sched_switch."""
        return f"{self.kind}/{self.attach_to}" if self.attach_to else self.kind

    def is_hidden(self, hidden: frozenset[str]) -> bool:
        """Whether a test hides it: by "hook tp_btf/sched_switch", or "hook tp_btf" for its kind."""
        return f"hook {self.described}" in hidden or f"hook {self.kind}" in hidden
