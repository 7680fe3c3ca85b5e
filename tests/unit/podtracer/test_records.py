from __future__ import annotations

import pytest

from kernel_memory import dns_value, dns_wire, file_value, peer_value
from podtracer import records
from podtracer.records import label_text, path_text, process_name


@pytest.mark.parametrize(
    ("address", "port", "text"),
    [
        ("10.0.0.1", 5432, "10.0.0.1:5432"),
        ("255.255.255.255", 65535, "255.255.255.255:65535"),
        ("10.0.0.1", 0, "10.0.0.1"),
        ("::1", 80, "[::1]:80"),
        ("fd00:0:0:1::a", 443, "[fd00:0:0:1::a]:443"),
        ("::1", 0, "[::1]"),
    ],
)
def test_peer_is_address_and_port_or_the_address_alone(address: str, port: int, text: str) -> None:
    assert label_text(peer_value(address, port)) == text


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ((b"db", b"shop", b"svc"), "db.shop.svc"),
        ((b"_dns-sd", b"x1"), "_dns-sd.x1"),
        ((), "."),
        ((b"a.b", b"c"), r"a\.b.c"),
        ((b'\\"();@$',), r"\\\"\(\)\;\@\$"),
        ((b" !~\x7f",), r"\032!~\127"),
        ((b"\0\t\x1b[31m",), r"\000\009\027[31m"),
        ((b"caf\xc3\xa9", b"\xff"), r"caf\195\169.\255"),
        ((b"x" * 63, b"y"), "x" * 63 + ".y"),
    ],
)
def test_dns_name_is_spelled_as_in_a_master_file(labels: tuple[bytes, ...], text: str) -> None:
    assert label_text(dns_value(dns_wire(*labels))) == text


def test_dns_name_that_was_cut_ends_in_an_ellipsis() -> None:
    between = dns_wire(b"a" * 63, b"b" * 63)
    assert label_text(dns_value(between, cut=True)) == f"{'a' * 63}.{'b' * 63}…"
    inside = dns_wire(b"a" * 63, b"b" * 40, b"c" * 50)[:128]
    assert label_text(dns_value(inside, cut=True)) == f"{'a' * 63}.{'b' * 40}.{'c' * 22}…"


@pytest.mark.parametrize("end", [0, 64, 0xC0, 0xFF])
def test_what_is_no_length_ends_a_name(end: int) -> None:
    wire = dns_wire(b"abc", b"com") + bytes([end]) + b"\x05stale"
    assert label_text(dns_value(wire)) == "abc.com"


def test_a_label_without_an_entry_is_of_the_overflow() -> None:
    assert label_text(None) == "(overflow)"


def test_path_is_put_together_from_the_last_name_up() -> None:
    assert path_text(file_value(b"var", b"lib", b"data.db")) == "/var/lib/data.db"


def test_path_of_a_root_is_a_slash() -> None:
    assert path_text(file_value()) == "/"


def test_path_whose_beginning_is_missing_begins_with_an_ellipsis() -> None:
    assert path_text(file_value(b"deep", b"file", complete=False)) == "…/deep/file"


def test_path_that_is_not_utf8_keeps_its_bytes_visible() -> None:
    path = path_text(file_value(b"caf\xc3\xa9", b"\xff\xc3"))
    assert path == "/café/\\xff\\xc3"


def test_only_the_bytes_of_the_path_are_read() -> None:
    stale = records.FILE_VALUE.pack(1, 0, 0, 4, 1, b"new\0older\0")
    assert path_text(stale) == "/new"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"nginx\0\0\0", "nginx"),
        (b"sh\0left over", "sh"),
        (b"exactly-16-bytes", "exactly-16-bytes"),
        (b"caf\xc3\xa9\xff\0", "café\\xff"),
        (b"\0", ""),
    ],
)
def test_process_name_ends_at_the_first_zero(raw: bytes, name: str) -> None:
    assert process_name(raw) == name
