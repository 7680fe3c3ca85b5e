"""Potential issues: rules over the sums of a trace, each with its evidence and its doubts.

A rule looks at one thing and gives at most one finding. What holds for all rules is here: how
severe, how sure, in which order. A finding that another one explains (waits for a CPU under a
tight quota) is never more severe than that one and stands behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from podtrace.model.blame import Shares, concerned_pods, shares
from podtrace.model.coverage import FULL, Coverage
from podtrace.model.culprits import culprit
from podtrace.model.labels import Row, names_one_thing
from podtrace.model.ledger import Ledger
from podtrace.model.peers import PeerNames
from podtrace.model.pod_notes import PodNote
from podtrace.model.quality import Losses
from podtrace.model.snapshot import Confidence, Issue, Severity
from podtrace.model.tally import NOTHING
from podtrace.model.thresholds import Thresholds
from podtrace.model.wording import number, percent, seconds, shortened

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""From the least to the most severe."""

CRITICAL_SAMPLES = 10
"""Fewer samples never make a finding critical."""
SURE_SAMPLES = 50
CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")


@dataclass(frozen=True)
class Facts:
    """What the rules look at.

    `losses` are the records and ticks that were lost; `peers` are names of addresses, `pods` those
    of the pods among the targets; `pod_notes` are what the cluster says of them.
    """

    ledger: Ledger
    coverage: Coverage
    limits: Thresholds
    seconds: float
    losses: Losses
    peers: PeerNames
    pods: Mapping[int, str]
    pod_notes: Sequence[PodNote] = ()


@dataclass(frozen=True)
class Finding:
    """What a rule found.

    `impact` is how many times its threshold the measure is, `by_target` how much of it each target
    has.
    """

    severity: Severity
    title: str
    evidence: tuple[str, ...]
    next_step: str
    samples: int
    impact: float
    counter_evidence: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()
    by_target: Shares = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One finding that there can be: its id, its section, its thresholds and how it is found."""

    id: str
    section: str | None
    about: str
    limits: tuple[str, ...]
    find: Callable[[Facts], Finding | None]


def find_issues(rules: Sequence[Rule], facts: Facts) -> tuple[Issue, ...]:
    """Return the findings of all rules, the most severe and then the most serious first."""
    found = {rule: finding for rule in rules if (finding := rule.find(facts)) is not None}
    severities = {rule.id: finding.severity for rule, finding in found.items()}

    def behind(finding: Finding) -> list[str]:
        return [cause for cause in finding.explained_by if cause in severities]

    for rule, finding in found.items():
        for cause in behind(finding):
            milder = min(finding.severity, severities[cause], key=SEVERITIES.index)
            finding = found[rule] = replace(finding, severity=milder)
    ordered = sorted(
        found.items(),
        key=lambda item: (
            -SEVERITIES.index(item[1].severity),
            bool(behind(item[1])),
            -item[1].impact,
        ),
    )
    return tuple(
        Issue(
            id=rule.id,
            severity=finding.severity,
            title=finding.title,
            evidence=_evidence(finding, facts),
            counter_evidence=finding.counter_evidence,
            confidence=_confidence(rule, finding, facts),
            next_step=finding.next_step,
        )
        for rule, finding in ordered
    )


def at_or_above(issues: Sequence[Issue], severity: Severity) -> tuple[Issue, ...]:
    """Return the issues at least as severe, for `--fail-on`."""
    least = SEVERITIES.index(severity)
    return tuple(issue for issue in issues if SEVERITIES.index(issue.severity) >= least)


def _evidence(finding: Finding, facts: Facts) -> tuple[str, ...]:
    pods = concerned_pods(facts.pods, finding.by_target)
    return finding.evidence if pods is None else (*finding.evidence, pods)


def _confidence(rule: Rule, finding: Finding, facts: Facts) -> Confidence:
    level = (finding.samples >= CRITICAL_SAMPLES) + (finding.samples >= SURE_SAMPLES)
    degraded = {item.section for item in facts.coverage.degraded_sections() if item.state != FULL}
    level -= rule.section in degraded
    level -= facts.losses.ratio >= facts.limits.lost_ratio
    return CONFIDENCES[max(level, 0)]


def graded(samples: int, critical: bool) -> Severity:
    """Return warning, or critical if it is and there are samples enough to say so."""
    return "critical" if critical and samples >= CRITICAL_SAMPLES else "warning"


def graded_failures(bad: int, all_: int, limit: float, limits: Thresholds) -> Severity | None:
    """Return how severe it is that some of all operations fail, None where that is no finding.

    Fewer than `least_count` are told only if nothing succeeded, and as info.
    """
    if not bad or bad < limit * all_:
        return None
    if bad < limits.least_count:
        return "info" if bad == all_ else None
    return graded(all_, bad >= limits.critical_ratio * all_)


def share_of(bad: int, all_: int, noun: str, limit: float) -> str:
    """Return `7 of 23 connects (30 %, threshold 10 %)`."""
    ratio = bad / all_ if all_ else 0.0
    return f"{bad:,} of {all_:,} {noun} ({percent(ratio)}, threshold {percent(limit)})"


def p95_of(value: float, limit: float) -> str:
    """Return `95th percentile 310 ms (threshold 100 ms)`."""
    return f"95th percentile {seconds(value)} (threshold {seconds(limit)})"


def listed(
    counts: Sequence[tuple[str, int]], limit: int = 3, name: Callable[[str], str] = str
) -> str:
    """Return `ECONNREFUSED 7, ETIMEDOUT 2` of the greatest counts; `name` shows a label."""
    ranked = sorted(counts, key=lambda item: (-item[1], item[0]))
    rest = len(ranked) - limit
    text = ", ".join(f"{name(label)} {count:,}" for label, count in ranked[:limit])
    return f"{text} and {rest} more" if rest > 0 else text


def slow(
    facts: Facts,
    metric: str,
    *,
    limit: float,
    what: str,
    evidence: tuple[str, ...],
    next_step: str,
    explained_by: tuple[str, ...] = (),
    by: tuple[str, str] | None = None,
    where: str = "",
) -> Finding | None:
    """Return a finding if the 95th percentile, and `least_count` durations, reach the limit.

    Its title ends with what is slow: `where`, or with `by`, field and preposition, the label that
    has most of the slow ones.
    """
    durations = facts.ledger.total(metric).durations
    p95 = durations.quantile(0.95)
    if p95 is None or p95 < limit:
        return None
    slow_ones = durations.at_least(limit)
    if slow_ones < facts.limits.least_count:
        return None
    if by is not None:
        field, preposition = by
        where = blamed(
            facts,
            field,
            lambda row: row.get(metric, NOTHING).durations.at_least(limit),
            slow_ones,
            preposition,
            noun="slow ones",
        )
    median = durations.quantile(0.5) or 0.0
    counter = f"half of them took at most {seconds(median)}"
    return Finding(
        severity=graded(durations.count, p95 >= limit * facts.limits.critical_multiple),
        title=f"{what} are slow: 95th percentile {seconds(p95)}{where}",
        evidence=(
            f"{what}: {p95_of(p95, limit)}, longest {seconds(durations.max_ns / 1e9)}",
            f"{slow_ones:,} of {number(durations.count, 'operation')} at or above the threshold",
            *evidence,
        ),
        counter_evidence=(counter,) if median < limit else (),
        next_step=next_step,
        samples=durations.count,
        impact=p95 / max(limit, 1e-9),
        explained_by=explained_by,
        by_target=shares(
            facts.ledger.targets, lambda sums: sums.total(metric).durations.at_least(limit)
        ),
    )


def worst(facts: Facts, field: str, bad: Callable[[Row], int], without: Container[str] = ()) -> str:
    """Return the labels of a field with most bad operations, as `listed` does."""
    counts = [
        (label, bad(row))
        for label, row in facts.ledger.labels[field].rows.items()
        if names_one_thing(label) and label not in without
    ]
    found = [item for item in counts if item[1]]
    return listed(found, name=facts.peers.with_name) or "not known by target"


def blamed(
    facts: Facts,
    field: str,
    bad: Callable[[Row], int],
    all_bad: int,
    preposition: str,
    *,
    noun: str = "",
    without: Container[str] = (),
) -> str:
    """Return the end of a title, `, all to 10.0.0.1:80`, where one label has most of what is bad.

    Args:
        facts: what the rules look at.
        field: of which labels.
        bad: how much of it a label has.
        all_bad: how much there is of it.
        preposition: stands before the label.
        noun: what is bad, where the title does not say it.
        without: labels that are left out of it.
    """
    rows = facts.ledger.labels[field].rows.items()
    found = culprit({label: row for label, row in rows if label not in without}, bad, all_bad)
    if found is None:
        return ""
    label, count = found
    if count >= all_bad:
        share = f"all {noun}" if noun else "all"
    else:
        share = f"{count:,} of the {all_bad:,} {noun}" if noun else f"{count:,} of them"
    return f", {share} {preposition} {shortened(facts.peers.with_name(label))}"


def longest_by(facts: Facts, field: str, metric: str) -> str:
    """Return the labels with the longest duration of a metric, as `name 310 ms`."""
    ranked = sorted(
        (
            (row[metric].durations.max_ns, label)
            for label, row in facts.ledger.labels[field].rows.items()
            if metric in row and names_one_thing(label)
        ),
        reverse=True,
    )
    texts = [
        f"{facts.peers.with_name(label)} {seconds(longest / 1e9)}" for longest, label in ranked[:3]
    ]
    return ", ".join(texts) or "not known by target"
