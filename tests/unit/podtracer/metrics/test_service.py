from __future__ import annotations

import gzip
import http.client
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from metrics_page import POD, Names, Page
from podtrace.wire.version import VERSION
from podtracer.address import Address, bind
from podtracer.cgroups import Hierarchies
from podtracer.drain import Group
from podtracer.errors import TracerError
from podtracer.metrics.service import STALE_NS, Metrics
from podtracer.records import METRICS
from podtracer.target import Scope

HEALTH: dict[str, Any] = {
    "lost": {"ring_full": 0, "dns_full": 3},
    "suppressed": 2,
    "tracer_cpu_ns": 250_000_000,
    "tracer_rss_bytes": 30_000_000,
    "bpf_ns_estimate": None,
    "gauges": {"dns_pending": 1, "connects_in_progress": 2, "processes": 3},
}
PROBES = [
    {"family": family, "state": state}
    for family, state in (
        ("tcp", "attached"),
        ("tcp", "failed"),
        ("dns", "unsupported"),
        ("process", "attached"),
        ("oom", "attached"),
    )
]
SCOPE = Scope([POD], Hierarchies("", {}))


class Client:
    """Somebody who asks."""

    def __init__(self, metrics: Metrics) -> None:
        host, _, port = metrics.address.rpartition(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=20)

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        self.connection.request(method, path)
        self.response = self.connection.getresponse()
        return self.response.status, self.response.read()

    def page(self) -> Page:
        status, text = self.ask("/metrics")
        assert status == 200
        return Page(text)


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    metrics = Metrics(Address("127.0.0.1", 0), 100)
    metrics.start()
    yield metrics
    metrics.close()


@pytest.fixture
def client(metrics: Metrics) -> Iterator[Client]:
    client = Client(metrics)
    yield client
    client.connection.close()


def tick(metrics: Metrics, now_ns: int | None = None, **health: Any) -> None:
    metrics.tick([], {}, {**HEALTH, **health}, now_ns or time.monotonic_ns())


def begin(metrics: Metrics) -> None:
    metrics.begin(SCOPE, PROBES, "node-a", Names({}))


def test_before_the_first_tick_there_is_no_page(metrics: Metrics, client: Client) -> None:
    status, _ = client.ask("/metrics")
    assert (status, client.response.getheader("Retry-After")) == (503, "1")
    assert client.ask("/healthz")[0] == 503
    begin(metrics)
    assert client.ask("/metrics")[0] == 503
    assert metrics.scraped_ns is None
    tick(metrics)
    assert client.ask("/metrics")[0] == 200
    assert client.ask("/healthz") == (200, b"ok\n")


def test_the_page_is_of_the_text_format(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    tick(metrics)
    client.ask("/metrics")
    kind = client.response.getheader("Content-Type")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"


def test_the_compressed_page_is_the_same(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    tick(metrics)
    for _ in range(3):
        client.connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        response = client.connection.getresponse()
        assert response.getheader("Content-Encoding") == "gzip"
        compressed = Page(gzip.decompress(response.read()))
        plain = client.page()
        assert client.response.getheader("Content-Encoding") is None
        ages = [page.samples.pop("podtrace_last_tick_age_seconds") for page in (compressed, plain)]
        assert compressed.samples == plain.samples
        assert [*ages[0].values()] < [*ages[1].values()]


def test_other_paths_and_methods_are_refused(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    tick(metrics)
    for path in ("/", "/metrics/", "//metrics", "/Metrics", "/healthz/../metrics"):
        assert client.ask(path)[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        other = Client(metrics)
        assert other.ask("/metrics", method)[0] == 405
        assert other.response.getheader("Allow") == "GET, HEAD"
        other.connection.close()
    assert client.ask("/metrics", "HEAD") == (200, b"")
    assert metrics.scraped_ns is None


def test_a_tracer_that_no_longer_ticks_is_not_healthy(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    tick(metrics, time.monotonic_ns() - STALE_NS)
    assert client.ask("/healthz")[0] == 503
    age = client.page().value("podtrace_last_tick_age_seconds")
    assert age is not None
    assert 5 <= age < 6


def test_the_age_is_that_of_the_moment(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    tick(metrics)
    first = client.page().value("podtrace_last_tick_age_seconds")
    time.sleep(0.2)
    second = client.page().value("podtrace_last_tick_age_seconds")
    assert first is not None
    assert second is not None
    assert 0.2 <= second - first < 5


def test_a_scrape_that_was_finished_is_noted(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    tick(metrics)
    client.ask("/healthz")
    assert metrics.scraped_ns is None
    before = time.monotonic_ns()
    client.page()
    assert metrics.scraped_ns is not None
    assert before <= metrics.scraped_ns <= time.monotonic_ns()


def test_health_lines_are_added_up(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    tick(metrics)
    tick(metrics, suppressed=5, gauges={**HEALTH["gauges"], "connects_in_progress": 0})
    page = client.page()
    assert page.value("podtrace_lost_total", place="dns_full") == 6
    assert page.value("podtrace_lost_total", place="ring_full") == 0
    assert page.value("podtrace_suppressed_events_total") == 7
    assert page.value("podtrace_tracer_cpu_seconds_total") == 0.5
    assert page.value("podtrace_tracer_memory_bytes") == 30_000_000
    assert page.value("podtrace_tracer_ticks_total") == 2
    assert page.value("podtrace_connects_in_progress") == 0
    assert page.value("podtrace_processes") == 3
    assert page.value("podtrace_build_info", version=VERSION, node="node-a") == 1


def test_what_cannot_be_measured_is_not_there(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    tick(metrics)
    page = client.page()
    assert "podtrace_dns_pending" not in page.types
    assert "podtrace_tracer_bpf_seconds_estimate_total" not in page.types
    assert "podtrace_throttled_seconds_total" not in page.types
    tick(metrics, bpf_ns_estimate=1_000_000)
    page = client.page()
    assert page.value("podtrace_tracer_bpf_seconds_estimate_total") == 0.001


def test_what_is_rare_begins_with_zero(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    tick(metrics)
    page = client.page()
    place = {"namespace": "shop", "pod": "web-0", "container": "app"}
    assert page.value("podtrace_oom_kills_total", **place) == 0
    assert page.value("podtrace_container_restarts_total", **place) == 0


def test_without_the_probe_no_zero_is_claimed(metrics: Metrics, client: Client) -> None:
    probes = [{**probe, "state": "unsupported"} for probe in PROBES]
    metrics.begin(SCOPE, probes, "", Names({}))
    tick(metrics)
    types = client.page().types
    assert not types.keys() & {"podtrace_oom_kills_total", "podtrace_processes"}


def test_a_tick_shows_events_throttling_and_counts(metrics: Metrics, client: Client) -> None:
    begin(metrics)
    metrics.meter.count({(METRICS.index("exec"), 0, 1, 0): Group(count=4)})
    kill = {"event": "oom_kill", "process": 0, "target": 1}
    metrics.tick([kill], {(1, "/x"): (2, 10**9)}, HEALTH, time.monotonic_ns())
    page = client.page()
    assert page.value("podtrace_operations_total", type="exec") == 4
    assert page.value("podtrace_oom_kills_total", container="") == 1
    assert page.value("podtrace_throttled_seconds_total", pod="web-0") == 1


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "podtracer.metrics.exposition")
    monkeypatch.delattr("podtracer.metrics.exposition")
    with pytest.raises(TracerError) as caught:
        Metrics(Address("127.0.0.1", 0), 100)
    assert caught.value.code == "no_prometheus_client"
    assert caught.value.hint == "Install it with: apt install python3-prometheus-client"


def test_a_port_that_is_taken_is_an_error_before_anything_else() -> None:
    with bind(Address("127.0.0.1", 0)) as taken, pytest.raises(TracerError) as caught:
        Metrics(Address(*taken.getsockname()), 100)
    assert caught.value.code == "metrics_port"
