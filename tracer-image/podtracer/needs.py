"""What the BPF programs need of the kernel's types, and what of it this kernel has.

A family of probes lists types and members by name; kernels differ, so each may be absent. It is
apart from header.py because absence is also what `hello` and the report tell about a family.

Keys of needs and what their values list:

* "struct x", "union x", "typedef x": members, dotted through embedded structs ("se.vruntime");
  "*" for all of them. A named struct that is embedded is opaque unless it has needs of its own.
* "enum x": enumerators, "*" for all; "enum" alone: enumerators of any enum, anonymous ones too.
* "tracepoint x", "func x": nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from podtracer.btf import Btf
from podtracer.btf_types import ENUM, ENUM64, LONGEST_CHAIN, STRUCT, UNION, BtfError

Needs = Mapping[str, Sequence[str]]

ALL: Final = "*"
_AGGREGATES: Final = ("struct", "union", "typedef")


class Selection:
    """The members to emit: for each struct or union id, the indexes of its chosen fields.

    A type with no chosen field is one that others embed: only its size matters.
    """

    def __init__(self, btf: Btf, needs: Needs) -> None:
        self._btf = btf
        self.chosen: dict[int, set[int]] = {}
        for key, paths in needs.items():
            type_id = named(btf, key)
            if type_id is None or key.split(" ")[0] not in _AGGREGATES:
                continue
            root = btf.element(type_id)
            self._open(root)
            for path in paths:
                if path == ALL:
                    self._choose_all(root)
                elif btf.member_of(type_id, path) is not None:
                    self._choose(root, path.split("."))

    def fields_of(self, type_id: int) -> set[int]:
        """Indexes of the chosen fields of a struct or union."""
        return self.chosen.get(type_id, set())

    def _open(self, type_id: int) -> set[int]:
        return self.chosen.setdefault(type_id, set())

    def _choose(self, type_id: int, path: Sequence[str], depth: int = 0) -> bool:
        _check_depth(type_id, depth)
        for index, field in enumerate(self._btf.fields(type_id)):
            inner = self._btf.element(field.type_id)
            if not field.name:
                if self._choose(inner, path, depth + 1):
                    self._open(type_id).add(index)
                    return True
            elif field.name == path[0]:
                self._open(type_id).add(index)
                if len(path) > 1:
                    return self._choose(inner, path[1:], depth + 1)
                self._choose_whole(inner)
                return True
        return False

    def _choose_all(self, type_id: int) -> None:
        fields = self._btf.fields(type_id)
        if len(self._open(type_id)) == len(fields):
            return
        self._open(type_id).update(range(len(fields)))
        for field in fields:
            self._choose_whole(self._btf.element(field.type_id))

    def _choose_whole(self, type_id: int) -> None:
        """Choose all of an anonymous type, which nobody could ask for by name."""
        if self._btf.kind(type_id) in (STRUCT, UNION):
            if self._btf.name(type_id):
                self._open(type_id)
            else:
                self._choose_all(type_id)


def named(btf: Btf, key: str) -> int | None:
    """Id of the type that a key of needs names, None if this kernel lacks it."""
    kind, _, name = key.partition(" ")
    if kind == "tracepoint":
        tracepoint = btf.tracepoint(name)
        return None if tracepoint is None else tracepoint.type_id
    return btf.find(kind, name) if name else None


def present(btf: Btf, needs: Needs) -> Iterator[tuple[str, str]]:
    """Each (key, member) that this kernel has; the member is "" for the type itself."""
    for key, names in needs.items():
        type_id = named(btf, key)
        if type_id is not None:
            yield key, ""
        elif key != "enum":
            continue
        for name in names:
            if name == ALL and type_id is not None:
                yield from ((key, each) for each in _all_names(btf, type_id))
            elif _has(btf, key, name):
                yield key, name


def missing(btf: Btf, needs: Needs) -> list[str]:
    """What this kernel lacks: "struct bar", "struct sock.sk_foo", "tracepoint tcp_probe"."""
    have = set(present(btf, needs))
    absent = []
    for key, names in needs.items():
        if key != "enum" and (key, "") not in have:
            absent.append(key)
        else:
            absent += [f"{key}.{name}" for name in names if name != ALL and (key, name) not in have]
    return absent


def layout(btf: Btf, needs: Needs) -> dict[tuple[str, str], tuple[int, int]]:
    """Byte offset and size of each needed member; of a bit-field, of the bytes it touches."""
    places = {}
    for key, path in present(btf, needs):
        type_id = named(btf, key)
        member = btf.member_of(type_id, path) if path and type_id is not None else None
        if member is not None:
            bits = member.bit_offset + member.bit_size
            size = (bits + 7) // 8 if member.bit_size else btf.size(member.type_id)
            places[key, path] = (member.offset, size)
    return places


def macro(key: str, member: str = "") -> str:
    """The macro that tells the C code of a present type or member.

    ("struct sock", "") gives HAVE_struct_sock, ("struct sock", "a.b") gives HAVE_sock__a__b.
    """
    kind, _, name = key.partition(" ")
    if not member:
        return f"HAVE_{kind}_{name}"
    return "HAVE_" + "__".join(part for part in (name, *member.split(".")) if part)


def _check_depth(type_id: int, depth: int) -> None:
    if depth > LONGEST_CHAIN:
        raise BtfError(f"type {type_id}: contains itself")


def _all_names(btf: Btf, type_id: int, depth: int = 0) -> Iterator[str]:
    _check_depth(type_id, depth)
    if btf.kind(type_id) in (ENUM, ENUM64):
        yield from (name for name, _ in btf.enumerators(type_id))
        return
    for field in btf.fields(btf.element(type_id)):
        if field.name:
            yield field.name
        else:
            yield from _all_names(btf, field.type_id, depth + 1)


def _has(btf: Btf, key: str, name: str) -> bool:
    kind, _, type_name = key.partition(" ")
    if kind == "enum":
        return btf.enum_value(type_name, name) is not None
    type_id = named(btf, key)
    return type_id is not None and btf.member_of(type_id, name) is not None
