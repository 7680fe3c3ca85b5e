"""The server over real sockets, with clients that behave and others."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from podtracer.address import Address, bind, bound
from podtracer.metrics import connection, server
from podtracer.metrics.connection import Answer
from podtracer.metrics.http_request import MOST_HEAD_BYTES, Request
from podtracer.metrics.server import MOST_CONNECTIONS, Server

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = b"x" * 4_000_000


class Site:
    """A server that answers with pages of its own, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.done = 0
        self._clients: list[http.client.HTTPConnection] = []
        listener = bind(Address("127.0.0.1", 0))
        self.address = bound(listener)
        self.server = Server(listener, self._answer)
        self.server.start()

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        bodies: dict[str, Sequence[bytes]] = {"/large": [b"<", LARGE, b">"], "/empty": []}
        body = bodies.get(request.path, [b"hello\n"])
        return Answer(200, "text/plain", body, done=self._note)

    def _note(self) -> None:
        self.done += 1

    def connect(self, timeout: float = 20) -> socket.socket:
        return socket.create_connection(self.address, timeout=timeout)

    def client(self) -> http.client.HTTPConnection:
        client = http.client.HTTPConnection(*self.address, timeout=20)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.server.close()

    @property
    def connections(self) -> int:
        return len(self.server._connections)

    def wait_for_connections(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while self.connections != count:
            assert time.monotonic() < deadline, f"{self.connections} connections"
            time.sleep(0.01)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(connection, "DISCARD_SECONDS", 0.3)


def read_all(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 16):
            data += piece
    return data


def status(sock: socket.socket) -> int:
    return int(read_all(sock).split(b" ", 2)[1])


def test_requests_follow_each_other_on_one_connection(site: Site) -> None:
    client = site.client()
    for _ in range(3):
        client.request("GET", "/page")
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b"hello\n")
    assert site.connections == 1
    client.close()
    site.wait_for_connections(0)


def test_requests_sent_together_are_answered_in_order(site: Site) -> None:
    with site.connect() as sock:
        last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        sock.sendall(b"\r\n" + GET * 100 + last + GET)
        answers = read_all(sock)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 101
    assert [request.path for request in site.asked] == ["/page"] * 100 + ["/last"]


def test_a_request_may_come_byte_by_byte(site: Site) -> None:
    with site.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET / HTTP/1.0\r\n\r\n":
            sock.send(bytes([byte]))
            time.sleep(0.001)
        assert status(sock) == 200


def test_head_has_no_body(site: Site) -> None:
    client = site.client()
    client.request("HEAD", "/large")
    response = client.getresponse()
    assert response.getheader("Content-Length") == str(len(LARGE) + 2)
    assert response.read() == b""
    client.request("GET", "/empty")
    assert client.getresponse().read() == b""


def test_a_large_page_arrives_whole(site: Site) -> None:
    client = site.client()
    client.request("GET", "/large")
    assert client.getresponse().read() == b"<" + LARGE + b">"
    assert site.done == 1


def test_a_client_that_sends_no_more_still_gets_its_answer(site: Site) -> None:
    with site.connect() as sock:
        sock.sendall(GET)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).endswith(b"hello\n")
    site.wait_for_connections(0)


@pytest.mark.parametrize("size", [MOST_HEAD_BYTES + 100, 1 << 20])
def test_a_head_that_is_too_long_is_refused(site: Site, size: int) -> None:
    with site.connect() as sock:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nX: "
        with contextlib.suppress(ConnectionError):
            sock.sendall(head + b"a" * size + b"\r\n\r\n")
        assert status(sock) == 431
    assert site.asked == []
    site.wait_for_connections(0)


def test_a_head_without_end_is_refused_and_takes_no_memory(site: Site, in_haste: None) -> None:
    with site.connect() as sock:
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 26:
                sent += sock.send(b"X" * 65_536)
    site.wait_for_connections(0)
    assert site.asked == []


@pytest.mark.parametrize(
    ("sent", "answer"), [(b"\x16\x03\x01\r\n\r\n", 400), (b"PRI * HTTP/2.0\r\n\r\n", 505)]
)
def test_what_is_no_http_gets_an_answer_and_the_end(site: Site, sent: bytes, answer: int) -> None:
    with site.connect() as sock:
        sock.sendall(sent)
        assert status(sock) == answer
    site.wait_for_connections(0)


def test_what_stands_behind_a_body_is_no_request(site: Site) -> None:
    with site.connect() as sock:
        head = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(GET)
        sock.sendall(head + GET)
        read_all(sock)
    assert [request.path for request in site.asked] == ["/x"]


@pytest.mark.parametrize("sent", [b"", b"GET /page HT"])
def test_a_client_that_does_not_ask_in_time_is_dropped(
    site: Site, in_haste: None, sent: bytes
) -> None:
    with site.connect() as sock:
        sock.sendall(sent)
        began = time.monotonic()
        assert read_all(sock) == b""
        assert 0.3 < time.monotonic() - began < 5


def test_a_client_that_sends_slowly_is_dropped(site: Site, in_haste: None) -> None:
    with site.connect() as sock, pytest.raises(ConnectionError):
        for _ in range(200):
            sock.send(b"G")
            time.sleep(0.02)


def test_a_client_that_does_not_read_is_dropped(site: Site, in_haste: None) -> None:
    with site.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        site.wait_for_connections(1)
        site.wait_for_connections(0)
    assert site.done == 0


def test_a_client_that_resets_harms_nobody(site: Site) -> None:
    for _ in range(50):
        sock = site.connect()
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    site.wait_for_connections(0)
    test_requests_follow_each_other_on_one_connection(site)


def test_no_more_connections_than_allowed_are_open_and_all_are_served(site: Site) -> None:
    answers: list[bytes] = []
    most = 0

    def scrape() -> None:
        with site.connect(timeout=60) as sock:
            sock.sendall(b"GET /page HTTP/1.0\r\n\r\n")
            answers.append(read_all(sock))

    threads = [threading.Thread(target=scrape) for _ in range(1000)]
    for thread in threads:
        thread.start()
        most = max(most, site.connections)
    for thread in threads:
        thread.join()
    assert len(answers) == 1000
    assert all(answer.endswith(b"hello\n") for answer in answers)
    assert most <= MOST_CONNECTIONS


def test_idle_connections_give_way_to_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SPARED_SECONDS", 0.2)
    idle = [site.client() for _ in range(MOST_CONNECTIONS)]
    for client in idle:
        client.request("GET", "/page")
        client.getresponse().read()
    late = site.client()
    began = time.monotonic()
    late.request("GET", "/page")
    assert late.getresponse().read() == b"hello\n"
    assert time.monotonic() - began < 5


def test_clients_that_are_stuck_hold_up_others_no_longer_than_a_request_may_take(
    site: Site, in_haste: None
) -> None:
    stuck = [site.connect() for _ in range(MOST_CONNECTIONS)]
    for sock in stuck:
        sock.sendall(b"GET ")
    site.wait_for_connections(MOST_CONNECTIONS)
    client = site.client()
    client.request("GET", "/page")
    assert client.getresponse().read() == b"hello\n"
    for sock in stuck:
        sock.close()


def test_a_server_that_is_closed_leaves_nothing_open(site: Site) -> None:
    with site.connect() as sock:
        sock.sendall(GET)
        sock.recv(100)
        other = Site()
        other.server.close()
        with pytest.raises(ConnectionRefusedError):
            other.connect()
        assert not other.server._thread.is_alive()


def test_a_server_that_was_never_started_can_be_closed() -> None:
    listener = bind(Address("127.0.0.1", 0))
    Server(listener, lambda request: Answer(200, "text/plain", [])).close()
    assert listener.fileno() == -1


def test_waiting_costs_no_cpu_time(site: Site) -> None:
    with site.connect(), site.connect() as half:
        half.sendall(b"GET")
        before = time.thread_time(), time.process_time()
        time.sleep(1)
        after = time.thread_time(), time.process_time()
    assert after[1] - before[1] - (after[0] - before[0]) < 0.1
