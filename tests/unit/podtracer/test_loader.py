"""What passes between the tracer and the child that loads for it."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from podtracer import loading
from podtracer.errors import TracerError
from podtracer.loader import Loader, Stopped
from podtracer.plan import Plan
from podtracer.stops import Stops

PLAN = Plan(cgroups={7: 1}, levels=(3,), hidden=frozenset({"struct mount"}))
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGPIPE)


@pytest.fixture
def stops() -> Iterator[Stops]:
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGCHLD)}
    yield Stops()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


Serve = Callable[[frozenset[str], socket.socket, int], Any]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Serve], None]:
    return lambda work: monkeypatch.setattr(loading, "serve", work)


def assert_no_child_is_left() -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def answer(hidden: frozenset[str], channel: socket.socket, noise: int) -> Any:
    plan = loading.pickle.loads(channel.recv(1 << 20))
    fds = [os.memfd_create(name) for name in ("map", "program", "link")]
    os.write(fds[0], json.dumps([sorted(hidden), plan == PLAN]).encode())
    return {"maps": ["series"], "programs": ["sys_exit"], "probes": [{"name": "sys_exit"}]}, fds


def test_descriptors_come_by_their_names(serve: Callable[[Serve], None], stops: Stops) -> None:
    serve(answer)
    with Loader(PLAN.hidden) as loader:
        loaded = loader.load(PLAN, stops)
        assert_no_child_is_left()
    assert json.loads(os.pread(loaded.maps["series"], 99, 0)) == [["struct mount"], True]
    assert list(loaded.programs) == ["sys_exit"]
    assert len(loaded.links) == 1
    assert loaded.probes == [{"name": "sys_exit"}]
    loaded.close()


def test_what_is_done_meanwhile_is_done_once(serve: Callable[[Serve], None], stops: Stops) -> None:
    done: list[int] = []
    serve(answer)
    with Loader(PLAN.hidden) as loader:
        loader.load(PLAN, stops, meanwhile=lambda: done.append(1)).close()
    assert done == [1]


def refuse(hidden: frozenset[str], channel: socket.socket, noise: int) -> Any:
    channel.recv(1 << 20)
    raise TracerError("no_btf", "no types", "Use another kernel.")


def test_what_is_in_the_way_is_raised_here(serve: Callable[[Serve], None], stops: Stops) -> None:
    serve(refuse)
    with Loader(frozenset()) as loader, pytest.raises(TracerError) as raised:
        loader.load(PLAN, stops)
    assert (raised.value.code, raised.value.hint) == ("no_btf", "Use another kernel.")


def die(hidden: frozenset[str], channel: socket.socket, noise: int) -> Any:
    os.write(2, b"LLVM ERROR: out of memory\n")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("after_seconds", [0, 0.3])
def test_a_child_that_dies_is_an_error_with_its_last_words(
    serve: Callable[[Serve], None], stops: Stops, after_seconds: float
) -> None:
    serve(die)
    with Loader(frozenset()) as loader:
        time.sleep(after_seconds)
        with pytest.raises(TracerError, match=r"status 9.*LLVM ERROR") as raised:
            loader.load(PLAN, stops)
    assert raised.value.code == "loader_died"
    assert_no_child_is_left()


def sleep(hidden: frozenset[str], channel: socket.socket, noise: int) -> Any:
    time.sleep(60)


def test_a_stop_ends_a_child_that_is_at_work(serve: Callable[[Serve], None], stops: Stops) -> None:
    serve(sleep)
    began = time.monotonic()
    with Loader(frozenset()) as loader, pytest.raises(Stopped):
        loader.load(PLAN, stops, meanwhile=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert_no_child_is_left()
    assert time.monotonic() - began < 30


def test_a_child_that_is_not_needed_ends(serve: Callable[[Serve], None]) -> None:
    read, write = os.pipe()

    def wait(hidden: frozenset[str], channel: socket.socket, noise: int) -> Any:
        os.write(write, b"%d" % len(channel.recv(1 << 20)))

    serve(wait)
    with Loader(frozenset()):
        pass
    assert_no_child_is_left()
    assert os.read(read, 9) == b"0"
    os.close(read)
    os.close(write)
