"""What the tracer asks of the running kernel's BTF: types, members, constants, tracepoints.

It is apart because three parties ask: the C header, the loader (type ids of tracepoints, iterators
and kernel functions) and the probe registry (does this kernel have it).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from pathlib import Path
from typing import Final, NamedTuple

from podtracer.btf_types import (
    ENUM,
    ENUM64,
    FUNC,
    FUNC_PROTO,
    FWD,
    LONGEST_CHAIN,
    PTR,
    STRUCT,
    TYPEDEF,
    UNION,
    BtfError,
    Field,
    TypeTable,
)

__all__ = ["Btf", "BtfError", "Member", "Tracepoint"]

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")

_KINDS: Final = {
    "struct": (STRUCT,),
    "union": (UNION,),
    "enum": (ENUM, ENUM64),
    "typedef": (TYPEDEF,),
    "func": (FUNC,),
}


class Member(NamedTuple):
    """Where a member lies: bytes from the start of the outermost struct, then bits in that byte."""

    offset: int
    bit_offset: int
    bit_size: int
    type_id: int


class Tracepoint(NamedTuple):
    """A tracepoint: what `attach_btf_id` takes, and the types of its arguments in order."""

    type_id: int
    arguments: tuple[int, ...]


class Btf(TypeTable):
    """A BTF blob that can be searched by name."""

    def __init__(self, data: bytes) -> None:
        """Index `data`; raise BtfError if it is no whole little-endian BTF of version 1."""
        super().__init__(data)
        self._names = self._name_offsets.tobytes()
        self._found: dict[tuple[str, str], int | None] = {}

    @classmethod
    def load(cls, path: str | Path = VMLINUX) -> Btf:
        """Read and index the BTF at `path`; raise BtfError naming the path if that fails."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise BtfError(f"{path}: {error.strerror}") from error
        try:
            return cls(data)
        except BtfError as error:
            raise BtfError(f"{path}: {error}") from error

    def find(self, kind: str, name: str) -> int | None:
        """Id of the first "struct", "union", "enum", "typedef" or "func" of that name."""
        key = (kind, name)
        if key not in self._found:
            self._found[key] = self._search(_KINDS[kind], name)
        return self._found[key]

    def func(self, name: str) -> int | None:
        """Id of a kernel function (`bpf_iter_task`, `bpf_rdonly_cast`) or None."""
        return self.find("func", name)

    def tracepoint(self, name: str) -> Tracepoint | None:
        """The tracepoint `name`, or None; the leading `void *` of its prototype is left out."""
        type_id = self.find("typedef", f"btf_trace_{name}")
        if type_id is None:
            return None
        pointer = self.resolve(type_id)
        prototype = self.target(pointer) if self.kind(pointer) == PTR else 0
        if self.kind(prototype) != FUNC_PROTO:
            raise BtfError(f"btf_trace_{name} is no pointer to a function")
        return Tracepoint(type_id, self.parameters(prototype)[1:])

    def member(self, struct_name: str, path: str) -> Member | None:
        """Find `path` ("a.b.c") in "struct x", "union x" or a bare struct or typedef name.

        Anonymous members are seen through, arrays are entered at their first element, pointers
        are not followed.
        """
        type_id = self.named(struct_name)
        return None if type_id is None else self.member_of(type_id, path)

    def named(self, type_name: str) -> int | None:
        """Id of "struct x", "union x", "enum x", "typedef x", or of a bare struct, then typedef."""
        kind, _, name = type_name.rpartition(" ")
        if kind:
            return self.find(kind, name)
        struct_id = self.find("struct", name)
        return self.find("typedef", name) if struct_id is None else struct_id

    def member_of(self, type_id: int, path: str) -> Member | None:
        """Like `member`, for a type known by its id."""
        bits = 0
        field = Field("", type_id, 0, 0)
        for name in path.split("."):
            found = self._field_named(self.element(field.type_id), name, 0)
            if found is None:
                return None
            bits += found.bit_offset
            field = found
        return Member(bits // 8, bits % 8, field.bit_size, field.type_id)

    def enum_value(self, enum_name: str, value_name: str) -> int | None:
        """Value of an enumerator of the named enum; with "" of any enum, anonymous ones too."""
        if enum_name:
            type_id = self.find("enum", enum_name)
            return None if type_id is None else dict(self.enumerators(type_id)).get(value_name)
        for position in self._hits(value_name):
            type_id = bisect_right(self._starts, position)
            if type_id and self.kind(type_id) in _KINDS["enum"]:
                value = dict(self.enumerators(type_id)).get(value_name)
                if value is not None:
                    return value
        return None

    def spell(self, type_id: int) -> str:
        """The C spelling without qualifiers, for comparing prototypes: "struct sock *", "u64"."""
        stars = ""
        for _ in range(LONGEST_CHAIN):
            type_id = self.unqualified(type_id)
            kind = self.kind(type_id)
            if kind != PTR:
                break
            stars += "*"
            type_id = self.target(type_id)
        word = {STRUCT: "struct ", UNION: "union ", ENUM: "enum ", ENUM64: "enum "}.get(kind, "")
        if kind == FWD:
            word = "union " if self.is_union(type_id) else "struct "
        name = "void" if type_id == 0 else self.name(type_id) or "(anonymous)"
        return f"{word}{name} {stars}".rstrip()

    def _field_named(self, type_id: int, name: str, depth: int) -> Field | None:
        if depth > LONGEST_CHAIN:
            raise BtfError(f"type {type_id}: contains itself")
        if self.kind(type_id) not in (STRUCT, UNION):
            return None
        for field in self.fields(type_id):
            if field.name == name:
                return field
            if not field.name:
                inner = self._field_named(self.resolve(field.type_id), name, depth + 1)
                if inner is not None:
                    return inner._replace(bit_offset=inner.bit_offset + field.bit_offset)
        return None

    def _search(self, kinds: tuple[int, ...], name: str) -> int | None:
        pattern = self._pattern(name)
        at = -1 if pattern is None else self._names.find(pattern)
        while pattern is not None and at >= 0:
            if at % 4 == 0 and self.kind(at // 4 + 1) in kinds:
                return at // 4 + 1
            at = self._names.find(pattern, at + 1)
        return None

    def _hits(self, name: str) -> list[int]:
        pattern = self._pattern(name)
        hits: list[int] = []
        at = -1 if pattern is None else self.data.find(pattern, self._first_byte, self._last_byte)
        while pattern is not None and at >= 0:
            if (at - self._first_byte) % 4 == 0:
                hits.append((at - self._first_byte) // 4)
            at = self.data.find(pattern, at + 1, self._last_byte)
        return hits

    def _pattern(self, name: str) -> bytes | None:
        # The kernel's BTF holds each string once, and whole, so its offset stands for the name.
        at = self._strings.find(b"\0" + name.encode() + b"\0") if name else -1
        return None if at < 0 else struct.pack("<I", at + 1)
