"""The kernel's types as a small C header: only the members that are needed, the rest as padding.

Made from BTF, it is right for the running kernel and needs no kernel headers; a full one would be
2.8 MB and cost seconds to compile. The layout is stated, never inferred: every struct is packed
with explicit padding, and aligned so that the compiler still emits whole-word loads.
"""

from __future__ import annotations

import re
from typing import Final

from podtracer.btf import Btf
from podtracer.btf_types import (
    ARRAY,
    ENUM,
    ENUM64,
    FWD,
    INT,
    LONGEST_CHAIN,
    PTR,
    STRUCT,
    UNION,
    BtfError,
)
from podtracer.needs import ALL, Needs, Selection, layout, macro, missing, named, present

__all__ = ["emit", "layout", "macro", "missing"]

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WIDEST: Final = 8
_ENUM_MODES: Final = {1: "byte", 2: "HI", 8: "DI"}


def emit(btf: Btf, needs: Needs) -> str:
    """Write the C header for `needs`; what the kernel lacks is left out.

    For what it has there are macros: HAVE_struct_sock, HAVE_sock__sk_protocol (dots become two
    underscores), HAVE_tracepoint_NAME with ARGUMENTS_NAME, HAVE_func_NAME. It builds on u8 to
    u64 and s8 to s64 of linux/types.h. Raises BtfError if the BTF contradicts itself.
    """
    return _Emitter(btf, needs).text()


class _Emitter:
    def __init__(self, btf: Btf, needs: Needs) -> None:
        self._btf = btf
        self._needs = needs
        self._selection = Selection(btf, needs)
        self._alignments: dict[int, int | None] = {}
        self._defined: dict[int, list[str]] = {}
        self._tags: dict[str, str] = {}
        self._forward: dict[str, None] = {}
        self._pads = 0

    def text(self) -> str:
        typedefs = []
        for key in self._needs:
            kind, _, name = key.partition(" ")
            type_id = named(self._btf, key)
            if type_id is not None and kind in ("struct", "union"):
                self._define(type_id)
            elif type_id is not None and kind == "typedef":
                typedefs += self._declare(type_id, name, "typedef ")
        lines = [f"#define {macro(key, name)} 1" for key, name in present(self._btf, self._needs)]
        lines += self._argument_counts() + self._enums()
        lines += [f"{tag};" for tag in self._forward]
        for definition in self._defined.values():
            lines += definition
        return "\n".join(lines + typedefs) + "\n"

    def _argument_counts(self) -> list[str]:
        lines = []
        for key in self._needs:
            kind, _, name = key.partition(" ")
            tracepoint = self._btf.tracepoint(name) if kind == "tracepoint" else None
            if tracepoint is not None:
                lines.append(f"#define ARGUMENTS_{name} {len(tracepoint.arguments)}")
        return lines

    def _enums(self) -> list[str]:
        lines = []
        for key, names in self._needs.items():
            kind, _, enum_name = key.partition(" ")
            type_id = named(self._btf, key) if enum_name else None
            if kind != "enum" or (enum_name and type_id is None):
                continue
            known = [] if type_id is None else self._btf.enumerators(type_id)
            if ALL not in names:
                found = [(name, self._btf.enum_value(enum_name, name)) for name in names]
                known = [(name, value) for name, value in found if value is not None]
            if known:
                values = ", ".join(f"{name} = {_constant(value)}" for name, value in known)
                mode = _ENUM_MODES.get(self._btf.size(type_id)) if type_id is not None else None
                attribute = f" __attribute__((mode({mode})))" if mode else ""
                lines.append(f"{key} {{ {values} }}{attribute};")
        return lines

    def _define(self, type_id: int) -> str:
        """Define a struct or union, what it embeds first; return its C name."""
        tag = self._tag(type_id)
        if tag is None:
            raise BtfError(f"type {type_id} has no usable name")
        if type_id not in self._defined:
            alignment = self._alignment(type_id)
            body = self._body(type_id)
            attribute = f"__attribute__((packed, aligned({alignment})))"
            self._forward[tag] = None
            self._defined[type_id] = [f"{tag} {{", *_indent(body), f"}} {attribute};"]
        return tag

    def _tag(self, type_id: int) -> str | None:
        """C name of a struct or union, None if it has none or another type has taken it."""
        name = self._btf.name(type_id)
        if not _IDENTIFIER.fullmatch(name):
            return None
        kind = "union" if self._btf.is_union(type_id) else "struct"
        return f"{kind} {name}" if self._tags.setdefault(name, kind) == kind else None

    def _body(self, type_id: int) -> list[str]:
        fields = self._btf.fields(type_id)
        chosen = [fields[index] for index in sorted(self._selection.fields_of(type_id))]
        size = self._btf.size(type_id)
        is_union = self._btf.kind(type_id) == UNION
        lines = self._padding(size * 8, 0) if is_union else []
        at = 0
        for field in sorted(chosen, key=lambda field: field.bit_offset):
            bits = field.bit_size or self._btf.size(field.type_id) * 8
            if not is_union:
                if field.bit_offset < at or field.bit_offset + bits > size * 8:
                    raise BtfError(f"type {type_id}: member {field.name} does not fit its place")
                lines += self._padding(field.bit_offset - at, at)
                at = field.bit_offset + bits
            if field.bit_size:
                kind = self._scalar(self._btf.resolve(field.type_id)) or "u64"
                lines.append(f"{kind} {field.name} : {field.bit_size};")
            else:
                lines += self._declare(field.type_id, field.name)
        return lines if is_union else lines + self._padding(size * 8 - at, at)

    def _padding(self, bits: int, at: int) -> list[str]:
        """Fill `bits` bits from bit `at`: unnamed bit-fields up to a whole byte, then bytes."""
        lines = []
        head = min(bits, -at % 8)
        if head:
            lines.append(f"u8 : {head};")
        whole, tail = divmod(bits - head, 8)
        if whole:
            self._pads += 1
            lines.append(f"u8 __pad{self._pads}[{whole}];")
        if tail:
            lines.append(f"u8 : {tail};")
        return lines

    def _declare(self, type_id: int, name: str, prefix: str = "") -> list[str]:
        """Declare a member (or, with a prefix, a typedef) of any type by value."""
        dimensions = ""
        size = self._btf.size(type_id)
        resolved = self._btf.resolve(type_id)
        for _ in range(LONGEST_CHAIN):
            if self._btf.kind(resolved) != ARRAY:
                break
            element, length = self._btf.array(resolved)
            dimensions += f"[{length}]"
            resolved = self._btf.resolve(element)
        kind = self._btf.kind(resolved)
        if kind == PTR:
            return [f"{prefix}{self._pointer(resolved)}{name}{dimensions};"]
        if kind in (STRUCT, UNION):
            own = self._btf.name(resolved)
            if own and self._btf.find("union" if kind == UNION else "struct", own) == resolved:
                return [f"{prefix}{self._define(resolved)} {name}{dimensions};"]
            word = "union" if kind == UNION else "struct"
            attribute = f"__attribute__((packed, aligned({self._alignment(resolved)})))"
            closing = f"}} {attribute} {name}".rstrip() + f"{dimensions};"
            return [f"{prefix}{word} {{", *_indent(self._body(resolved)), closing]
        scalar = self._scalar(resolved)
        if scalar is not None:
            return [f"{prefix}{scalar} {name}{dimensions};"]
        return [f"{prefix}u8 {name}[{size}];"]

    def _pointer(self, type_id: int) -> str:
        stars = ""
        for _ in range(LONGEST_CHAIN):
            if self._btf.kind(type_id) != PTR:
                break
            stars += "*"
            type_id = self._btf.resolve(self._btf.target(type_id))
        if self._btf.kind(type_id) in (STRUCT, UNION, FWD):
            tag = self._tag(type_id)
            if tag is not None:
                self._forward[tag] = None
                return f"{tag} {stars}"
        return f"{self._scalar(type_id) or 'void'} {stars}"

    def _scalar(self, type_id: int) -> str | None:
        """Name of a resolved integer or enum type, None if C has none of that width."""
        kind = self._btf.kind(type_id)
        size = self._btf.size(type_id)
        if kind == INT:
            integer = self._btf.integer(type_id)
            if integer.boolean and size == 1:
                return "_Bool"
            if self._btf.name(type_id) == "char":
                return "char"
            signed = integer.signed
        elif kind in (ENUM, ENUM64):
            signed = self._btf.signed_enum(type_id)
        else:
            return None
        return f"{'s' if signed else 'u'}{8 * size}" if size in (1, 2, 4, 8) else None

    def _alignment(self, type_id: int) -> int:
        """Natural alignment; 1 for a struct that the kernel itself packs."""
        type_id = self._btf.element(type_id)
        if self._btf.kind(type_id) not in (STRUCT, UNION):
            size = self._btf.size(type_id)
            return min(size & -size, _WIDEST) or 1
        if type_id in self._alignments:
            known = self._alignments[type_id]
            if known is None:
                raise BtfError(f"type {type_id}: contains itself")
            return known
        self._alignments[type_id] = None
        widest = 1
        packed = False
        for field in self._btf.fields(type_id):
            needed = self._alignment(field.type_id)
            widest = max(widest, needed)
            packed |= not field.bit_size and field.bit_offset % (8 * needed) != 0
        if packed or self._btf.size(type_id) % widest:
            widest = 1
        self._alignments[type_id] = widest
        return widest


def _indent(lines: list[str]) -> list[str]:
    return [f"\t{line}" for line in lines]


def _constant(value: int) -> str:
    return str(value) if -(1 << 31) < value < 1 << 31 else f"{value:#x}ULL"
