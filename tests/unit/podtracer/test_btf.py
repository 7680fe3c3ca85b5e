from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import btf_blob
from btf_blob import Blob
from podtracer import needs
from podtracer.btf import Btf, BtfError, Member
from podtracer.header import emit


def kernel_like() -> Blob:
    blob = Blob()
    u32 = blob.integer("unsigned int", 4)
    u16 = blob.integer("unsigned short", 2)
    u64 = blob.integer("long long unsigned int", 8)
    ports = blob.struct("", 4, [("dport", u16, 0), ("num", u16, 16)])
    pair = blob.union("", 4, [("both", u32, 0), ("", ports, 0)])
    common = blob.struct("sock_common", 16, [("addr", u64, 0), ("", pair, 64), ("state", u32, 96)])
    blob.struct("sock", 24, [("__common", common, 0), ("err", u32, 128), ("pid", u32, 160)])
    return blob


def test_finds_types_by_kind_and_name() -> None:
    blob = Blob()
    integer = blob.integer("thing", 4)
    struct = blob.struct("thing", 4, [("a", integer, 0)])
    union = blob.union("thing", 4, [("a", integer, 0)])
    enum = blob.enum("thing", {"A": 1})
    typedef = blob.add(btf_blob.TYPEDEF, "thing", struct)
    function = blob.add(btf_blob.FUNC, "thing", blob.prototype([]))
    btf = Btf(blob.encoded())
    kinds = ("struct", "union", "enum", "typedef", "func")
    assert [btf.find(kind, "thing") for kind in kinds] == [struct, union, enum, typedef, function]
    assert btf.func("thing") == function
    assert btf.find("struct", "thin") is None
    assert btf.find("struct", "hing") is None
    assert btf.find("struct", "") is None


def test_first_of_two_types_of_one_name_is_found() -> None:
    blob = Blob()
    u8 = blob.integer("u8", 1)
    first = blob.struct("twice", 1, [("a", u8, 0)])
    blob.struct("twice", 2, [("a", u8, 8)])
    assert Btf(blob.encoded()).find("struct", "twice") == first


def test_bytes_that_look_like_a_name_between_two_types_are_passed_over() -> None:
    blob = Blob()
    assert blob.string("wanted") == 1
    blob.string("x" * 247)
    assert blob.string("decoy") == 256
    blob.struct("decoy", 0, [])
    blob.struct("", 0, [])
    wanted = blob.struct("wanted", 0, [])
    btf = Btf(blob.encoded())
    assert btf.find("struct", "wanted") == wanted
    assert btf.enum_value("", "wanted") is None


def test_names_cost_nothing_to_types_that_have_none() -> None:
    blob = Blob()
    blob.struct("", 0, [])
    btf = Btf(blob.encoded())
    assert btf.name(1) == ""
    assert btf.name(0) == ""
    assert len(btf) == 2


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("__common", (0, 0, 0, 6)),
        ("__common.addr", (0, 0, 0, 3)),
        ("__common.both", (8, 0, 0, 1)),
        ("__common.num", (10, 0, 0, 2)),
        ("__common.state", (12, 0, 0, 1)),
        ("pid", (20, 0, 0, 1)),
        ("num", None),
        ("__common.nothing", None),
        ("pid.nothing", None),
    ],
)
def test_members_are_found_through_anonymous_and_embedded_structs(
    path: str, expected: tuple[int, int, int, int] | None
) -> None:
    btf = Btf(kernel_like().encoded())
    member = None if expected is None else Member(*expected)
    assert btf.member("struct sock", path) == member
    assert btf.member("sock", path) == member


def test_member_of_an_unknown_type_is_none() -> None:
    assert Btf(kernel_like().encoded()).member("struct nothing", "a") is None


def test_arrays_are_entered_at_their_first_element_and_pointers_not() -> None:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    inner = blob.struct("upid", 8, [("nr", u32, 32)])
    table = blob.array(blob.array(inner, 3), 2)
    blob.struct("pid", 56, [("numbers", table, 0), ("next", blob.pointer(inner), 384)])
    btf = Btf(blob.encoded())
    assert btf.member("pid", "numbers.nr") == Member(4, 0, 0, u32)
    assert btf.member("pid", "next.nr") is None
    assert btf.size(table) == 48


def test_bit_fields_of_both_encodings() -> None:
    blob = Blob()
    u16 = blob.integer("u16", 2)
    old = blob.integer("unsigned int", 4, bits=3)
    blob.struct("new", 4, [("doff", u16, 4, 4), ("syn", u16, 9, 1)])
    blob.struct("old", 4, [("three", old, 13)])
    btf = Btf(blob.encoded())
    assert btf.member("new", "doff") == Member(0, 4, 4, u16)
    assert btf.member("new", "syn") == Member(1, 1, 1, u16)
    assert btf.member("old", "three") == Member(1, 5, 3, old)


def test_enumerators_signed_wide_and_anonymous() -> None:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    blob.struct("TCP_CLOSE", 4, [("TCP_CLOSE", u32, 0)])
    blob.enum("named", {"MINUS": -1, "PLUS": 7})
    blob.enum("", {"TCP_ESTABLISHED": 1, "TCP_CLOSE": 7})
    blob.enum("wide", {"HUGE": 1 << 40, "NEGATIVE": -(1 << 40)}, size=8)
    btf = Btf(blob.encoded())
    assert btf.enum_value("named", "MINUS") == -1
    assert btf.enum_value("named", "PLUS") == 7
    assert btf.enum_value("named", "TCP_CLOSE") is None
    assert btf.enum_value("absent", "PLUS") is None
    assert btf.enum_value("", "TCP_CLOSE") == 7
    assert btf.enum_value("", "PLUS") == 7
    assert btf.enum_value("", "u32") is None
    assert btf.enum_value("wide", "HUGE") == 1 << 40
    assert btf.enum_value("wide", "NEGATIVE") == -(1 << 40)


def test_tracepoint_arguments_leave_out_the_hidden_first_one() -> None:
    blob = Blob()
    integer = blob.integer("int", 4, signed=True)
    sock = blob.add(btf_blob.FWD, "sock")
    constant = blob.add(btf_blob.CONST, "", sock)
    type_id = blob.tracepoint("inet_sock_set_state", [blob.pointer(constant), integer, integer])
    btf = Btf(blob.encoded())
    tracepoint = btf.tracepoint("inet_sock_set_state")
    assert tracepoint is not None
    assert tracepoint.type_id == type_id
    assert [btf.spell(each) for each in tracepoint.arguments] == ["struct sock *", "int", "int"]
    assert btf.tracepoint("sched_switch") is None


def test_every_kind_is_walked_over() -> None:
    blob = Blob()
    u32 = blob.integer("u32", 4)
    for kind in (
        btf_blob.PTR,
        btf_blob.TYPEDEF,
        btf_blob.VOLATILE,
        btf_blob.CONST,
        btf_blob.RESTRICT,
        btf_blob.TYPE_TAG,
    ):
        blob.add(kind, "", u32)
    blob.add(btf_blob.FWD, "later", flag=True)
    blob.array(u32, 3)
    blob.add(btf_blob.FLOAT, "double", 8)
    blob.add(btf_blob.VAR, "jiffies", u32, [1])
    blob.add(btf_blob.DATASEC, ".data", 4, [u32, 0, 4], count=1)
    blob.add(btf_blob.FUNC, "f", blob.prototype([u32]))
    blob.add(btf_blob.DECL_TAG, "bpf_kfunc", u32, [0xFFFFFFFF])
    blob.enum("e", {"A": 0})
    blob.enum("e64", {"B": 0}, size=8)
    last = blob.struct("last", 4, [("a", u32, 0)])
    assert Btf(blob.encoded()).find("struct", "last") == last


def test_qualifiers_and_typedefs_are_resolved() -> None:
    blob = Blob()
    u8 = blob.integer("unsigned char", 1)
    typedef = blob.add(btf_blob.TYPEDEF, "u8", u8)
    tagged = blob.add(btf_blob.TYPE_TAG, "rcu", typedef)
    volatile = blob.add(btf_blob.VOLATILE, "", tagged)
    btf = Btf(blob.encoded())
    assert btf.resolve(volatile) == u8
    assert btf.unqualified(volatile) == typedef
    assert btf.spell(volatile) == "u8"
    assert btf.spell(0) == "void"
    assert btf.size(volatile) == 1
    assert btf.size(0) == 0


def test_unknown_kind_is_named() -> None:
    blob = Blob()
    blob.integer("u8", 1)
    blob.add(25, "new")
    with pytest.raises(BtfError, match=r"type 2: kind 25 is not known"):
        Btf(blob.encoded())


def test_bad_headers_are_told_apart() -> None:
    blob = kernel_like()
    whole = blob.encoded()
    with pytest.raises(BtfError, match="truncated"):
        Btf(b"")
    with pytest.raises(BtfError, match="big-endian"):
        Btf(blob.encoded(magic=0x9FEB))
    with pytest.raises(BtfError, match="magic is 0x457f"):
        Btf(b"\x7fELF" + whole[4:])
    with pytest.raises(BtfError, match="version 2"):
        Btf(blob.encoded(version=2))


def test_every_cut_is_noticed() -> None:
    whole = kernel_like().encoded()
    for length in range(len(whole)):
        with pytest.raises(BtfError):
            Btf(whole[:length])


@pytest.mark.parametrize("missing_bytes", [4, 8, 12, 16])
def test_a_type_section_that_ends_within_a_type_is_truncated(missing_bytes: int) -> None:
    whole = bytearray(kernel_like().encoded())
    length = int.from_bytes(whole[12:16], "little") - missing_bytes
    whole[12:16] = length.to_bytes(4, "little")
    with pytest.raises(BtfError, match=r"type 7: truncated"):
        Btf(bytes(whole))


def test_a_load_error_names_the_file(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(BtfError, match=r"absent: No such file"):
        Btf.load(absent)
    absent.write_bytes(b"short")
    with pytest.raises(BtfError, match=r"absent: truncated"):
        Btf.load(absent)


def test_types_that_refer_to_themselves_end_in_an_error() -> None:
    blob = Blob()
    u8 = blob.integer("u8", 1)
    loop = blob.add(btf_blob.TYPEDEF, "loop", u8 + 1)
    nested = blob.add(btf_blob.ARRAY, "", 0, [loop + 1, u8, 1])
    blob.struct("ouroboros", 8, [("", nested + 1, 0)])
    btf = Btf(blob.encoded())
    with pytest.raises(BtfError, match="refers to itself"):
        btf.resolve(loop)
    with pytest.raises(BtfError, match="array of itself"):
        btf.size(nested)
    with pytest.raises(BtfError, match="contains itself"):
        btf.member("ouroboros", "tail")


def test_references_outside_the_blob_end_in_an_error() -> None:
    blob = Blob()
    pointer = blob.pointer(99)
    with pytest.raises(BtfError, match="type 99"):
        Btf(blob.encoded()).spell(pointer)


@given(st.data())
def test_damaged_blobs_raise_nothing_but_btf_errors(data: st.DataObject) -> None:
    blob = bytearray(kernel_like().encoded())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(blob) - 1))
        blob[at] = data.draw(st.integers(0, 255))
    asked = {"struct sock": ("__common.num", "pid", "*"), "struct sock_common": ("*",)}
    try:
        btf = Btf(bytes(blob))
        needs.missing(btf, asked)
        needs.layout(btf, asked)
        emit(btf, asked)
        btf.enum_value("", "state")
        btf.spell(1)
    except BtfError:
        pass
