"""Tables by label: bounded, and their sums hold."""

from __future__ import annotations

import pytest

from factories import series
from podtrace.model.labels import OTHER_LABEL, LabelTable, ip_version, split_peer


def test_rows_add_up_by_label_and_metric() -> None:
    table = LabelTable()
    table.add("a", series("dns", duration_ns=[10, 20]))
    table.add("a", series("dns", duration_ns=30))
    table.add("a", series("dns_timeout", count=1))
    table.add("b", series("dns", duration_ns=5))
    assert table.rows["a"]["dns"].count == 3
    assert table.rows["a"]["dns"].durations.max_ns == 30
    assert table.rows["a"]["dns_timeout"].count == 1
    assert table.rows["b"]["dns"].count == 1


def test_full_table_keeps_the_busiest_and_the_sum() -> None:
    table = LabelTable(kept=10)
    for number in range(1000):
        table.add("steady", series("dns", count=1, duration_ns=7))
        table.add(f"once-{number}", series("dns", count=1, duration_ns=7))
    assert len(table.rows) <= 21
    assert table.rows["steady"]["dns"].count == 1000
    assert OTHER_LABEL in table.rows
    assert sum(row["dns"].count for row in table.rows.values()) == 2000
    assert sum(row["dns"].durations.count for row in table.rows.values()) == 2000


@pytest.mark.parametrize(
    ("peer", "split", "version"),
    [
        ("10.0.0.1:5432", ("10.0.0.1", 5432), 4),
        ("[::1]:80", ("::1", 80), 6),
        ("[::ffff:10.0.0.1]:80", ("::ffff:10.0.0.1", 80), 4),
        ("[::ffff:a00:1]:80", ("::ffff:a00:1", 80), 4),
        ("10.0.0.9", ("10.0.0.9", None), 4),
        ("[fd00::9]", ("fd00::9", None), 6),
        ("fd00::9", ("fd00::9", None), 6),
        ("(overflow)", ("(overflow)", None), None),
        ("(other)", ("(other)", None), None),
        ("host:notaport", ("host:notaport", None), None),
        ("", ("", None), None),
        (":80", ("", 80), None),
    ],
)
def test_peer_is_split(peer: str, split: tuple[str, int | None], version: int | None) -> None:
    assert split_peer(peer) == split
    assert ip_version(peer) == version
