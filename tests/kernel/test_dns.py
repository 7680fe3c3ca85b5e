"""DNS from the packets: every outcome, UDP and TCP, IPv4 and IPv6, from sockets made by hand.

No resolver library takes part, as with static Go and musl programs. One traced run, many figures.
"""

from __future__ import annotations

import json
import subprocess
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel.hidden import NO_PACKETS
from kernel.servers import DNS_ADDRESS, DNS_ADDRESS_IPV6, DNS_DELAY_SECONDS, start_servers
from kernel.tracing import PATIENCE_SECONDS, Report, Trace, command
from kernel.truths import assert_between_truths
from workload.stage import Stage

HOSTILE_NAMES = [
    "ev\x1b[31mil.test",
    "a\nb.test",
    "\xff\xfe.test",
    "x" * 63 + ".test",
    "sp ace.test",
]
TIMEOUT_SECONDS = 5.0
RESEND_SECONDS = 0.1
LATE = "late.d9000.test"
JUNK = ["", "00", "1234", "12340100000100000000", "1234010000010000000000003fff", "ff" * 400]


def _dns(step: str, server: str = DNS_ADDRESS, **arguments: Any) -> list[Any]:
    return [step, {"server": server, **arguments}]


BY_CALL = {
    "sendmsg": ["a.sendmsg.test", "b.sendmsg.test"],
    "write": ["a.write.test"],
    "writev": ["a.writev.test"],
    "sendmmsg": ["a.sendmmsg.test", "b.sendmmsg.test"],
    "tcp_in_parts": ["a.parts.test", "b.parts.test"],
    "tcp_together": ["a.together.test", "b.together.test"],
    "tcp_in_one": ["a.one.test", "b.one.test"],
}
"""Form of a call -> names that are asked for by it."""
SAME = {"same.d40.test": 0.040, "same.d10.test": 0.010}
EARLY = [
    _dns("look_up", name="silent1.test", times=2, wait=False),
    _dns("look_up", name=LATE, wait=False),
]
STEPS = [
    *EARLY,
    _dns("look_up", name="plain.test", times=20),
    _dns("look_up", name="plain6.test", times=10, server=DNS_ADDRESS_IPV6),
    _dns("look_up", name="four-a.test", times=3, question_type=28),
    _dns("look_up", name="NX.Test", times=1),
    _dns("look_up", name="nx.test", times=3),
    _dns("look_up", name="fail.test", times=2),
    _dns("look_up", name="refused.test", times=1),
    _dns("look_up_by_tcp", names=["tcp.test"] * 6),
    _dns("look_up_by_tcp", names=["tcp6.test"] * 4, server=DNS_ADDRESS_IPV6),
    _dns("look_up", name="retry1.test", resend_after=RESEND_SECONDS),
    _dns("look_up", name="retry2.test", resend_after=RESEND_SECONDS),
    _dns("look_up_at_once", names=["many.d40.test"] * 30),
    _dns("look_up_at_once", names=list(SAME), same_id=True),
    *(_dns("look_up_by", form=form, names=names) for form, names in BY_CALL.items()),
    _dns("send_junk", payloads=JUNK),
    *(_dns("look_up", name=name) for name in HOSTILE_NAMES),
    # Of the early questions the third one.
    ["await_answer", {"socket_name": "dns3"}],
    ["now", {}],
    _dns("look_up", name="silent2.test", times=3, wait=False),
]


@dataclass
class Run:
    report: Report
    text: str
    results: list[Any]
    server: dict[str, Any]
    ended_ns: float

    def name(self, name: str) -> dict[str, Any]:
        return self.report.entry("dns.targets", name=name)

    def measured(self, name: str) -> list[float]:
        """Return how long each answer to questions for a name took for the one who asked."""
        found = []
        for (step, arguments), result in zip(STEPS, self.results, strict=True):
            if step == "look_up" and arguments["name"] == name:
                found += result["seconds"]
            elif name in arguments.get("names", ()):
                asked = zip(arguments["names"], result["seconds"], strict=True)
                found += [seconds for each, seconds in asked if each == name]
        return found


@pytest.fixture(scope="module", params=[(), NO_PACKETS], ids=["packets", "calls"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Stage() as stage:
        yield traced(stage, tmp_path_factory.mktemp("dns"), request.param)


def traced(stage: Stage, folder: Path, hidden: Sequence[str]) -> Run:
    """Trace the steps, without what is hidden from the tracer."""
    servers = start_servers(stage)
    cgroup = stage.cgroup("dns")
    program = stage.start("steps.py", json.dumps(STEPS), cgroups=[cgroup])
    environment = {"PODTRACE_HIDE": ",".join(hidden)}
    with Trace(folder, "--cgroup", cgroup, environment=environment) as trace:
        assert {"attached"} == {p["state"] for p in trace.hello["probes"] if p["family"] == "dns"}
        program.go()
        program.wait_done()
        report = trace.stop()
        ended_ns = trace.hello["window_start_ns"] + 1e9 * report["window.seconds"]
        text = subprocess.run(
            command("replay", trace.recording), capture_output=True, timeout=PATIENCE_SECONDS
        ).stdout.decode()
    results = program.truth()["results"]
    return Run(report, text, results, servers.dns.truth(), ended_ns)


def test_every_question_is_counted_once(run: Run) -> None:
    asked = 2 + 1 + 20 + 10 + 3 + 4 + 2 + 1 + 6 + 4 + 2 + 30 + 2 + len(HOSTILE_NAMES) + 3
    asked += sum(map(len, BY_CALL.values()))
    assert run.report["dns.queries"] == asked


def test_answers_are_counted_by_code(run: Run) -> None:
    assert run.report["dns.errors"] == {"NXDOMAIN": 4, "SERVFAIL": 2, "REFUSED": 1}


@pytest.mark.parametrize(("name", "count"), [("plain.test", 20), ("plain6.test", 10)])
def test_answers_over_udp_have_the_injected_delay(run: Run, name: str, count: int) -> None:
    latency = run.name(name)["latency"]
    assert latency["count"] == count
    assert_between_truths(latency, DNS_DELAY_SECONDS, run.measured(name))


@pytest.mark.parametrize(("name", "count"), [("tcp.test", 6), ("tcp6.test", 4)])
def test_questions_over_tcp_are_dns_too(run: Run, name: str, count: int) -> None:
    latency = run.name(name)["latency"]
    assert latency["count"] == count
    assert_between_truths(latency, DNS_DELAY_SECONDS, run.measured(name))


def test_address_questions_of_both_types_are_counted(run: Run) -> None:
    assert run.name("four-a.test")["count"] == 3


@pytest.mark.parametrize("form", BY_CALL)
def test_questions_count_by_whatever_call_they_are_asked(run: Run, form: str) -> None:
    for name in BY_CALL[form]:
        entry = run.name(name)
        assert (entry["count"], entry["latency"]["count"]) == (1, 1)
        assert entry["latency"]["average_seconds"] >= DNS_DELAY_SECONDS


def test_names_are_the_same_in_either_case(run: Run) -> None:
    assert run.name("nx.test")["count"] == 4


def test_no_answer_in_time_is_a_timeout(run: Run) -> None:
    assert run.name("silent1.test")["timeouts"] == 2
    assert run.name("silent1.test")["latency"]["count"] == 0


def test_an_answer_after_the_timeout_is_not_counted_again(run: Run) -> None:
    assert run.report["dns.timeout_after_seconds"] == TIMEOUT_SECONDS
    assert run.name(LATE)["timeouts"] == 1
    assert run.name(LATE)["latency"]["count"] == 0


def test_a_young_question_at_the_end_is_pending(run: Run) -> None:
    """Three are young, unless the machine stood still: then they may have come of age."""
    assert run.report["dns.pending"] + run.report["dns.timeouts"] == 3 + 3
    [asked_ns] = [result for result in run.results if isinstance(result, int)]
    if run.ended_ns - asked_ns < 1e9 * TIMEOUT_SECONDS:
        assert run.report["dns.pending"] == 3


def test_a_question_sent_again_is_a_retry(run: Run) -> None:
    assert run.report["dns.retries"] == 2
    for name in ("retry1.test", "retry2.test"):
        assert run.name(name)["count"] == 1
        latency = run.name(name)["latency"]
        assert_between_truths(latency, RESEND_SECONDS + DNS_DELAY_SECONDS, run.measured(name))


def test_questions_in_flight_together_are_told_apart(run: Run) -> None:
    many = run.name("many.d40.test")["latency"]
    assert many["count"] == 30
    assert_between_truths(many, 0.040, run.measured("many.d40.test"))


@pytest.mark.parametrize("name", SAME)
def test_the_same_id_on_two_sockets_is_two_questions(run: Run, name: str) -> None:
    assert_between_truths(run.name(name)["latency"], SAME[name], run.measured(name))


def test_the_asking_process_is_named(run: Run) -> None:
    activity = run.report["process_activity"]
    assert [entry["operations"]["dns"] for entry in activity if entry["operations"]["dns"]] == [
        run.report["summary.operations.dns"]
    ]


def test_hostile_names_are_escaped_as_in_master_files(run: Run) -> None:
    names = {entry["name"] for entry in run.report["dns.targets"]}
    assert r"ev\027[31mil.test" in names
    assert r"a\010b.test" in names
    assert r"\255\254.test" in names
    assert "x" * 63 + ".test" in names


def test_text_report_has_no_control_characters(run: Run) -> None:
    bad = {c for c in run.text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"}
    assert not bad
    assert "DNS Statistics" in run.text


def test_server_and_report_agree(run: Run) -> None:
    server = run.server
    answered = sum(server["rcodes"].values()) - 1
    assert run.report["dns.latency.count"] == answered
