"""Steps on the network: DNS questions made by hand, connects of every outcome, transfers."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
import time
from typing import TypedDict

import dns_message

_TCP_INFO_BYTES = 104
_RETRANSMITS_OFFSET = 100
_PATIENCE = struct.pack("qq", 30, 0)
_GLANCE_SECONDS = 0.0002


class Timed(TypedDict):
    """What came of each operation, and how long it took for the one who asked for it."""

    outcomes: list[str]
    seconds: list[float]


class Account(TypedDict):
    """Segments that the kernel sent again so far, and how long each exchange took."""

    retransmits: int
    seconds: list[float]


class NetworkSteps:
    """One method per step; arguments and results are plain JSON."""

    def __init__(self) -> None:
        self.sockets: dict[str, socket.socket] = {}
        self.identifier = 0

    def look_up(
        self,
        server: str,
        name: str,
        times: int = 1,
        resend_after: float | None = None,
        wait: bool = True,
        question_type: int = dns_message.A,
    ) -> Timed:
        """Ask over UDP, each time on a socket of its own; without waiting, keep it as dnsNUMBER."""
        answers = Timed(outcomes=[], seconds=[])
        for _ in range(times):
            sock = socket.socket(_family(server), socket.SOCK_DGRAM)
            sock.connect((server, 53))
            message = dns_message.query(self._next(), name, question_type)
            begun = time.monotonic()
            sock.send(message)
            if resend_after is not None:
                time.sleep(resend_after)
                sock.send(message)
            if not wait:
                self.sockets[f"dns{self.identifier}"] = sock
                continue
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
            _finish(answers, _code(sock.recv(512)), begun)
            sock.close()
        return answers

    def await_answer(self, socket_name: str) -> str:
        """Wait for the answer to a question that was asked without waiting; return its code."""
        sock = self.sockets.pop(socket_name)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        code = _code(sock.recv(512))
        sock.close()
        return code

    def look_up_at_once(self, server: str, names: list[str], same_id: bool = False) -> Timed:
        """Ask all questions, each on its own socket, then read each answer when it comes.

        The result is in the order of the names.
        """
        begun: dict[socket.socket, float] = {}
        for name in names:
            identifier = 7 if same_id else self._next()
            sock = socket.socket(_family(server), socket.SOCK_DGRAM)
            sock.connect((server, 53))
            begun[sock] = time.monotonic()
            sock.send(dns_message.query(identifier, name))
        answers: dict[socket.socket, tuple[str, float]] = {}
        while len(answers) < len(begun):
            for sock in select.select(begun.keys() - answers.keys(), [], [])[0]:
                answers[sock] = _code(sock.recv(512)), time.monotonic() - begun[sock]
        for sock in begun:
            sock.close()
        return Timed(
            outcomes=[answers[sock][0] for sock in begun],
            seconds=[answers[sock][1] for sock in begun],
        )

    def look_up_by_tcp(self, server: str, names: list[str]) -> Timed:
        """Ask over one TCP connection, one question after the other."""
        answers = Timed(outcomes=[], seconds=[])
        with socket.create_connection((server, 53)) as sock:
            for name in names:
                message = dns_message.query(self._next(), name)
                begun = time.monotonic()
                sock.send(len(message).to_bytes(2, "big") + message)
                size = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")
                _finish(answers, _code(sock.recv(size, socket.MSG_WAITALL)), begun)
        return answers

    def send_junk(self, server: str, payloads: list[str]) -> None:
        """Send datagrams (as hexadecimal text) to the DNS port that are no questions."""
        with socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
            for payload in payloads:
                sock.sendto(bytes.fromhex(payload), (server, 53))

    def connect(
        self,
        address: str,
        port: int,
        times: int = 1,
        keep: str | None = None,
        syn_count: int | None = None,
    ) -> Timed:
        """Connect, and close unless it is to be kept; the outcome is `ok` or the error's name."""
        results = Timed(outcomes=[], seconds=[])
        for _ in range(times):
            sock = socket.socket(_family(address), socket.SOCK_STREAM)
            if syn_count is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, syn_count)
            begun = time.monotonic()
            try:
                sock.connect((address, port))
                _finish(results, "ok", begun)
            except OSError as error:
                _finish(results, error_name(error), begun)
            if keep:
                self.sockets[keep] = sock
            else:
                sock.close()
        return results

    def begin_connect(
        self, address: str, port: int, times: int = 1, give_up_after: float | None = None
    ) -> str:
        """Begin connects that nobody waits for; close them after a while or leave them."""
        for number in range(times):
            sock = socket.socket(_family(address), socket.SOCK_STREAM)
            sock.setblocking(False)
            code = sock.connect_ex((address, port))
            if give_up_after is None:
                self.sockets[f"begun{number}"] = sock
            else:
                time.sleep(give_up_after)
                sock.close()
        return os.strerror(code)

    def connect_datagram(self, address: str, port: int) -> None:
        """Connect a UDP socket, which is no TCP connect."""
        with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
            sock.connect((address, port))

    def listen(self, address: str, port: int) -> None:
        """Listen, to accept later."""
        sock = socket.socket(_family(address), socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(64)
        self.sockets["listener"] = sock

    def accept(self, times: int) -> int:
        """Accept so many connections and answer each peer's one message."""
        for _ in range(times):
            connection = self.sockets["listener"].accept()[0]
            connection.send(connection.recv(100))
            connection.close()
        return times

    def exchange(self, socket_name: str, times: int, size: int = 100) -> Account:
        """Send and receive the same number of bytes on a kept connection."""
        sock = self.sockets[socket_name]
        seconds = []
        for _ in range(times):
            begun = time.monotonic()
            sock.send(bytes(size))
            sock.recv(size, socket.MSG_WAITALL)
            seconds.append(time.monotonic() - begun)
        return _account(sock, seconds)

    def upload(self, socket_name: str, times: int, size: int) -> Account:
        """Send without ever receiving; go on when the kernel says that all has arrived."""
        sock = self.sockets[socket_name]
        seconds = []
        for _ in range(times):
            begun = time.monotonic()
            sock.sendall(bytes(size))
            while _bytes_under_way(sock):
                time.sleep(_GLANCE_SECONDS)
            seconds.append(time.monotonic() - begun)
        return _account(sock, seconds)

    def account(self, socket_name: str) -> Account:
        """Return the account of a kept connection so far."""
        return _account(self.sockets[socket_name], [])

    def receive_nothing(self, socket_name: str, seconds: float) -> str:
        """Wait in a receive call to which nothing comes."""
        sock = self.sockets[socket_name]
        whole = int(seconds)
        timeout = struct.pack("qq", whole, int((seconds - whole) * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        try:
            return f"{len(sock.recv(100))} bytes"
        except OSError as error:
            return error_name(error)

    def close(self, socket_name: str) -> None:
        """Close a kept connection."""
        self.sockets.pop(socket_name).close()

    def _next(self) -> int:
        self.identifier = (self.identifier + 1) & 0xFFFF
        return self.identifier


def error_name(error: OSError) -> str:
    """Return the symbol of an error's number."""
    return errno.errorcode.get(error.errno or 0, str(error))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _finish(timed: Timed, outcome: str, begun: float) -> None:
    timed["seconds"].append(time.monotonic() - begun)
    timed["outcomes"].append(outcome)


def _code(answer: bytes) -> str:
    return dns_message.RCODE_NAMES[dns_message.rcode(answer)]


def _account(sock: socket.socket, seconds: list[float]) -> Account:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return Account(
        retransmits=struct.unpack_from("I", info, _RETRANSMITS_OFFSET)[0],
        seconds=seconds,
    )


def _bytes_under_way(sock: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])
