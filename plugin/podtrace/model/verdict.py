"""The one to three lines that stand above the report."""

from __future__ import annotations

from collections.abc import Sequence

from podtrace.model.fleet import OPEN
from podtrace.model.snapshot import Issue, Status, Summary, Verdict, Window
from podtrace.model.wording import number, percent, seconds


def verdict(
    window: Window,
    summary: Summary,
    issues: Sequence[Issue],
    lost_ratio: float,
    lost_limit: float,
    subject: str | None = None,
) -> Verdict:
    """Say what is wrong first, what else, and whether the data can be trusted.

    Args:
        window: how long was traced, and whether all of it arrived.
        summary: how much happened.
        issues: the findings in their order.
        lost_ratio: share of what was lost.
        lost_limit: share from which the numbers are not to be trusted.
        subject: the pods in words.
    """
    worst = issues[0].severity if issues else None
    problems = [issue for issue in issues if issue.severity != "info"]
    doubt = _doubt(window, lost_ratio, lost_limit)
    if problems:
        lines = _problem_lines(problems, subject)
    else:
        lines = [_quiet_line(window, summary, len(issues), subject)]
    if doubt:
        lines.append(doubt)
    return Verdict(status=_status(worst, window), lines=tuple(lines))


def _status(worst: Status | None, window: Window) -> Status:
    if worst in ("warning", "critical"):
        return worst
    if not window.complete and window.incomplete_reason != OPEN:
        return "incomplete"
    return worst or "healthy"


def _problem_lines(problems: Sequence[Issue], subject: str | None) -> list[str]:
    first, *others = problems
    where = f"{subject}: " if subject else ""
    lines = [f"{first.severity.capitalize()}: {where}{first.title}."]
    if others:
        named = "; ".join(issue.title for issue in others[:2])
        rest = len(others) - 2
        lines.append(f"Also: {named}; and {rest} more." if rest > 0 else f"Also: {named}.")
    return lines


def _quiet_line(window: Window, summary: Summary, remarks: int, subject: str | None) -> str:
    if summary.events is None:
        return "Nothing was measured, so nothing can be said."
    length = seconds(round(window.seconds, 1 if window.seconds >= 1 else 3))
    where = f" in {subject}" if subject else ""
    if not summary.events:
        return f"Nothing happened{where} in {length}: no events to judge by."
    text = f"No problem found{where} in {length} of {number(summary.events, 'event')}."
    return f"{text} See {number(remarks, 'remark')} below." if remarks else text


def _doubt(window: Window, lost_ratio: float, lost_limit: float) -> str | None:
    doubts = []
    if not window.complete and window.incomplete_reason not in (None, OPEN):
        doubts.append(f"this trace is incomplete ({window.incomplete_reason})")
    if lost_ratio >= lost_limit and lost_ratio > 0:
        doubts.append(f"{percent(lost_ratio)} of the records were lost")
    if not doubts:
        return None
    return f"Do not rely on the counts: {' and '.join(doubts)}."
