"""One notable event of the stream as one plain sentence.

Every text in an event line may come from a traced process, so the finished sentence passes the
escape gate as a whole.
"""

from collections.abc import Callable, Mapping
from typing import Any

from podtrace.report.quantities import count, duration, size
from podtrace.report.style import PLAIN, Style

_ORDINARY = frozenset({"connect", "dns", "exec", "exit"})
_LONGEST_PART = 120

_CONNECT_ERRORS = {
    "ECONNREFUSED": "refused",
    "ETIMEDOUT": "timed out",
    "EHOSTUNREACH": "host unreachable",
    "ENETUNREACH": "network unreachable",
    "ECONNRESET": "reset",
    "ECONNABORTED": "given up",
}
_BLOCKED_ON = {
    "disk": "waiting for a disk",
    "network": "waiting for the network",
    "lock": "waiting for a lock",
    "sleep": "asleep",
    "poll": "polling",
}
_OPERATIONS = {"open": "open of", "read": "read of", "write": "write to", "fsync": "fsync of"}


def is_notable(event: Mapping[str, Any]) -> bool:
    """Return whether an event line tells of trouble or something rare.

    The stream also carries examples of ordinary connects and answers, and every start and clean end
    of a process; a process that failed is notable.
    """
    if event.get("event") == "exit":
        return bool(event.get("exit_code"))
    return event.get("event") not in _ORDINARY


def sentence_of(event: Mapping[str, Any], who: str, style: Style = PLAIN) -> str:
    """Return an event line as `refused: connect to 10.0.0.5:5432 by nginx (pid 12) after 0.4 ms`.

    Args:
        event: an event line of the stream; fields may be absent.
        who: name of the process, not yet escaped.
        style: what the output can show.
    """
    name = str(event.get("event"))
    tell = _SENTENCES.get(name, _other)
    return style.text(tell(event, who[:_LONGEST_PART]))


def _connect(event: Mapping[str, Any], who: str) -> str:
    return f"connected: {who} to {_text(event, 'peer')}{_after(event, 'in')}"


def _connect_failed(event: Mapping[str, Any], who: str) -> str:
    error = _text(event, "error", "no reason given")
    kind = _CONNECT_ERRORS.get(error, f"failed ({error})")
    return f"{kind}: connect to {_text(event, 'peer')} by {who}{_after(event)}"


def _reset(event: Mapping[str, Any], who: str) -> str:
    return f"connection reset by {_text(event, 'peer')}: {who}{_detail(event)}"


def _retransmit(event: Mapping[str, Any], who: str) -> str:
    segments = event.get("count") or 1
    what = "1 segment" if segments == 1 else f"{count(segments)} segments"
    return f"retransmitted: {what} to {_text(event, 'peer')} by {who}"


def _rtt_spike(event: Mapping[str, Any], who: str) -> str:
    return f"slow round trip: {_took(event)} to {_text(event, 'peer')}, {who}"


def _dns(event: Mapping[str, Any], who: str) -> str:
    return f"resolved: {_text(event, 'name')} for {who}{_after(event, 'in')}"


def _dns_error(event: Mapping[str, Any], who: str) -> str:
    error = _text(event, "error", "DNS error")
    return f"{error}: look-up of {_text(event, 'name')} by {who}{_after(event)}"


def _dns_timeout(event: Mapping[str, Any], who: str) -> str:
    return f"no answer: look-up of {_text(event, 'name')} by {who}{_after(event)}"


def _slow_file(event: Mapping[str, Any], who: str) -> str:
    operation = _text(event, "operation", "operation")
    moved = event.get("bytes")
    volume = f", {size(moved)}" if moved else ""
    verb = _OPERATIONS.get(operation, f"{operation} of")
    return f"slow: {verb} {_text(event, 'path')} by {who} took {_took(event)}{volume}"


def _long_block(event: Mapping[str, Any], who: str) -> str:
    reason = _text(event, "reason", "other")
    return f"blocked: {who} {_BLOCKED_ON.get(reason, 'off the CPU')} for {_took(event)}"


def _oom_kill(event: Mapping[str, Any], who: str) -> str:
    return f"out of memory: {who} was killed{_detail(event)}"


def _exec(event: Mapping[str, Any], who: str) -> str:
    path = _text(event, "path", "")
    return f"started: {who}{f' from {path}' if path else ''}{_detail(event)}"


def _exit(event: Mapping[str, Any], who: str) -> str:
    code = event.get("exit_code")
    if not isinstance(code, int):
        return f"ended: {who}"
    if code < 0:
        return f"killed: {who} by signal {-code}"
    return f"ended: {who} with exit code {code}"


def _container_restart(event: Mapping[str, Any], who: str) -> str:
    return f"container restarted: {_text(event, 'detail', who)}"


def _target_gone(event: Mapping[str, Any], who: str) -> str:
    return f"the target is gone{_detail(event)}"


def _other(event: Mapping[str, Any], who: str) -> str:
    return f"{_text(event, 'event')}: {who}{_detail(event)}"


def _text(event: Mapping[str, Any], field: str, absent: str = "(unknown)") -> str:
    value = event.get(field)
    if value is None or value == "":
        return absent
    text = str(value)
    return text if len(text) <= _LONGEST_PART else f"{text[: _LONGEST_PART // 2]}(...){text[-40:]}"


def _took(event: Mapping[str, Any]) -> str:
    nanoseconds = event.get("duration_ns")
    return duration(nanoseconds / 1e9) if isinstance(nanoseconds, int) else "an unknown time"


def _after(event: Mapping[str, Any], word: str = "after") -> str:
    return f" {word} {_took(event)}" if event.get("duration_ns") is not None else ""


def _detail(event: Mapping[str, Any]) -> str:
    detail = _text(event, "detail", "")
    return f" ({detail})" if detail else ""


_SENTENCES: dict[str, Callable[[Mapping[str, Any], str], str]] = {
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
