"""The one to three lines that stand above the report."""

from __future__ import annotations

from collections.abc import Sequence

from podtrace.model.fleet import OPEN
from podtrace.model.quality import Losses
from podtrace.model.snapshot import Cpu, Issue, Status, Summary, Verdict, Window
from podtrace.model.wording import number, percent, seconds


def verdict(
    window: Window,
    summary: Summary,
    issues: Sequence[Issue],
    losses: Losses,
    lost_limit: float,
    subject: str | None = None,
    cpu: Cpu | None = None,
) -> Verdict:
    """Say what is wrong first, what else, and whether the data can be trusted.

    Args:
        window: how long was traced, and whether all of it arrived.
        summary: how much happened.
        issues: the findings in their order.
        losses: share of what was lost.
        lost_limit: share from which the numbers are not to be trusted.
        subject: the pods in words.
        cpu: what the threads did, for a trace without any event.
    """
    worst = issues[0].severity if issues else None
    problems = [issue for issue in issues if issue.severity != "info"]
    doubt = _doubt(window, losses, lost_limit)
    failure = _failure(window)
    if problems:
        lines = _problem_lines(problems, subject, failure)
    else:
        quiet = _quiet_line(window, summary, subject, bool(issues))
        lines = [f"{quiet}, but {failure}." if failure else f"{quiet}."]
        if summary.events == 0:
            lines.append(_idle_line(cpu))
        elif issues:
            remark = "Remark" if len(issues) == 1 else f"{len(issues)} remarks"
            lines.append(f"{remark}: {_named(issues)}.")
    if doubt:
        lines.append(doubt)
    return Verdict(status=_status(worst, window, summary), lines=tuple(lines))


def _status(worst: Status | None, window: Window, summary: Summary) -> Status:
    if worst in ("warning", "critical"):
        return worst
    if not window.complete and window.incomplete_reason != OPEN:
        return "incomplete"
    # Without any event, a target that is well looks the same as one that hangs.
    is_well = summary.events and not _failure(window)
    return worst or ("healthy" if is_well else "info")


def _failure(window: Window) -> str | None:
    """Return how the command failed, None where it did not or where podtrace ended it."""
    code = window.exit_code
    if window.end_reason != "command_exited" or not code:
        return None
    if code < 0:
        return f"the command was killed by signal {-code}"
    return f"the command ended with exit code {code}"


def _problem_lines(
    problems: Sequence[Issue], subject: str | None, failure: str | None
) -> list[str]:
    first, *others = problems
    where = f"{subject}: " if subject else ""
    lines = [f"{first.severity.capitalize()}: {where}{first.title}."]
    also = [part for part in (_named(others), failure) if part]
    if also:
        lines.append(f"Also: {'; '.join(also)}.")
    return lines


def _named(issues: Sequence[Issue]) -> str:
    named = "; ".join(issue.title for issue in issues[:2])
    rest = len(issues) - 2
    return f"{named}; and {rest} more" if rest > 0 else named


def _quiet_line(window: Window, summary: Summary, subject: str | None, has_remarks: bool) -> str:
    if summary.events is None:
        return "Nothing was measured, so nothing can be said"
    length = seconds(round(window.seconds, 1 if window.seconds >= 1 else 3))
    where = f" in {subject}" if subject else ""
    if not summary.events:
        why = "" if window.end_reason == "command_exited" else ": it is idle, or it hangs"
        return f"Nothing happened{where} in {length}{why}"
    found = "No warning" if has_remarks else "No problem found"
    return f"{found}{where} in {length} of {number(summary.events, 'event')}"


def _idle_line(cpu: Cpu | None) -> str:
    """Return what the threads did while there was no event."""
    parts = []
    if cpu is not None and cpu.on_cpu_seconds:
        parts.append(f"used the CPU for {seconds(cpu.on_cpu_seconds)}")
    blocked = {} if cpu is None else cpu.blocked_by_reason or {}
    blocked_seconds = sum(blocked.values())
    if blocked_seconds:
        reason = max(blocked, key=lambda name: blocked[name])
        parts.append(f"were blocked for {seconds(blocked_seconds)}, most of it by {reason}")
    did = f"Threads {' and '.join(parts)}. " if parts else ""
    return f"{did}Threads that slept all the time are not seen."


def _doubt(window: Window, losses: Losses, lost_limit: float) -> str | None:
    doubts = []
    if not window.complete and window.incomplete_reason not in (None, OPEN):
        doubts.append(f"this trace is incomplete ({window.incomplete_reason})")
    if losses.ratio >= lost_limit and losses.ratio > 0:
        lost = f"{percent(losses.ratio)} of the records were lost"
        if losses.is_of_node:
            lost = f"up to {lost}, as counted for the whole node"
            if not doubts:
                return f"Counts may be too low: {lost}."
        doubts.append(lost)
    if not doubts:
        return None
    return f"Do not rely on the counts: {' and '.join(doubts)}."
