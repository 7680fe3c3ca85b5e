from __future__ import annotations

import errno
import os
import socket

import pytest

from podtracer import address as module
from podtracer.address import Address, bind, bound
from podtracer.errors import TracerError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3000", Address("127.0.0.1", 3000)),
        ("[::]:3000", Address("::", 3000)),
        ("[::1]:0", Address("::1", 0)),
        ("localhost:65535", Address("localhost", 65535)),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "3000", ":3000", "::1:3000", "[]:1", "a:", "a:-1", "a:65536", "a:1x", "a:\u0661"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        Address.parse(text)


@pytest.mark.parametrize("reached", ["127.0.0.1", "::1"])
def test_every_interface_means_those_of_both_versions(reached: str) -> None:
    with bind(Address("::", 0)) as sock:
        found = bound(sock)
        assert found.port > 0
        with socket.create_connection((reached, found.port), timeout=5):
            pass


def test_without_ipv6_every_interface_means_those_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_ipv6(family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return real(family, kind)

    monkeypatch.setattr(module.socket, "socket", without_ipv6)
    with bind(Address("::", 0)) as sock:
        assert bound(sock).host == "0.0.0.0"
    with pytest.raises(TracerError):
        bind(Address("::1", 0))


def test_a_port_that_is_taken_names_the_option_for_another() -> None:
    with bind(Address("127.0.0.1", 0)) as taken:
        place = bound(taken)
        with pytest.raises(TracerError) as caught:
            bind(place)
    assert caught.value.code == "metrics_port"
    assert str(place) in caught.value.message
    assert "--metrics-port" in caught.value.hint
    assert caught.value.hint.endswith(f": ss -ltnp 'sport = :{place.port}'")


def test_a_low_port_without_the_right_names_the_option_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(address: Address) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module, "_bind", refuse)
    with pytest.raises(TracerError) as caught:
        bind(Address("127.0.0.1", 80))
    assert (caught.value.code, "1024" in caught.value.hint) == ("metrics_port", True)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_no_interface_names_the_option_for_another(host: str) -> None:
    with pytest.raises(TracerError) as caught:
        bind(Address(host, 0))
    assert caught.value.code == "metrics_port"
    assert "--metrics-address" in caught.value.hint
