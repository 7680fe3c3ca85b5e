"""A builder of small BTF blobs, so that tests need neither root nor a kernel of a certain age."""

from __future__ import annotations

import struct
from collections.abc import Sequence

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST = range(1, 11)
RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(11, 20)

Fields = Sequence[tuple[str, int, int] | tuple[str, int, int, int]]
"""Name, type id, offset in bits and, of bit-fields, width."""


class Blob:
    """Types in order of creation; every method returns the new type's id, the first being 1."""

    def __init__(self) -> None:
        self._types: list[bytes] = []
        self._strings = b"\0"

    def string(self, text: str) -> int:
        if not text:
            return 0
        whole = b"\0" + text.encode() + b"\0"
        at = self._strings.find(whole)
        if at < 0:
            at = len(self._strings) - 1
            self._strings += text.encode() + b"\0"
        return at + 1

    def add(
        self,
        kind: int,
        name: str = "",
        size_or_type: int = 0,
        extra: Sequence[int] = (),
        count: int = 0,
        flag: bool = False,
    ) -> int:
        info = flag << 31 | kind << 24 | count
        words = (self.string(name), info, size_or_type, *extra)
        self._types.append(struct.pack(f"<{len(words)}I", *(word & 0xFFFFFFFF for word in words)))
        return len(self._types)

    def integer(
        self, name: str, size: int, *, signed: bool = False, boolean: bool = False, bits: int = 0
    ) -> int:
        encoding = (signed | boolean << 2) << 24 | (bits or 8 * size)
        return self.add(INT, name, size, [encoding])

    def pointer(self, target: int) -> int:
        return self.add(PTR, "", target)

    def array(self, element: int, length: int) -> int:
        return self.add(ARRAY, "", 0, [element, element, length])

    def struct(self, name: str, size: int, fields: Fields, *, kind: int = STRUCT) -> int:
        with_bit_fields = any(len(field) == 4 for field in fields)
        extra = []
        for field in fields:
            width = field[3] if len(field) == 4 else 0
            extra += [self.string(field[0]), field[1], width << 24 | field[2]]
        return self.add(kind, name, size, extra, len(fields), with_bit_fields)

    def union(self, name: str, size: int, fields: Fields) -> int:
        return self.struct(name, size, fields, kind=UNION)

    def enum(self, name: str, values: dict[str, int], size: int = 4) -> int:
        signed = any(value < 0 for value in values.values())
        extra = []
        for key, value in values.items():
            extra += [self.string(key), value, value >> 32][: 3 if size == 8 else 2]
        return self.add(ENUM64 if size == 8 else ENUM, name, size, extra, len(values), signed)

    def prototype(self, parameters: Sequence[int]) -> int:
        extra = [word for parameter in parameters for word in (0, parameter)]
        return self.add(FUNC_PROTO, "", 0, extra, len(parameters))

    def tracepoint(self, name: str, arguments: Sequence[int]) -> int:
        hidden = self.pointer(0)
        prototype = self.prototype([hidden, *arguments])
        return self.add(TYPEDEF, f"btf_trace_{name}", self.pointer(prototype))

    def encoded(self, magic: int = 0xEB9F, version: int = 1) -> bytes:
        types = b"".join(self._types)
        header = struct.pack(
            "<HBBIIIII", magic, version, 0, 24, 0, len(types), len(types), len(self._strings)
        )
        return header + types + self._strings
