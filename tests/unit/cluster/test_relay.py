"""Connections that are passed on to the tracer's port: many at once, slow and refused ones."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from podtrace.cluster import relay, relayed
from podtrace.cluster.local_ports import LocalPort
from podtrace.cluster.relay import MOST_CONNECTIONS, Relay
from podtrace.errors import ClusterError, NotReadyError, PodtraceError
from scripted_server import Request, ScriptedServer
from scripted_server import http as whole

BODY = b"podtrace_ticks 7\n" * 100
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
MANY_BYTES = 40_000_000


class SocketEnd:
    """The far end as a plain socket."""

    def __init__(self, port: int, reason: str = "") -> None:
        self.reason = reason
        self.socket = socket.create_connection(("127.0.0.1", port))

    def fileno(self) -> int:
        return self.socket.fileno()

    def is_pending(self) -> bool:
        return False

    def receive(self) -> bytes | None:
        return self.socket.recv(32768) or None

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Scene:
    """A tracer's port, a relay before it, and what became of both."""

    def __init__(self) -> None:
        self.closing: list[ScriptedServer | Relay] = []
        self.ends: list[SocketEnd] = []
        self.failure: PodtraceError | None = None
        self.reason = ""

    def serve(self, answer: Callable[[Request], bytes | None]) -> int:
        """Return the port of this machine that leads to a server."""
        server = ScriptedServer(answer)
        self.closing.append(server)

        def dial() -> SocketEnd:
            if self.failure is not None:
                raise self.failure
            self.ends.append(SocketEnd(server.port, self.reason))
            return self.ends[-1]

        port = LocalPort("127.0.0.1", 0)
        self.relay = Relay(
            port.sockets, dial, lambda reason: ClusterError(f"no tracer: {reason or 'cut'}")
        )
        self.closing.append(self.relay)
        self.relay.start()
        return port.port

    def close(self) -> None:
        for each in reversed(self.closing):
            each.close()
        for end in self.ends:
            end.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.close()


def ok(_: Request) -> bytes:
    return whole(200, BODY)


def once(request: Request) -> None:
    request.socket.sendall(whole(200, BODY))


def asked(port: int, host: str = "127.0.0.1") -> tuple[int, bytes, str | None]:
    """Return status, body and Retry-After of one request on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Retry-After")
    finally:
        connection.close()


def raw(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_localhost_answers_by_both_families(scene: Scene) -> None:
    port = scene.serve(ok)
    assert asked(port) == (200, BODY, None)
    if socket.has_ipv6:
        assert asked(port, "::1") == (200, BODY, None)


def test_one_connection_serves_many_requests_and_takes_one_connection_on(scene: Scene) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", scene.serve(ok), timeout=20)
    for _ in range(200):
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == BODY
    connection.close()
    assert len(scene.ends) == 1


def test_a_thousand_requests_of_twenty_clients_are_all_answered(scene: Scene) -> None:
    port = scene.serve(once)
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: asked(port), range(1000)))
    assert answers == [(200, BODY, None)] * 1000
    assert len(scene.ends) == 1000
    until(lambda: all(end.fileno() == -1 for end in scene.ends))


def test_no_more_than_so_many_are_passed_on_at_once(scene: Scene) -> None:
    gate = threading.Event()

    def wait(request: Request) -> bytes:
        gate.wait(20)
        return whole(200, BODY)

    port = scene.serve(wait)
    with ThreadPoolExecutor(MOST_CONNECTIONS + 10) as threads:
        answers = [threads.submit(asked, port) for _ in range(MOST_CONNECTIONS + 10)]
        until(lambda: len(scene.ends) == MOST_CONNECTIONS)
        time.sleep(0.3)
        assert len(scene.ends) == MOST_CONNECTIONS
        gate.set()
        assert {answer.result()[0] for answer in answers} == {200}


def test_client_that_sends_no_more_gets_its_answer_and_no_pause(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed, "HALF_CLOSED_SECONDS", 60.0)

    def slow(request: Request) -> bytes:
        time.sleep(0.3)
        return whole(200, BODY)

    with raw(scene.serve(slow)) as client:
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as reader:
            assert reader.read() == whole(200, BODY)


def test_answer_without_a_length_ends_after_a_pause_for_who_sends_no_more(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed, "HALF_CLOSED_SECONDS", 0.3)
    with raw(scene.serve(lambda _: b"HTTP/1.1 200 OK\r\n\r\nsome 1\n")) as client:
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as reader:
            assert reader.read().endswith(b"some 1\n")


def test_client_that_leaves_takes_its_connection_along(scene: Scene) -> None:
    port = scene.serve(ok)
    with raw(port) as client:
        client.sendall(GET)
        client.recv(1)
    until(lambda: [end.fileno() for end in scene.ends] == [-1])


def test_client_that_asks_for_nothing_costs_no_connection_and_makes_room(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed, "IDLE_SECONDS", 0.3)
    port = scene.serve(ok)
    with raw(port) as silent, raw(port) as idle:
        idle.sendall(GET)
        until(lambda: len(scene.ends) == 1)
        with idle.makefile("rb") as reader:
            assert reader.read() == whole(200, BODY)
        assert silent.recv(1) == b""
    assert len(scene.ends) == 1


@pytest.mark.parametrize("sent", [b"", GET])
def test_clients_that_ask_no_more_make_room_at_once_where_others_wait(
    scene: Scene, sent: bytes
) -> None:
    port = scene.serve(ok)
    clients = [raw(port) for _ in range(MOST_CONNECTIONS)]
    for client in clients:
        client.sendall(sent)
        while sent and not client.recv(65536).endswith(BODY):
            pass
    begun = time.monotonic()
    assert asked(port)[0] == 200
    assert time.monotonic() - begun < relayed.IDLE_SECONDS / 2
    for client in clients:
        client.close()


def test_slow_client_holds_up_its_own_answer_and_no_memory(scene: Scene) -> None:
    sent = [0]

    def flood(request: Request) -> None:
        request.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY_BYTES)
        for _ in range(MANY_BYTES // 100_000):
            request.socket.sendall(bytes(100_000))
            sent[0] += 100_000

    port = scene.serve(flood)
    with raw(port) as client:
        client.sendall(GET)
        client.recv(1)
        time.sleep(1)
        # What waits is in the buffers of the kernel's sockets.
        assert sent[0] < MANY_BYTES / 2
        with client.makefile("rb") as reader:
            assert len(reader.read(MANY_BYTES)) == MANY_BYTES


def test_client_that_takes_nothing_is_given_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed, "WRITE_SECONDS", 0.3)

    def flood(request: Request) -> bytes:
        return bytes(MANY_BYTES)

    with raw(scene.serve(flood)) as client:
        client.sendall(GET)
        until(lambda: [end.fileno() for end in scene.ends] == [-1])


# Where there is nothing to pass on


def test_tracer_that_is_not_ready_is_answered_for_with_503(scene: Scene) -> None:
    port = scene.serve(ok)
    scene.failure = NotReadyError("the tracer is being started:\n soon")
    assert asked(port) == (503, b"the tracer is being started: soon\n", "1")
    scene.failure = None
    assert asked(port) == (200, BODY, None)


def test_cluster_that_is_away_is_answered_for_with_502_until_it_is_back(scene: Scene) -> None:
    port = scene.serve(ok)
    scene.failure = ClusterError("https://x cannot be reached")
    assert asked(port) == (502, b"https://x cannot be reached\n", None)
    scene.failure = None
    assert asked(port) == (200, BODY, None)


def test_large_request_does_not_take_the_refusal_along(scene: Scene) -> None:
    port = scene.serve(ok)
    scene.failure = ClusterError("away")
    with raw(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000))
        with client.makefile("rb") as reader:
            assert reader.read().endswith(b"away\n")


def test_closed_port_is_answered_for_with_its_reason(scene: Scene) -> None:
    scene.reason = "connection refused"
    assert asked(scene.serve(lambda _: None)) == (502, b"no tracer: connection refused\n", None)


def test_connection_that_breaks_after_an_answer_began_is_cut(scene: Scene) -> None:
    def broken(request: Request) -> None:
        request.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nsome")

    with pytest.raises(http.client.IncompleteRead):
        asked(scene.serve(broken))


def test_connection_that_breaks_before_the_next_answer_is_answered_for(scene: Scene) -> None:
    answers = [whole(200, BODY)]
    connection = http.client.HTTPConnection(
        "127.0.0.1", scene.serve(lambda _: answers.pop() if answers else None), timeout=20
    )
    connection.request("GET", "/metrics")
    assert connection.getresponse().read() == BODY
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (502, b"no tracer: cut\n")
    connection.close()


def test_tracer_that_does_not_answer_is_given_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed, "ANSWER_SECONDS", 0.3)
    assert asked(scene.serve(lambda _: time.sleep(3)))[:2] == (
        502,
        b"no tracer: no answer came for 0 s\n",
    )


# The end


def test_closed_relay_listens_no_more_and_cuts_what_is_connected(scene: Scene) -> None:
    port = scene.serve(ok)
    with raw(port) as client:
        client.sendall(GET)
        client.recv(1)
        begin = time.monotonic()
        scene.relay.close()
        with contextlib.suppress(ConnectionResetError):
            while client.recv(65536):
                pass
        assert time.monotonic() - begin < relayed.IDLE_SECONDS / 2
    with pytest.raises(OSError):
        raw(port)
    LocalPort("127.0.0.1", port).close()
    scene.relay.close()


def test_relay_that_is_full_can_be_closed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MOST_CONNECTIONS", 1)
    port = scene.serve(lambda _: time.sleep(5))
    with raw(port) as client:
        client.sendall(GET)
        until(lambda: len(scene.ends) == 1)
        begin = time.monotonic()
        scene.relay.close()
        assert time.monotonic() - begin < 2
