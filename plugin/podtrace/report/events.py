"""One notable event of the stream as one plain sentence.

Every text in an event line may come from a traced process, so the finished sentence passes the
escape gate as a whole.
"""

from collections.abc import Callable
from dataclasses import replace

from podtrace.model.clock import rfc3339
from podtrace.model.notable import Notable
from podtrace.report.instants import time_of_day
from podtrace.report.quantities import count, duration, size
from podtrace.report.style import PLAIN, Style

_ORDINARY = frozenset({"connect", "dns", "exec", "exit"})
_LONGEST_PART = 120
_LONGEST_PLACE = 40

_CONNECT_ERRORS = {
    "ECONNREFUSED": "refused",
    "ETIMEDOUT": "timed out",
    "EHOSTUNREACH": "host unreachable",
    "ENETUNREACH": "network unreachable",
    "ECONNRESET": "reset",
    "GIVEN_UP": "given up",
}
_BLOCKED_ON = {
    "disk": "waiting for a disk",
    "network": "waiting for the network",
    "lock": "waiting for a lock",
    "sleep": "asleep",
    "poll": "polling",
}
_OPERATIONS = {"open": "open of", "read": "read of", "write": "write to", "fsync": "fsync of"}


def is_notable(event: Notable) -> bool:
    """Return whether an event tells of trouble or something rare.

    The stream also carries examples of ordinary connects and answers, and every start and clean end
    of a process; a process that failed is notable.
    """
    if event.event == "exit":
        return bool(event.exit_code)
    return event.event not in _ORDINARY


def sentence_of(event: Notable, style: Style = PLAIN) -> str:
    """Return an event as `refused: connect to 10.0.0.5:5432 by nginx (pid 12) after 400 µs`.

    An event in a pod begins with `[web-0/main] `, the pod and the container; one that stands for
    several with `x30 `, their number.
    """
    times = f"x{count(event.times)} " if event.times > 1 else ""
    return style.text(f"{times}{_place(event)}{_SENTENCES.get(event.event, _other)(event)}")


def timed_sentence(event: Notable, style: Style = PLAIN) -> str:
    """Return the sentence of an event behind its time of day, in UTC."""
    return f"{time_of_day(rfc3339(event.time_ns))} {sentence_of(event, style)}"


def _place(event: Notable) -> str:
    if not event.pod:
        return ""
    place = [_short(part, longest=_LONGEST_PLACE) for part in (event.pod, event.container) if part]
    return f"[{'/'.join(place)}] "


def _connect(event: Notable) -> str:
    return f"connected: {_who(event)} to {_peer(event)}{_after(event, 'in')}"


def _connect_failed(event: Notable) -> str:
    error = _short(event.error, "no reason given")
    kind = _CONNECT_ERRORS.get(error, f"failed ({error})")
    return f"{kind}: connect to {_peer(event)} by {_who(event)}{_after(event)}"


def _reset(event: Notable) -> str:
    return f"connection reset by {_peer(event)}: {_who(event)}{_detail(event)}"


def _retransmit(event: Notable) -> str:
    segments = event.count or 1
    what = "1 segment" if segments == 1 else f"{count(segments)} segments"
    return f"retransmitted: {what} to {_peer(event)} by {_who(event)}"


def _rtt_spike(event: Notable) -> str:
    return f"slow round trip: {_took(event)} to {_peer(event)}, {_who(event)}"


def _dns(event: Notable) -> str:
    return f"resolved: {_short(event.name)} for {_who(event)}{_after(event, 'in')}"


def _dns_error(event: Notable) -> str:
    error = _short(event.error, "DNS error")
    return f"{error}: look-up of {_short(event.name)} by {_who(event)}{_after(event)}"


def _dns_timeout(event: Notable) -> str:
    return f"no answer: look-up of {_short(event.name)} by {_who(event)}{_after(event)}"


def _slow_file(event: Notable) -> str:
    volume = f", {size(event.bytes)}" if event.bytes else ""
    return f"slow: {_took(event)} by {_who(event)}{volume}: {_action(event)}"


def _long_block(event: Notable) -> str:
    doing = _BLOCKED_ON.get(event.reason or "other", "off the CPU")
    where = f": {_action(event)}" if event.operation or event.path else ""
    # The path comes last: it may be of any length, and lines are cut at their end.
    return f"blocked: {_took(event)}, {_who(event)} {doing}{where}"


def _oom_kill(event: Notable) -> str:
    return f"out of memory: {_named(event)} was killed"


def _exec(event: Notable) -> str:
    path = _short(event.path, "")
    return f"started: {_named(event)}{f' from {path}' if path else ''}"


def _exit(event: Notable) -> str:
    code = event.exit_code
    if code is None:
        return f"ended: {_named(event)}"
    if code < 0:
        return f"killed: {_named(event)} by signal {-code}"
    return f"ended: {_named(event)} with exit code {code}"


def _container_restart(event: Notable) -> str:
    if not event.container:
        return f"container restarted: {_short(event.detail)}"
    return f"container restarted: {_short(event.container)}{_detail(event)}"


def _target_gone(event: Notable) -> str:
    return f"the {'pod' if event.pod else 'target'} is gone{_detail(event)}"


def _other(event: Notable) -> str:
    return f"{_short(event.event)}: {_who(event)}{_detail(event)}"


def _peer(event: Notable) -> str:
    name = f" ({_short(event.peer_name)})" if event.peer_name else ""
    return f"{_short(event.peer)}{name}"


def _who(event: Notable) -> str:
    name = _short(event.process)
    return f"{name} (pid {event.pid})" if event.pid is not None else name


def _named(event: Notable) -> str:
    """Return the process by the name that it had then: an exec or the end of it may change it."""
    return _who(replace(event, process=event.detail)) if event.detail else _who(event)


def _action(event: Notable) -> str:
    operation = _short(event.operation, "operation")
    verb = _OPERATIONS.get(operation, f"{operation} of")
    return f"{verb} {_short(event.path)}"


def _short(text: str | None, absent: str = "(unknown)", longest: int = _LONGEST_PART) -> str:
    if not text:
        return absent
    return text if len(text) <= longest else f"{text[: longest // 2]}(...){text[-longest // 3 :]}"


def _took(event: Notable) -> str:
    seconds = event.duration_seconds
    if seconds is None:
        return "an unknown time"
    return f"up to {duration(seconds)}" if event.times > 1 else duration(seconds)


def _after(event: Notable, word: str = "after") -> str:
    return f" {word} {_took(event)}" if event.duration_seconds is not None else ""


def _detail(event: Notable) -> str:
    return f" ({_short(event.detail)})" if event.detail else ""


_SENTENCES: dict[str, Callable[[Notable], str]] = {
    "connect": _connect,
    "connect_failed": _connect_failed,
    "reset": _reset,
    "retransmit": _retransmit,
    "rtt_spike": _rtt_spike,
    "dns": _dns,
    "dns_error": _dns_error,
    "dns_timeout": _dns_timeout,
    "slow_file": _slow_file,
    "long_block": _long_block,
    "oom_kill": _oom_kill,
    "exec": _exec,
    "exit": _exit,
    "container_restart": _container_restart,
    "target_gone": _target_gone,
}
