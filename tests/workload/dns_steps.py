"""DNS questions by every call that can carry them, as resolvers use them."""

from __future__ import annotations

import ctypes
import os
import socket

import dns_message

_PATIENCE_SECONDS = 30
_ROOM = 512
_FIRST_NUMBER = 0x7000
_WAIT_FOR_ONE = 0x10000
"""MSG_WAITFORONE of recvmmsg(2)."""
_libc = ctypes.CDLL(None, use_errno=True)


class _Part(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_long),
        ("length", ctypes.c_uint),
    )


class DnsSteps:
    """One step, with a form for each way to ask; it returns the codes of the answers."""

    def look_up_by(self, form: str, server: str, names: list[str]) -> list[str]:
        """Ask for names, together where the form has room for several."""
        self._asked = getattr(self, "_asked", _FIRST_NUMBER)
        messages = []
        for name in names:
            self._asked += 1
            messages.append(dns_message.query(self._asked, name))
        stream = form.startswith("tcp")
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        with socket.socket(family, kind) as sock:
            if form != "sendmsg":
                sock.connect((server, 53))
            answers = getattr(self, "_by_" + form)(sock, server, messages)
        return [dns_message.RCODE_NAMES[dns_message.rcode(answer)] for answer in answers]

    def _by_sendmsg(self, sock: socket.socket, server: str, messages: list[bytes]) -> list[bytes]:
        answers = []
        for message in messages:
            sock.sendmsg([message], [], 0, (server, 53))
            answers.append(sock.recvmsg(_ROOM)[0])
        return answers

    def _by_write(self, sock: socket.socket, server: str, messages: list[bytes]) -> list[bytes]:
        answers = []
        for message in messages:
            os.write(sock.fileno(), message)
            answers.append(os.read(sock.fileno(), _ROOM))
        return answers

    def _by_writev(self, sock: socket.socket, server: str, messages: list[bytes]) -> list[bytes]:
        answers = []
        for message in messages:
            os.writev(sock.fileno(), [message])
            buffer = bytearray(_ROOM)
            size = os.readv(sock.fileno(), [buffer])
            answers.append(bytes(buffer[:size]))
        return answers

    def _by_sendmmsg(self, sock: socket.socket, server: str, messages: list[bytes]) -> list[bytes]:
        sent = _Messages([ctypes.create_string_buffer(m, len(m)) for m in messages])
        if _libc.sendmmsg(sock.fileno(), sent.headers, len(messages), 0) != len(messages):
            raise OSError(ctypes.get_errno(), "sendmmsg")
        answers: list[bytes] = []
        while len(answers) < len(messages):
            room = _Messages([ctypes.create_string_buffer(_ROOM) for _ in messages])
            flags = _WAIT_FOR_ONE
            count = _libc.recvmmsg(sock.fileno(), room.headers, len(messages), flags, None)
            if count < 0:
                raise OSError(ctypes.get_errno(), "recvmmsg")
            answers += room.received(count)
        return answers

    def _by_tcp_in_parts(
        self, sock: socket.socket, server: str, messages: list[bytes]
    ) -> list[bytes]:
        answers = []
        for message in messages:
            sock.send(len(message).to_bytes(2, "big"))
            sock.send(message)
            answers += _read_stream(sock, 1)
        return answers

    def _by_tcp_together(
        self, sock: socket.socket, server: str, messages: list[bytes]
    ) -> list[bytes]:
        parts = [part for m in messages for part in (len(m).to_bytes(2, "big"), m)]
        os.writev(sock.fileno(), parts)
        return _read_stream(sock, len(messages))

    def _by_tcp_in_one(
        self, sock: socket.socket, server: str, messages: list[bytes]
    ) -> list[bytes]:
        sock.send(b"".join(len(m).to_bytes(2, "big") + m for m in messages))
        return _read_stream(sock, len(messages))


class _Messages:
    """Headers of messages that have one buffer each; it keeps what they point to."""

    def __init__(self, buffers: list[ctypes.Array[ctypes.c_char]]) -> None:
        count = len(buffers)
        self._buffers = buffers
        self._parts = (_Part * count)(*((ctypes.addressof(b), len(b)) for b in buffers))
        self.headers = (_Header * count)()
        for header, part in zip(self.headers, self._parts, strict=True):
            header.parts = ctypes.addressof(part)
            header.part_count = 1

    def received(self, count: int) -> list[bytes]:
        """Return what came in the first of them."""
        return [self._buffers[n].raw[: self.headers[n].length] for n in range(count)]


def _read_stream(sock: socket.socket, count: int) -> list[bytes]:
    """Read answers with their lengths before them, whole buffers at a time."""
    sock.settimeout(_PATIENCE_SECONDS)
    data = b""
    answers: list[bytes] = []
    while len(answers) < count:
        data += sock.recv(4096)
        while len(data) >= 2 and len(data) >= 2 + int.from_bytes(data[:2], "big"):
            size = 2 + int.from_bytes(data[:2], "big")
            answers.append(data[2:size])
            data = data[size:]
    return answers
