"""Rules on DNS."""

from __future__ import annotations

from podtrace.model.blame import shares
from podtrace.model.findings import (
    Facts,
    Finding,
    Rule,
    blamed,
    graded_failures,
    listed,
    longest_by,
    share_of,
    slow,
    worst,
)
from podtrace.model.labels import Row
from podtrace.model.search_list import search_list_misses
from podtrace.model.tally import NOTHING
from podtrace.model.wording import number, percent, seconds


def _dns_errors(facts: Facts) -> Finding | None:
    answers, limits = facts.ledger.total("dns"), facts.limits
    rows = facts.ledger.labels["name"].rows
    misses = search_list_misses(rows) if answers.failed else {}
    expected = sum(misses.values())
    bad, all_ = answers.failed - expected, answers.count - expected
    severity = graded_failures(bad, all_, limits.dns_errors_ratio, limits)
    if severity is None:
        return None
    errors = dict(answers.errors)
    if expected:
        errors["NXDOMAIN"] = errors.get("NXDOMAIN", 0) - expected
    counter = [f"{all_ - bad:,} other answers were good"] if all_ > bad else []
    if expected:
        counter.append(
            f"{expected:,} further NXDOMAIN answers are left out: the resolver's search list"
        )
    codes = [(code, count) for code, count in errors.items() if count > 0]
    return Finding(
        severity=severity,
        title=f"DNS answers with an error code: {bad:,} of {all_:,} ({percent(bad / all_)})"
        + blamed(facts, "name", _failed, bad, "for", without=misses),
        evidence=(
            f"an error code in {share_of(bad, all_, 'answers', limits.dns_errors_ratio)}",
            f"by code: {listed(codes)}",
            f"most errors: {worst(facts, 'name', _failed, misses)}",
        ),
        counter_evidence=tuple(counter),
        next_step="Check these names for typing errors and missing Services; SERVFAIL and REFUSED "
        "come from the DNS server: look at its log.",
        samples=all_,
        impact=bad / all_ / max(limits.dns_errors_ratio, 1e-9),
        by_target=shares(facts.ledger.targets, lambda sums: sums.total("dns").failed),
    )


def _dns_search_list(facts: Facts) -> Finding | None:
    answers, limits = facts.ledger.total("dns"), facts.limits
    if answers.failed < limits.least_count:
        return None
    expected = sum(search_list_misses(facts.ledger.labels["name"].rows).values())
    if expected < limits.least_count or expected < limits.dns_errors_ratio * answers.count:
        return None
    return Finding(
        severity="info",
        title=f"DNS queries wasted on the search list: {expected:,} of {answers.count:,}",
        evidence=(
            "NXDOMAIN before the name was found under another suffix in "
            f"{share_of(expected, answers.count, 'answers', limits.dns_errors_ratio)}",
        ),
        counter_evidence=("the names were found in the end",),
        next_step="End fully qualified names with a dot, or lower `ndots` in the pod's dnsConfig.",
        samples=answers.count,
        impact=expected / answers.count,
    )


def _dns_timeouts(facts: Facts) -> Finding | None:
    limits, timeouts = facts.limits, facts.ledger.total("dns_timeout").count
    all_ = facts.ledger.total("dns").count + timeouts
    severity = graded_failures(timeouts, all_, limits.dns_timeouts_ratio, limits)
    if severity is None:
        return None
    after = facts.coverage.threshold_seconds("dns_timeout_ns")
    within = f" within {seconds(after)}" if after else ""
    return Finding(
        severity=severity,
        title=f"DNS queries without an answer: {timeouts:,} of {all_:,} "
        f"({percent(timeouts / all_)}){blamed(facts, 'name', _timed_out, timeouts, 'for')}",
        evidence=(
            f"no answer{within} to "
            f"{share_of(timeouts, all_, 'queries', limits.dns_timeouts_ratio)}",
            f"most: {worst(facts, 'name', _timed_out)}",
            *_refusals(facts),
        ),
        counter_evidence=(f"{all_ - timeouts:,} queries were answered",) if all_ > timeouts else (),
        next_step="Check that the DNS server runs and that no NetworkPolicy or firewall drops "
        "port 53 between it and the target.",
        samples=all_,
        impact=timeouts / all_ / max(limits.dns_timeouts_ratio, 1e-9),
        by_target=shares(facts.ledger.targets, lambda sums: sums.total("dns_timeout").count),
    )


def _dns_pending(facts: Facts) -> Finding | None:
    limits = facts.limits
    pending = facts.ledger.tracers.gauges.get("dns_pending") or 0
    asked = max(facts.ledger.total("dns_query").count, pending)
    if graded_failures(pending, asked, limits.dns_errors_ratio, limits) is None:
        return None
    return Finding(
        severity="info",
        title=f"DNS queries without an answer so far: {pending:,} of {asked:,}"
        + blamed(facts, "name", _open, pending, "for"),
        evidence=(
            f"open at the end were {share_of(pending, asked, 'queries', limits.dns_errors_ratio)}",
            *_refusals(facts),
        ),
        counter_evidence=("each of them is too young to be a timeout",),
        next_step="Look whether a DNS server listens at the address in the target's "
        "/etc/resolv.conf."
        if _refusals(facts)
        else "Trace for longer: what is never answered then shows as a timeout.",
        samples=asked,
        impact=pending / asked,
    )


def _dns_slow(facts: Facts) -> Finding | None:
    return slow(
        facts,
        "dns",
        limit=facts.limits.dns_slow_p95_seconds,
        what="DNS answers",
        evidence=(f"longest: {longest_by(facts, 'name', 'dns')}",),
        next_step="Look at the load of the DNS server and at its upstream servers; a cache on the "
        "node (NodeLocal DNSCache) helps against a distant one.",
        by=("name", "for"),
    )


def _failed(row: Row) -> int:
    return row.get("dns", NOTHING).failed


def _open(row: Row) -> int:
    asked = row.get("dns_query", NOTHING).count
    return asked - row.get("dns", NOTHING).count - _timed_out(row)


def _refusals(facts: Facts) -> tuple[str, ...]:
    """Tell of a server that is not there: no answer comes from it, but the socket has an error."""
    refused = facts.ledger.total("socket").errors.get("ECONNREFUSED", 0)
    if not refused:
        return ()
    calls = number(refused, "call")
    return (f"{calls} on sockets that are no TCP were refused: a server may not be there",)


def _timed_out(row: Row) -> int:
    return row.get("dns_timeout", NOTHING).count


DNS_RULES = (
    Rule(
        "dns_errors",
        "dns",
        "DNS answers with an error code; misses of the search list are left out",
        ("dns_errors_ratio", "critical_ratio", "least_count"),
        _dns_errors,
    ),
    Rule(
        "dns_search_list",
        "dns",
        "NXDOMAIN answers only because the resolver tries its search list first; told as info",
        ("dns_errors_ratio", "least_count"),
        _dns_search_list,
    ),
    Rule(
        "dns_timeouts",
        "dns",
        "DNS queries without an answer",
        ("dns_timeouts_ratio", "critical_ratio", "least_count"),
        _dns_timeouts,
    ),
    Rule(
        "dns_pending",
        "dns",
        "DNS queries are open when the trace ends; told as info",
        ("dns_errors_ratio", "least_count"),
        _dns_pending,
    ),
    Rule(
        "dns_slow",
        "dns",
        "DNS answers are slow",
        ("dns_slow_p95_seconds", "critical_multiple", "least_count"),
        _dns_slow,
    ),
)
