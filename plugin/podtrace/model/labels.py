"""Sums by peer, DNS name, path or reason, in bounded memory."""

from __future__ import annotations

import heapq
from typing import Any

from podtrace.model.tally import Tally
from podtrace.wire.schema import OVERFLOW_LABEL

OTHER_LABEL = "(other)"
"""Row of labels that were dropped from a full table; sums over all rows still hold."""

Row = dict[str, Tally]

_ADDRESS_CHARACTERS = frozenset("0123456789abcdef:.")


class LabelTable:
    """Tallies by label and metric.

    A table of 2 * `kept` labels is cut to the `kept` busiest; the rest is added to the row
    OTHER_LABEL. A dropped label that comes back starts anew, so its own row may then be too small.
    """

    def __init__(self, kept: int = 500) -> None:
        self.rows: dict[str, Row] = {}
        self._kept = kept

    def add(self, label: str, line: dict[str, Any]) -> None:
        """Add a series line to the label's row."""
        row = self.rows.get(label)
        if row is None:
            if len(self.rows) >= 2 * self._kept:
                self._shrink()
            row = self.rows.setdefault(label, {})
        metric = line["metric"]
        tally = row.get(metric)
        if tally is None:
            tally = row[metric] = Tally()
        tally.add(line)

    def _shrink(self) -> None:
        busiest = heapq.nlargest(self._kept, self.rows.items(), key=lambda item: _weight(item[1]))
        kept = dict(busiest)
        other = kept.setdefault(OTHER_LABEL, self.rows.get(OTHER_LABEL, {}))
        for label, row in self.rows.items():
            if label not in kept:
                for metric, tally in row.items():
                    other.setdefault(metric, Tally()).merge(tally)
        self.rows = kept


def _weight(row: Row) -> int:
    return sum(tally.operations(metric) for metric, tally in row.items())


def names_one_thing(label: str) -> bool:
    """Return whether the label stands for itself, not for what no longer fitted a table."""
    return label not in (OTHER_LABEL, OVERFLOW_LABEL)


def split_peer(peer: str) -> tuple[str, int | None]:
    """Return address and port of `10.0.0.1:80` or `[::1]:80`; a peer may have no port."""
    bracketed = peer.startswith("[") and peer.endswith("]")
    if bracketed or (peer.count(":") > 1 and not peer.startswith("[")):
        return peer.strip("[]"), None
    address, colon, port = peer.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5:
        return peer, None
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    return address, int(port)


def is_loopback(peer: str) -> bool:
    """Return whether a peer is an address of this machine's loopback."""
    address, _ = split_peer(peer)
    return address.startswith("127.") or address.strip("[]") == "::1"


def ip_version(peer: str) -> int | None:
    """Return 4 or 6 as the packets were, so 4 for an IPv4-mapped IPv6 address; None if neither."""
    address = split_peer(peer)[0].lower()
    if not address or not set(address) <= _ADDRESS_CHARACTERS:
        return None
    if ":" not in address:
        return 4 if address.count(".") == 3 else None
    return 4 if address.startswith("::ffff:") else 6
