"""The type table of a BTF blob: where each type starts and what its words mean.

It is apart from the questions asked of it (btf.py) because this is the file format and nothing
else. A kernel has some 130,000 types of which the tracer needs a few dozen, so indexing only walks
the section once for the position of each type; everything else is decoded when asked for.

Format: Documentation/bpf/btf.rst of the Linux kernel.
"""

from __future__ import annotations

import struct
from array import array
from typing import Final, NamedTuple

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST = range(1, 11)
RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(11, 20)

_QUALIFIERS: Final = frozenset((VOLATILE, CONST, RESTRICT, TYPE_TAG))
_ALIASES: Final = _QUALIFIERS | {TYPEDEF}
# 32-bit words that follow the three of every type: a fixed number, then some for each element.
_FIXED_WORDS: Final = {INT: 1, ARRAY: 3, VAR: 1, DECL_TAG: 1}
_ELEMENT_WORDS: Final = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, DATASEC: 3, ENUM64: 3}
_HEADER: Final = struct.Struct("<HBBIIIII")
_MAGIC: Final = 0xEB9F
_SWAPPED_MAGIC: Final = 0x9FEB
LONGEST_CHAIN: Final = 64
_POINTER_BYTES: Final = 8
_INT_SIGNED: Final = 1
_INT_BOOL: Final = 4


class BtfError(Exception):
    """The BTF cannot be read: absent, cut, damaged, or of a format this reader does not know."""


class Field(NamedTuple):
    """One member as its struct or union lists it; `bit_size` is 0 unless it is a bit-field."""

    name: str
    type_id: int
    bit_offset: int
    bit_size: int


class Integer(NamedTuple):
    """An integer type; `bits` is below `8 * size` only in the bit-fields of old BTF."""

    size: int
    bits: int
    bit_offset: int
    signed: bool
    boolean: bool


class TypeTable:
    """The types of one BTF blob by id; id 0 is void."""

    def __init__(self, data: bytes) -> None:
        """Index `data`; raise BtfError if it is no whole little-endian BTF of version 1."""
        types, strings = _sections(data)
        self.data = data
        self._first_byte = types.start
        self._last_byte = types.stop
        self._strings = data[strings.start : strings.stop]
        self._words = memoryview(data)[types.start : types.stop].cast("I")
        self._starts, self._name_offsets = _index(self._words)
        self._fields: dict[int, tuple[Field, ...]] = {}

    def __len__(self) -> int:
        """Number of types, void included."""
        return len(self._starts) + 1

    def kind(self, type_id: int) -> int:
        """Kind number of a type, 0 for void."""
        return self._info(type_id) >> 24 & 0x1F if type_id else 0

    def name(self, type_id: int) -> str:
        """Name of a type, "" if it has none."""
        return self._string(self._words[self._start(type_id)]) if type_id else ""

    def target(self, type_id: int) -> int:
        """The type that a pointer, typedef, qualifier, function or tag refers to."""
        return self._words[self._start(type_id) + 2]

    def is_union(self, type_id: int) -> bool:
        """Whether a union, or a forward declaration of one, is meant."""
        kind = self.kind(type_id)
        return kind == UNION or (kind == FWD and bool(self._info(type_id) >> 31))

    def resolve(self, type_id: int) -> int:
        """The type behind typedefs and qualifiers."""
        return self._strip(type_id, _ALIASES)

    def unqualified(self, type_id: int) -> int:
        """The type behind const, volatile, restrict and type tags; typedefs stay."""
        return self._strip(type_id, _QUALIFIERS)

    def element(self, type_id: int) -> int:
        """The resolved element of an array of any dimensions; any other type resolved."""
        for _ in range(LONGEST_CHAIN):
            type_id = self.resolve(type_id)
            if self.kind(type_id) != ARRAY:
                return type_id
            type_id = self.array(type_id)[0]
        raise BtfError(f"type {type_id}: array of itself")

    def array(self, type_id: int) -> tuple[int, int]:
        """Element type and number of elements of an array."""
        start = self._start(type_id)
        return self._words[start + 3], self._words[start + 5]

    def integer(self, type_id: int) -> Integer:
        """Width and sign of an integer type."""
        start = self._start(type_id)
        encoding = self._words[start + 3]
        flags = encoding >> 24 & 0xF
        return Integer(
            self._words[start + 2],
            encoding & 0xFF,
            encoding >> 16 & 0xFF,
            bool(flags & _INT_SIGNED),
            bool(flags & _INT_BOOL),
        )

    def parameters(self, prototype: int) -> tuple[int, ...]:
        """Types of a function prototype's parameters."""
        start = self._start(prototype)
        count = self._words[start + 1] & 0xFFFF
        return tuple(self._words[start + 4 + 2 * index] for index in range(count))

    def enumerators(self, type_id: int) -> list[tuple[str, int]]:
        """Names and values of an enum, in order."""
        start = self._start(type_id)
        info = self._words[start + 1]
        wide = self.kind(type_id) == ENUM64
        width, sign_bit = (3, 1 << 63) if wide else (2, 1 << 31)
        values = []
        for at in range(start + 3, start + 3 + width * (info & 0xFFFF), width):
            value = self._words[at + 1] | (self._words[at + 2] << 32 if wide else 0)
            if info >> 31 and value & sign_bit:
                value -= sign_bit << 1
            values.append((self._string(self._words[at]), value))
        return values

    def fields(self, type_id: int) -> tuple[Field, ...]:
        """Members of a struct or union in order, anonymous ones included."""
        known = self._fields.get(type_id)
        if known is None:
            known = self._fields[type_id] = tuple(self._read_fields(type_id))
        return known

    def signed_enum(self, type_id: int) -> bool:
        """Whether an enum's values are signed (kernels before 6.0 do not say and give False)."""
        return bool(self._info(type_id) >> 31)

    def size(self, type_id: int) -> int:
        """Size in bytes; 0 for void, functions and flexible arrays."""
        count = 1
        for _ in range(LONGEST_CHAIN):
            type_id = self.resolve(type_id)
            kind = self.kind(type_id)
            if kind == PTR:
                return count * _POINTER_BYTES
            if kind in (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT, DATASEC):
                return count * self._words[self._start(type_id) + 2]
            if kind != ARRAY:
                return 0
            type_id, length = self.array(type_id)
            count *= length
        raise BtfError(f"type {type_id}: array of itself")

    def _read_fields(self, type_id: int) -> list[Field]:
        start = self._start(type_id)
        info = self._words[start + 1]
        if info >> 24 & 0x1F not in (STRUCT, UNION):
            return []
        fields = []
        for at in range(start + 3, start + 3 + 3 * (info & 0xFFFF), 3):
            name_offset, field_type, bits = self._words[at : at + 3]
            if info >> 31:
                bits, width = bits & 0xFFFFFF, bits >> 24
            else:
                bits, width = self._old_bit_field(field_type, bits)
            fields.append(Field(self._string(name_offset), field_type, bits, width))
        return fields

    def _old_bit_field(self, field_type: int, bits: int) -> tuple[int, int]:
        resolved = self.resolve(field_type)
        if self.kind(resolved) == INT:
            integer = self.integer(resolved)
            if integer.bits < 8 * integer.size:
                return bits + integer.bit_offset, integer.bits
        return bits, 0

    def _strip(self, type_id: int, kinds: frozenset[int]) -> int:
        for _ in range(LONGEST_CHAIN):
            if self.kind(type_id) not in kinds:
                return type_id
            type_id = self.target(type_id)
        raise BtfError(f"type {type_id}: refers to itself")

    def _string(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset)
        if end < 0:
            raise BtfError(f"string at {offset} lies outside the string section")
        return self._strings[offset:end].decode("utf-8", "replace")

    def _start(self, type_id: int) -> int:
        if not 0 < type_id <= len(self._starts):
            raise BtfError(f"type {type_id} is not among the {len(self._starts)} types")
        return self._starts[type_id - 1]

    def _info(self, type_id: int) -> int:
        return self._words[self._start(type_id) + 1]


def _sections(data: bytes) -> tuple[range, range]:
    if len(data) < _HEADER.size:
        raise BtfError(f"truncated: {len(data)} bytes are less than a header")
    magic, version, _, length, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
    if magic == _SWAPPED_MAGIC:
        raise BtfError("big-endian BTF is not supported")
    if magic != _MAGIC:
        raise BtfError(f"no BTF: magic is {magic:#06x}, not {_MAGIC:#06x}")
    if version != 1 or length < _HEADER.size:
        raise BtfError(f"BTF version {version} with a header of {length} bytes is not supported")
    types = range(length + type_off, length + type_off + type_len)
    strings = range(length + str_off, length + str_off + str_len)
    if max(types.stop, strings.stop) > len(data):
        raise BtfError(
            f"truncated: {max(types.stop, strings.stop)} bytes expected, {len(data)} read"
        )
    if type_len % 4 or not str_len or data[strings.start] or data[strings.stop - 1]:
        raise BtfError("damaged: sections are not aligned or strings not terminated")
    return types, strings


def _index(words: memoryview) -> tuple[array[int], array[int]]:
    extra = [(_FIXED_WORDS.get(kind, 0) + 3, _ELEMENT_WORDS.get(kind, 0)) for kind in range(20)]
    starts, names = array("I"), array("I")
    add_start, add_name = starts.append, names.append
    at, end = 0, len(words)
    try:
        while at < end:
            add_start(at)
            add_name(words[at])
            info = words[at + 1]
            fixed, each = extra[info >> 24 & 0x1F]
            at += fixed + each * (info & 0xFFFF) if each else fixed
    except IndexError:
        kind = words[at + 1] >> 24 & 0x1F if at + 1 < end else None
        what = "truncated type section" if kind is None else f"kind {kind} is not known"
        raise BtfError(f"type {len(starts)}: {what}") from None
    if at != end:
        raise BtfError(f"type {len(starts)}: truncated type section")
    return starts, names
