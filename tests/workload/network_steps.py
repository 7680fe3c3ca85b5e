"""Steps on the network: DNS questions made by hand, connects of every outcome, transfers."""

from __future__ import annotations

import errno
import os
import socket
import statistics
import struct
import time

import dns_message

_TCP_INFO_BYTES = 104
_RTT_OFFSET, _RETRANSMITS_OFFSET = 68, 100
_PATIENCE = struct.pack("qq", 10, 0)


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
    ) -> list[str]:
        """Ask over UDP, each time on a socket of its own; return the codes of the answers."""
        codes = []
        for _ in range(times):
            sock = socket.socket(_family(server), socket.SOCK_DGRAM)
            sock.connect((server, 53))
            message = dns_message.query(self._next(), name, question_type)
            sock.send(message)
            if resend_after is not None:
                time.sleep(resend_after)
                sock.send(message)
            if not wait:
                self.sockets[f"dns{self.identifier}"] = sock
                continue
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
            codes.append(dns_message.RCODE_NAMES[dns_message.rcode(sock.recv(512))])
            sock.close()
        return codes

    def look_up_at_once(self, server: str, names: list[str], same_id: bool = False) -> list[str]:
        """Ask all questions, each on its own socket, before the first answer is read."""
        socks = []
        for name in names:
            identifier = 7 if same_id else self._next()
            sock = socket.socket(_family(server), socket.SOCK_DGRAM)
            sock.connect((server, 53))
            sock.send(dns_message.query(identifier, name))
            socks.append(sock)
        codes = []
        for sock in socks:
            codes.append(dns_message.RCODE_NAMES[dns_message.rcode(sock.recv(512))])
            sock.close()
        return codes

    def look_up_by_tcp(self, server: str, names: list[str]) -> list[str]:
        """Ask over one TCP connection, one question after the other."""
        codes = []
        with socket.create_connection((server, 53)) as sock:
            for name in names:
                message = dns_message.query(self._next(), name)
                sock.send(len(message).to_bytes(2, "big") + message)
                size = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")
                answer = sock.recv(size, socket.MSG_WAITALL)
                codes.append(dns_message.RCODE_NAMES[dns_message.rcode(answer)])
        return codes

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
    ) -> list[str]:
        """Connect, and close unless it is to be kept; return `ok` or the name of the error."""
        results = []
        for _ in range(times):
            sock = socket.socket(_family(address), socket.SOCK_STREAM)
            if syn_count is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, syn_count)
            try:
                sock.connect((address, port))
                results.append("ok")
            except OSError as error:
                results.append(error_name(error))
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

    def exchange(
        self, socket_name: str, times: int, size: int = 100, pause: float = 0.0
    ) -> dict[str, int]:
        """Send and receive the same number of bytes on a kept connection; return its account."""
        sock = self.sockets[socket_name]
        took_us = []
        for _ in range(times):
            begun_ns = time.monotonic_ns()
            sock.send(bytes(size))
            sock.recv(size, socket.MSG_WAITALL)
            took_us.append((time.monotonic_ns() - begun_ns) // 1000)
            if pause:
                time.sleep(pause)
        return {**_tcp_info(sock), "median_us": statistics.median_high(took_us)}

    def upload(self, socket_name: str, times: int, size: int, pause: float) -> dict[str, int]:
        """Send without ever receiving; return the connection's account."""
        for _ in range(times):
            self.sockets[socket_name].sendall(bytes(size))
            time.sleep(pause)
        return _tcp_info(self.sockets[socket_name])

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


def _tcp_info(sock: socket.socket) -> dict[str, int]:
    """Return the kernel's own account: smoothed round trip and segments sent again."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return {
        "rtt_us": struct.unpack_from("I", info, _RTT_OFFSET)[0],
        "retransmits": struct.unpack_from("I", info, _RETRANSMITS_OFFSET)[0],
    }
