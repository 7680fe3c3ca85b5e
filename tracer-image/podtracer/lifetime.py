"""Ends of life: of the process that started us, and of what we start."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_GRACE_SECONDS = 5
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int) -> None:
    """Ask for a signal when the parent dies; end at once if it has died already.

    The kernel watches the parent's thread that forked, so call it from a single-threaded parent.
    """
    parent = os.getppid()
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def die_with_parent_of(pid: int) -> None:
    """Ask for SIGTERM when the parent, which is `pid`, dies; end now if it has died already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != pid:
        raise SystemExit(1)


def set_name(name: str) -> None:
    """Name this process as ps and top show it, up to 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def limit_life(seconds: float) -> None:
    """Get SIGALRM after so long, and be ended a few seconds later whatever this process is doing.

    The latter needs neither the interpreter nor a signal, which the first process of a PID
    namespace may not get.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + _GRACE_SECONDS, exit=True)
