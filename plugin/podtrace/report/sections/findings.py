"""Potential issues: what was found, on which numbers it rests, and what to do next."""

from podtrace.model.snapshot import Issue, Snapshot
from podtrace.report.prose import listing, sentence
from podtrace.report.style import Style

SEVERITIES = ("critical", "warning", "info")
_MARGIN = "      "
_LABEL = 11


def issues(snapshot: Snapshot, style: Style) -> list[str]:
    """Return every finding, the worst first, or why there is none."""
    lines: list[str] = []
    for issue in sorted(snapshot.issues, key=_rank):
        lines += ["", *_issue(issue, style)]
    if not lines:
        if snapshot.summary.events is None:
            return sentence("Cannot be told: no data arrived.", style)
        none = "None: no measured value is beyond its threshold often enough to tell."
        if not snapshot.summary.events:
            none = "None, but there was no event to judge by."
        lines = ["", *sentence(none, style)]
    blind = [degraded.section for degraded in snapshot.quality.degraded_sections]
    if blind:
        text = f"Not, or only partly, examined: {listing(blind)} (see Trace Quality)."
        lines += ["", *sentence(text, style)]
    if not snapshot.window.complete:
        lines += ["", *sentence("The trace is incomplete: there may be more.", style)]
    return lines[1:]


def _issue(issue: Issue, style: Style) -> list[str]:
    lines = sentence(f"[{issue.severity}] {issue.title}", style, rest=_MARGIN)
    labelled = [
        *((("evidence" if not index else ""), text) for index, text in enumerate(issue.evidence)),
        *(
            (("but" if not index else ""), text)
            for index, text in enumerate(issue.counter_evidence)
        ),
        ("confidence", issue.confidence),
        ("next step", issue.next_step),
    ]
    for label, text in labelled:
        lines += sentence(text, style, first=f"{_MARGIN}{label:<{_LABEL}} ")
    return lines


def _rank(issue: Issue) -> int:
    return SEVERITIES.index(issue.severity) if issue.severity in SEVERITIES else len(SEVERITIES)
