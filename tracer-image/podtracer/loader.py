"""A child that compiles, loads and attaches, so that LLVM's memory goes when it has done its work.

It starts before it is known what to trace, and gets ready meanwhile (loading.py). It hands over the
descriptors of maps, programs and links and exits; the kernel keeps what they refer to while the
tracer lives, and no longer.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable

from podtracer.errors import TracerError, defect
from podtracer.lifetime import die_with_parent
from podtracer.plan import Plan
from podtracer.stops import Stops

_MOST_BYTES = 1 << 20
_MOST_DESCRIPTORS = 250
_SHOWN_NOISE = 2000


class Stopped(Exception):
    """The end was asked for before the probes were attached: there is nothing to tell."""


@dataclass
class Loaded:
    """What the child handed over; descriptors are this process's own."""

    maps: dict[str, int]
    programs: dict[str, int]
    links: list[int]
    probes: list[dict[str, Any]]

    def close(self) -> None:
        """Detach everything and give the maps back."""
        for fd in (*self.links, *self.programs.values(), *self.maps.values()):
            os.close(fd)


class Loader:
    """The child, from its start on; as a context manager it has gone at the end.

    `hidden` is what the plan will hide from the probes.
    """

    def __init__(self, hidden: frozenset[str]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # What BCC and clang print: in memory, because there may be no folder to write to.
        self._noise = os.memfd_create("noise")
        self._child = os.fork()
        if self._child == 0:
            self._channel.close()
            _run_child(hidden, theirs, self._noise)
        theirs.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def load(
        self, plan: Plan, stops: Stops, meanwhile: Callable[[], None] = lambda: None
    ) -> Loaded:
        """Load and attach all that this kernel accepts; call `meanwhile` while the child is at it.

        Raises TracerError with what is in the way and the next step, Stopped where `stops` says so.
        """
        import pickle  # Needed once, when the child has long been at work.

        message = b""
        fds: list[int] = []
        try:
            self._channel.send(pickle.dumps(plan))
            meanwhile()
            self._wait_for_answer(stops)
            message, fds, _, _ = socket.recv_fds(self._channel, _MOST_BYTES, _MOST_DESCRIPTORS)
        except ConnectionError:
            pass
        if not message:
            raise self._died()
        self._wait()
        answer = json.loads(message)
        if "error" in answer:
            raise TracerError(**answer["error"])
        names = iter(fds)
        return Loaded(
            maps={name: next(names) for name in answer["maps"]},
            programs={name: next(names) for name in answer["programs"]},
            links=list(names),
            probes=answer["probes"],
        )

    def close(self) -> None:
        """Let the child end, and wait for that: it removes what it has written."""
        if self._channel.fileno() >= 0:
            self._channel.close()
            self._wait()
            os.close(self._noise)

    def _wait(self) -> int:
        status = 0
        if self._child:
            _, status = os.waitpid(self._child, 0)
            self._child = 0
        return status

    def _wait_for_answer(self, stops: Stops) -> None:
        """Wait until the child has an answer or is dead; end it where the end is asked for before.

        Compiling takes a second or more, in which whoever started us may be killed.
        """
        while not select.select([self._channel], [], [], 0)[0]:
            if stops.asked:
                os.kill(self._child, signal.SIGKILL)
                raise Stopped
            if stops.fd in select.select([self._channel.fileno(), stops.fd], [], [])[0]:
                os.read(stops.fd, 4096)

    def _died(self) -> TracerError:
        status = self._wait()
        size = os.lseek(self._noise, 0, os.SEEK_END)
        noise = os.pread(self._noise, _SHOWN_NOISE, max(size - _SHOWN_NOISE, 0))
        text = noise.decode(errors="replace").strip()
        return TracerError(
            "loader_died",
            f"the loader ended without a result (wait status {status}): {text}",
            "Is there memory for the compiler? It needs about 150 MiB for a second.",
        )


def _run_child(hidden: frozenset[str], channel: socket.socket, noise: int) -> None:
    """Do the work and end the child; whatever goes wrong becomes an answer."""
    code = 1
    try:
        die_with_parent(signal.SIGKILL)
        for stop in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(stop, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.dup2(noise, 1)
        os.dup2(noise, 2)
        # What the parent never needs, and imports of its own meanwhile.
        from podtracer.loading import serve

        try:
            served = serve(hidden, channel, noise)
        except Exception as error:
            served = {"error": defect(error).as_fields()}, []
        if served is not None:
            answer, fds = served
            socket.send_fds(channel, [json.dumps(answer).encode()], fds)
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)
