"""How the probes keep a DNS name, compiled for this machine, against Python."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bpf_sources import DEFINITIONS, SOURCES, compiled, function, needs_compiler

NAME_BYTES = 128


@pytest.fixture(scope="module")
def lower_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], bytes]:
    target = tmp_path_factory.mktemp("lower") / "lower"
    library = compiled(function("lower_case"), target, "-shared", "-fPIC")
    lower = ctypes.CDLL(str(library)).lower_case
    lower.argtypes = [ctypes.c_uint64]
    lower.restype = ctypes.c_uint64

    def call(word: bytes) -> bytes:
        number = lower(int.from_bytes(word, "little"))
        return int(number).to_bytes(8, "little")

    return call


@needs_compiler
@pytest.mark.parametrize("position", range(8))
@pytest.mark.parametrize("around", [b"\0", b"\xff", b"A", b"Z", b"z", b"\x80"])
def test_every_byte_is_lowered_as_ascii_at_every_position(
    lower_case: Callable[[bytes], bytes], position: int, around: bytes
) -> None:
    for byte in range(256):
        word = around * position + bytes([byte]) + around * (7 - position)
        assert lower_case(word) == word.lower()


@needs_compiler
@given(word=st.binary(min_size=8, max_size=8))
@example(word=b"@AZ[`az{")
def test_words_are_lowered_as_ascii(lower_case: Callable[[bytes], bytes], word: bytes) -> None:
    assert lower_case(word) == word.lower()


@needs_compiler
def test_length_bytes_of_a_name_are_no_letters(lower_case: Callable[[bytes], bytes]) -> None:
    for length in range(64):
        assert lower_case(bytes([length]) * 8) == bytes([length]) * 8


def no_zeros(data: bytes) -> bytes:
    return data.replace(b"\0", b"\x80")


NAME_HARNESS = """
#include <string.h>
#define asm
#define volatile(...)
struct __sk_buff {{ const u8 *bytes; u32 len; }};
static struct label_value kept;
static int bpf_skb_load_bytes(struct __sk_buff *skb, u32 offset, void *to, u32 length) {{
    if (offset + length > skb->len)
        return -1;
    memcpy(to, skb->bytes + offset, length);
    return 0;
}}
static long read_user(void *to, u32 length, const void *from) {{
    memcpy(to, from, length);
    return 0;
}}
static u64 intern(struct label_value *value) {{ kept = *value; return 77; }}
{parts}
int keep(const u8 *bytes, u32 length, u32 offset, bool in_memory, u8 *name) {{
    struct __sk_buff skb = {{bytes, length}};
    struct dns_data data = {{.in_memory = in_memory, .length = length, .offset = offset}};

    data.from = in_memory ? (void *)bytes : &skb;
    if (name_label(&data) != 77)
        return -1;
    memcpy(name, kept.data, sizeof(kept.data));
    return kept.cut;
}}
"""
"""A packet's bytes are in memory here, too, and a label is kept where it can be looked at."""

DNS_HEADER = bytes(range(12))
Keep = Callable[[bytes], "tuple[bytes, bool] | None"]


@pytest.fixture(scope="module", params=[False, True], ids=["packet", "memory"])
def kept_name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Keep:
    """Return a function from what follows a DNS header to (name, whether it was cut)."""
    parts = re.findall(
        r"^#define \w+ [^\n]*\n|^struct dns_data \{.*?^\};\n", SOURCES["dns.h"], re.M | re.S
    )
    parts += [f"static {function(name)}" for name in ("load_bytes", "lower_case", "name_label")]
    text = DEFINITIONS + NAME_HARNESS.format(parts="".join(parts))
    library = compiled(text, tmp_path_factory.mktemp("name") / "name", "-shared", "-fPIC")
    keep = ctypes.CDLL(str(library)).keep

    def call(question: bytes) -> tuple[bytes, bool] | None:
        packet = b"in front" + DNS_HEADER + question
        name = ctypes.create_string_buffer(NAME_BYTES)
        cut = keep(packet, len(packet), len(b"in front"), request.param, name)
        return None if cut < 0 else (name.raw, bool(cut))

    return call


@needs_compiler
@given(question=st.binary(max_size=2 * NAME_BYTES) | st.binary(min_size=NAME_BYTES).map(no_zeros))
@example(question=b"")
@example(question=b"\0\0\1\0\1")
@example(question=b"\1" * NAME_BYTES)
@example(question=b"\1" * (NAME_BYTES - 1))
@example(question=b"\7\0\1\1\1\1\1\1\1")
@example(question=b"\3WWW\7EXAMPLE\3COM\0\0\1\0\1\0\0)")
@example(question=b"x" * (NAME_BYTES - 1) + b"\0")
@example(question=b"x" * NAME_BYTES + b"\0")
def test_a_name_is_kept_in_lower_case_up_to_its_zero(kept_name: Keep, question: bytes) -> None:
    name, zero, _ = question[:NAME_BYTES].partition(b"\0")
    if not zero and len(question) < NAME_BYTES:
        assert kept_name(question) is None
    else:
        assert kept_name(question) == (name.lower().ljust(NAME_BYTES, b"\0"), not zero)
