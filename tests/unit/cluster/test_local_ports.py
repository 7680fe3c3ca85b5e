from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from podtrace.cluster.local_ports import LocalPort, local_ports
from podtrace.errors import EXIT_ERROR, MetricsError


@contextmanager
def listener(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as taken:
        yield taken.getsockname()[1]


def free_ports(count: int) -> int:
    """Return the first of so many free ports that nobody is given by chance."""
    while True:
        base = random.randrange(10_000, 30_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(base, base + count):
                stack.enter_context(listener(port=port))
                stack.enter_context(listener("::1", port))
            return base


def refused(address: str, port: int) -> MetricsError:
    with pytest.raises(MetricsError) as caught:
        LocalPort(address, port)
    assert caught.value.exit_code == EXIT_ERROR
    return caught.value


def families(port: LocalPort) -> set[int]:
    return {each.family for each in port.sockets}


def test_loopback_is_listened_on_by_both_families() -> None:
    port = LocalPort("127.0.0.1", 0)
    assert families(port) == {socket.AF_INET, socket.AF_INET6}
    assert {each.getsockname()[1] for each in port.sockets} == {port.port}
    port.close()


def test_machine_without_ipv6_has_one_family(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = socket.socket

    def only_ipv4(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return plain(family, kind)

    monkeypatch.setattr(socket, "socket", only_ipv4)
    port = LocalPort("127.0.0.1", 0)
    assert families(port) == {socket.AF_INET}
    port.close()


@pytest.mark.parametrize("address", ["127.0.0.2", "::1", "0.0.0.0", "::"])
def test_other_addresses_are_taken_as_they_are(address: str) -> None:
    port = LocalPort(address, 0)
    assert [each.getsockname()[:2] for each in port.sockets] == [(address, port.port)]
    port.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_port_that_another_program_has_is_not_taken_over(address: str) -> None:
    with listener(address) as taken:
        error = refused("127.0.0.1", taken)
    assert f"port {taken} of " in error.message
    assert "is in use by another program" in error.message
    assert f"--metrics-port {taken + 1}" in (error.hint or "")


def test_port_that_was_used_a_moment_ago_is_free() -> None:
    first = LocalPort("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", first.port)) as client:
        first.sockets[0].setblocking(True)
        first.sockets[0].accept()[0].close()  # this end waits for a while now
        assert client.recv(1) == b""
    first.close()
    LocalPort("127.0.0.1", first.port).close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen on every port")
def test_port_of_root_is_refused_in_words() -> None:
    _check_port_of_root(refused("127.0.0.1", 80))


def test_port_of_root_is_refused_as_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Refusing)
    _check_port_of_root(refused("127.0.0.1", 80))


def _check_port_of_root(error: MetricsError) -> None:
    assert error.message == "you may not listen on port 80: those below 1024 take root"
    assert "--metrics-port 3000" in (error.hint or "")


def test_address_of_another_machine_is_refused_in_words() -> None:
    error = refused("192.0.2.7", 0)
    assert error.message == "this machine has no address 192.0.2.7 to offer metrics at"
    assert "--metrics-address" in (error.hint or "")


def test_each_node_has_the_next_port() -> None:
    base = free_ports(3)
    ports = local_ports("127.0.0.1", base, 3)
    assert [port.port for port in ports] == [base, base + 1, base + 2]
    for port in ports:
        port.close()
    ports = local_ports("127.0.0.1", 0, 3)
    assert len({port.port for port in ports}) == 3
    for port in ports:
        port.close()


def test_of_several_ports_none_is_kept_where_one_is_missing() -> None:
    base = free_ports(2)
    with listener(port=base + 1), pytest.raises(MetricsError, match=f"port {base + 1} of"):
        local_ports("127.0.0.1", base, 2)
    LocalPort("127.0.0.1", base).close()


def test_there_are_no_ports_beyond_the_last() -> None:
    with pytest.raises(MetricsError, match="3 nodes need 3 ports"):
        local_ports("127.0.0.1", 65534, 3)
