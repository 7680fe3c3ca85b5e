"""TCP connects: whether they succeed, how long they take, and how each target is used."""

from podtrace.model.snapshot import Connections, Snapshot
from podtrace.report.measures import (
    TOP,
    absent,
    breakdown,
    caveat,
    endpoint,
    hidden_names,
    in_window,
    known,
    latency_table,
)
from podtrace.report.prose import facts, more, rule, sentence
from podtrace.report.quantities import count, duration, percent, rate
from podtrace.report.style import Style
from podtrace.report.table import name, number, table


def connections(snapshot: Snapshot, style: Style) -> list[str]:
    """Return connects and accepts, by IP version and by target."""
    section = snapshot.connections
    if section is None:
        return sentence(absent(snapshot, "connections"), style)
    lines = caveat(snapshot, style, "connections")
    established = section.latency.count if section.latency else None
    closed = section.lifetime.count if section.lifetime else None
    activity = (section.attempts, established, section.failed, section.accepted, closed)
    if not any(activity) and not section.in_progress:
        nothing = f"No connection was made, accepted or closed {in_window(snapshot)}."
        return lines + sentence(nothing, style)
    lines += facts(
        (
            ("Attempts", known(count(section.attempts))),
            ("Established", known(count(established))),
            ("Failed", _failed(section)),
            ("In progress", known(count(section.in_progress))),
            *_unknown(section),
            ("Accepted", known(count(section.accepted))),
        ),
        style,
    )
    blocks = (
        ("connect", section.latency),
        ("over IPv4", section.ipv4.latency if section.ipv4 else None),
        ("over IPv6", section.ipv6.latency if section.ipv6 else None),
        ("lifetime", section.lifetime),
    )
    lines += ["", *latency_table("latency", blocks, style)]
    if section.targets:
        rows = [
            (
                endpoint(target.address, target.port, target.name),
                count(target.attempts),
                count(target.failed),
                duration(target.latency.p50_seconds),
                duration(target.latency.max_seconds),
                breakdown(target.errors, limit=1),
            )
            for target in section.targets[:TOP]
        ]
        columns = (
            name("target"),
            number("attempts"),
            number("failed"),
            number("p50", 7),
            number("max", 7),
            name("errors", flexible=False, limit=19),
        )
        drawn = table(columns, rows, style)
        shown = [(target.address, target.port, target.name) for target in section.targets[:TOP]]
        lines += ["", *drawn, *more(TOP, section.targets, style)]
        lines += hidden_names(drawn, shown, style)
    return lines


def patterns(snapshot: Snapshot, style: Style) -> list[str]:
    """Return how each target is used: reused connections, churn, failures."""
    section = snapshot.connection_patterns
    if section is None:
        return sentence(absent(snapshot, "connections", "tcp"), style)
    if not section.targets:
        lines = sentence(f"No connection to tell a pattern from {in_window(snapshot)}.", style)
        return lines + rule(section.rule, style)
    rows = [
        (
            endpoint(target.address, target.port, target.name),
            target.pattern,
            count(target.connects),
            rate(target.connects_per_second),
            count(target.failed),
            duration(target.mean_lifetime_seconds),
            _per_connection(target.requests_per_connection),
        )
        for target in section.targets[:TOP]
    ]
    columns = (
        name("target"),
        name("pattern", flexible=False, limit=10),
        number("conns"),
        number("rate", 6),
        number("failed"),
        number("life", 7),
        number("req/conn"),
    )
    lines = [*table(columns, rows, style), *more(TOP, section.targets, style), ""]
    lines += sentence(
        "life: mean lifetime of closed connections; req/conn: requests per connection", style
    )
    return lines + rule(section.rule, style)


def _unknown(section: Connections) -> list[tuple[str, str]]:
    """Return a row for attempts of which nothing more was seen, if there are any."""
    if not section.outcome_unknown:
        return []
    return [("Outcome unknown", f"{count(section.outcome_unknown)}: the kernel told of no end")]


def _failed(section: Connections) -> str:
    if section.failed is None:
        return "not measured"
    text = count(section.failed)
    if section.attempts and section.failed:
        text += f" ({percent(section.failed / section.attempts)} of attempts)"
    errors = breakdown(section.errors)
    return f"{text}: {errors}" if errors else text


def _per_connection(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else count(round(value))
