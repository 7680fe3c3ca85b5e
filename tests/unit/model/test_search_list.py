"""Misses of the resolver's search list are told from names that are missing."""

from __future__ import annotations

import pytest

from factories import series
from podtrace.model.labels import LabelTable
from podtrace.model.search_list import search_list_misses


def table(**answers: str) -> LabelTable:
    filled = LabelTable()
    for name, rcode in answers.items():
        errors = {} if rcode == "NOERROR" else {rcode: 1}
        filled.add(name, series("dns", count=1, duration_ns=5, name=name, errors=errors))
    return filled


@pytest.mark.parametrize(
    ("answers", "misses"),
    [
        (
            {
                "api.example.com.shop.svc.cluster.local": "NXDOMAIN",
                "api.example.com.svc.cluster.local": "NXDOMAIN",
                "api.example.com.cluster.local": "NXDOMAIN",
                "api.example.com": "NOERROR",
            },
            3,
        ),
        (
            {
                "db.other.shop.svc.cluster.local": "NXDOMAIN",
                "db.other.svc.cluster.local": "NOERROR",
            },
            1,
        ),
        (
            {
                "gone.example.com.shop.svc.cluster.local": "NXDOMAIN",
                "gone.example.com.svc.cluster.local": "NXDOMAIN",
                "gone.example.com": "NXDOMAIN",
                "api.example.com": "NOERROR",
            },
            0,
        ),
        ({"a.example": "NXDOMAIN", "example": "NXDOMAIN"}, 0),
        ({"www.typo.com": "NXDOMAIN", "www.com": "NOERROR"}, 0),
        ({"api.example.com.local": "SERVFAIL", "api.example.com": "NOERROR"}, 0),
        ({"(other)": "NXDOMAIN", ".": "NXDOMAIN", "": "NXDOMAIN"}, 0),
    ],
)
def test_misses(answers: dict[str, str], misses: int) -> None:
    assert sum(search_list_misses(table(**answers).rows).values()) == misses


def test_long_hostile_names_are_quick() -> None:
    names = {".".join([str(number), *"abcdefghij" * 12]): "NXDOMAIN" for number in range(900)}
    assert search_list_misses(table(**names, ok="NOERROR").rows) == {}
