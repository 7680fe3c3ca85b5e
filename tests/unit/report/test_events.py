"""Every kind of event line becomes one plain, safe sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtrace.report.events import is_notable, sentence_of
from podtrace.report.style import Style
from podtrace.wire.schema import EVENTS
from unit.report import examples


@pytest.mark.parametrize(
    ("event", "fields", "sentence"),
    [
        (
            "connect_failed",
            {"peer": "10.0.0.5:5432", "error": "ECONNREFUSED", "duration_seconds": 0.0004},
            "refused: connect to 10.0.0.5:5432 by nginx (pid 12) after 400 µs",
        ),
        (
            "connect_failed",
            {"peer": "10.0.0.5:5432", "error": "EACCES"},
            "failed (EACCES): connect to 10.0.0.5:5432 by nginx (pid 12)",
        ),
        ("reset", {"peer": "[::1]:80"}, "connection reset by [::1]:80: nginx (pid 12)"),
        (
            "retransmit",
            {"peer": "10.0.0.5:1", "count": 3},
            "retransmitted: 3 segments to 10.0.0.5:1 by nginx (pid 12)",
        ),
        (
            "rtt_spike",
            {"peer": "10.0.0.5:1", "duration_seconds": 0.21},
            "slow round trip: 210 ms to 10.0.0.5:1, nginx (pid 12)",
        ),
        (
            "dns_error",
            {"name": "nope.example", "error": "NXDOMAIN", "duration_seconds": 0.009},
            "NXDOMAIN: look-up of nope.example by nginx (pid 12) after 9.00 ms",
        ),
        (
            "dns_timeout",
            {"name": "silent.example", "duration_seconds": 5},
            "no answer: look-up of silent.example by nginx (pid 12) after 5.00 s",
        ),
        (
            "slow_file",
            {"operation": "write", "path": "/data/log", "duration_seconds": 0.031, "bytes": 4096},
            "slow: 31.0 ms by nginx (pid 12), 4.00 KiB: write to /data/log",
        ),
        (
            "long_block",
            {"reason": "disk", "duration_seconds": 1.2},
            "blocked: 1.20 s, nginx (pid 12) waiting for a disk",
        ),
        (
            "long_block",
            {"reason": "disk", "duration_seconds": 1.2, "operation": "fsync", "path": "/data/wal"},
            "blocked: 1.20 s, nginx (pid 12) waiting for a disk: fsync of /data/wal",
        ),
        ("exec", {"detail": "sh"}, "started: sh (pid 12)"),
        ("oom_kill", {}, "out of memory: nginx (pid 12) was killed"),
        ("exit", {"exit_code": -11}, "killed: nginx (pid 12) by signal 11"),
        ("exit", {"exit_code": 3}, "ended: nginx (pid 12) with exit code 3"),
        (
            "container_restart",
            {"detail": "app, third time"},
            "container restarted: app, third time",
        ),
        (
            "container_restart",
            {"container": "web", "pod": "web-0", "detail": "0123 in place of 4567"},
            "[web-0/web] container restarted: web (0123 in place of 4567)",
        ),
        ("target_gone", {}, "the target is gone"),
        ("target_gone", {"pod": "web-0"}, "[web-0] the pod is gone"),
        (
            "oom_kill",
            {"pod": "web-0", "container": "main"},
            "[web-0/main] out of memory: nginx (pid 12) was killed",
        ),
        (
            "connect_failed",
            {
                "peer": "10.96.0.10:5432",
                "peer_name": "service shop/db",
                "error": "ECONNREFUSED",
                "pod": "web-0",
                "container": "main",
            },
            "[web-0/main] refused: connect to 10.96.0.10:5432 (service shop/db) by nginx (pid 12)",
        ),
        (
            "novelty",
            {"detail": "of a later version"},
            "novelty: nginx (pid 12) (of a later version)",
        ),
    ],
)
def test_event_reads_as_a_sentence(event: str, fields: dict[str, Any], sentence: str) -> None:
    assert sentence_of(examples.notable(event, **fields)) == sentence


@pytest.mark.parametrize("event", EVENTS)
def test_event_without_any_field_still_reads(event: str) -> None:
    assert sentence_of(examples.notable(event, process="", pid=None)).strip()


@pytest.mark.parametrize(
    ("event", "notable"),
    [
        ({"event": "connect"}, False),
        ({"event": "dns"}, False),
        ({"event": "exec"}, False),
        ({"event": "exit", "exit_code": 0}, False),
        ({"event": "exit"}, False),
        ({"event": "exit", "exit_code": 1}, True),
        ({"event": "connect_failed"}, True),
        ({"event": "novelty"}, True),
    ],
)
def test_only_trouble_and_rare_things_are_notable(event: dict[str, Any], notable: bool) -> None:
    assert is_notable(examples.notable(**event)) is notable


@given(
    st.sampled_from(EVENTS),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=400),
    st.booleans(),
)
def test_hostile_text_cannot_leave_its_sentence(event: str, text: str, unicode: bool) -> None:
    names = ("peer", "peer_name", "pod", "container", "name", "path", "error", "operation")
    fields = dict.fromkeys((*names, "reason", "detail"), text)
    sentence = sentence_of(examples.notable(event, process=text, **fields), Style(unicode=unicode))
    assert sentence.isprintable()
    assert len(sentence) < 6000


def test_long_names_of_pods_leave_room_for_the_event() -> None:
    pod = "a-very-long-name-of-a-deployment-in-some-team-7d4b9c6f5d-x2x9k"
    sentence = sentence_of(examples.notable("oom_kill", pod=pod, container="main"))
    assert sentence.startswith("[a-very-long-name-of-(...)4b9c6f5d-x2x9k/main] out of memory")
