"""DNS, established TCP connections, and which way the bytes flow."""

from podtrace.model.snapshot import Snapshot, Transfer
from podtrace.report.instants import time_of_day
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
from podtrace.report.quantities import count, duration, size, size_rate
from podtrace.report.style import Style
from podtrace.report.table import name, number, table

_DIRECTIONS = {
    "idle": "idle",
    "mostly_sending": "mostly sending",
    "mostly_receiving": "mostly receiving",
    "balanced": "balanced",
}


def dns(snapshot: Snapshot, style: Style) -> list[str]:
    """Return queries, answers, errors, timeouts and the names asked for most."""
    section = snapshot.dns
    if section is None:
        return sentence(absent(snapshot, "dns"), style)
    lines = caveat(snapshot, style, "dns")
    answered = section.latency.count if section.latency else None
    if not any((section.queries, answered, section.timeouts, section.retries, section.pending)):
        return lines + sentence(f"No DNS query was seen {in_window(snapshot)}.", style)
    errors = breakdown(section.errors)
    after = section.timeout_after_seconds
    patience = f" (no answer in {duration(after)})" if after is not None else ""
    lines += facts(
        (
            ("Queries", known(count(section.queries))),
            ("Asked again", known(count(section.retries))),
            ("Error answers", errors or ("none" if section.errors is not None else "not measured")),
            ("Timeouts", f"{known(count(section.timeouts))}{patience}"),
            ("Still pending", f"{known(count(section.pending))}{_pending_note(section.pending)}"),
        ),
        style,
    )
    lines += ["", *latency_table("lookups", (("answers", section.latency),), style)]
    if section.targets:
        shown = section.targets[:TOP]
        # Names are long: a column that says the same as the next one is left out.
        has_open = any((target.queries or 0) > target.count for target in shown)
        rows = [
            (
                target.name,
                *([count(target.queries)] if has_open else []),
                count(target.count),
                count(sum(target.errors.values())),
                count(target.timeouts),
                duration(target.latency.average_seconds),
                duration(target.latency.p95_seconds),
                duration(target.latency.max_seconds),
            )
            for target in shown
        ]
        columns = (
            name("name"),
            *([number("asked", 5)] if has_open else []),
            number("count", 5),
            number("errors"),
            number("timeouts"),
            number("avg", 7),
            number("p95", 7),
            number("max", 7),
        )
        lines += ["", *table(columns, rows, style), *more(TOP, section.targets, style)]
    return lines


def _pending_note(pending: int | None) -> str:
    return " (asked, but no answer yet)" if pending else ""


def tcp(snapshot: Snapshot, style: Style) -> list[str]:
    """Return round trips, trouble, send and receive calls, and the peers."""
    section = snapshot.tcp
    if section is None:
        return sentence(absent(snapshot, "tcp"), style)
    lines = caveat(snapshot, style, "tcp")
    blocks = (("round trip", section.rtt), ("send", section.send), ("receive", section.receive))
    trouble = (section.rtt_spikes, section.retransmits, section.resets)
    if not any(trouble) and all(block is not None and not block.count for _, block in blocks):
        return lines + sentence(f"No TCP traffic was seen {in_window(snapshot)}.", style)
    lines += latency_table("latency", blocks, style)
    above = section.rtt_spike_above_seconds
    limit = f" (round trips above {duration(above)})" if above is not None else ""
    lines += [
        "",
        *facts(
            (
                ("RTT spikes", f"{known(count(section.rtt_spikes))}{limit}"),
                ("Retransmits", known(count(section.retransmits))),
                ("Resets received", known(count(section.resets))),
                ("Sent", _transfer(section.send, "to send")),
                ("Received", _transfer(section.receive, "for data")),
            ),
            style,
        ),
    ]
    if section.peers:
        rows = [
            (
                endpoint(peer.address, peer.port, peer.name),
                count(peer.rtt.count),
                duration(peer.rtt.p50_seconds),
                duration(peer.rtt.p99_seconds),
                duration(peer.rtt.max_seconds),
                count(peer.rtt_spikes),
                count(peer.retransmits),
                count(peer.resets),
            )
            for peer in section.peers[:TOP]
        ]
        columns = (
            name("peer"),
            number("RTTs"),
            number("p50", 7),
            number("p99", 7),
            number("max", 7),
            number("spikes"),
            number("resent"),
            number("resets"),
        )
        drawn = table(columns, rows, style)
        lines += ["", *drawn, *more(TOP, section.peers, style)]
        lines += hidden_names(drawn, _told_nowhere_else(snapshot), style)
    return lines


def network_io(snapshot: Snapshot, style: Style) -> list[str]:
    """Return payload by direction, its peak, and the peers that moved most of it."""
    section = snapshot.network_io
    if section is None:
        return sentence(absent(snapshot, "tcp"), style)
    lines = caveat(snapshot, style, "tcp")
    if not section.sent_bytes and not section.received_bytes:
        lines += sentence(f"No TCP payload was sent or received {in_window(snapshot)}.", style)
        return lines + rule(section.rule, style)
    ratio = section.send_receive_ratio
    proportion = f" (sent / received = {ratio:.2f})" if ratio is not None else ""
    peak = size_rate(section.peak_bytes_per_second)
    lines += facts(
        (
            ("Pattern", f"{_DIRECTIONS.get(section.pattern, section.pattern)}{proportion}"),
            ("Busiest moment", f"{peak} at {time_of_day(section.peak_start)} UTC"),
        ),
        style,
    )
    columns = (
        name("direction", flexible=False),
        number("payload", 10),
        number("average", 12),
        number("peak", 12),
        number("per call", 10),
    )
    rows = (
        (
            "sent",
            size(section.sent_bytes),
            size_rate(section.sent_bytes_per_second),
            size_rate(section.peak_sent_bytes_per_second),
            size(section.average_send_bytes),
        ),
        (
            "received",
            size(section.received_bytes),
            size_rate(section.received_bytes_per_second),
            size_rate(section.peak_received_bytes_per_second),
            size(section.average_receive_bytes),
        ),
    )
    lines += ["", *table(columns, rows, style), *_busiest_peers(snapshot, style), ""]
    return lines + rule(section.rule, style)


def _told_nowhere_else(snapshot: Snapshot) -> list[tuple[str, int | None, str | None]]:
    """Return the rows of peers, without the names that Connection Statistics tells."""
    told = {
        (target.address, target.port)
        for target in (snapshot.connections.targets[:TOP] if snapshot.connections else ())
    }
    return [
        (peer.address, peer.port, None if (peer.address, peer.port) in told else peer.name)
        for peer in (snapshot.tcp.peers[:TOP] if snapshot.tcp else ())
    ]


def _transfer(block: Transfer | None, purpose: str) -> str:
    if block is None:
        return "not measured"
    text = f"{size(block.bytes)}, {duration(block.waiting_seconds)} asleep waiting {purpose}"
    if block.would_block:
        text += f", {count(block.would_block)} calls would have blocked"
    return text


def _busiest_peers(snapshot: Snapshot, style: Style) -> list[str]:
    peers = [
        (peer, (peer.sent_bytes or 0) + (peer.received_bytes or 0))
        for peer in (snapshot.tcp.peers if snapshot.tcp else ())
        if peer.sent_bytes or peer.received_bytes
    ]
    if not peers:
        return []
    peers.sort(key=lambda item: -item[1])
    rows = [
        (
            endpoint(peer.address, peer.port, peer.name),
            size(peer.sent_bytes),
            size(peer.received_bytes),
        )
        for peer, _ in peers[:TOP]
    ]
    columns = (name("peer"), number("sent", 10), number("received", 10))
    return ["", *table(columns, rows, style), *more(TOP, peers, style)]
