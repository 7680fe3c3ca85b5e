"""A real Prometheus that scrapes a tracer of this machine: what it has then is what happened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from kernel.exact_checks import CPU_RATIO, OWN_FILE_OPERATIONS
from kernel.servers import DNS_DELAY_SECONDS, start_servers
from kernel.tracing import Trace
from podtrace.wire.schema import SCHEMA
from podtrace.wire.version import VERSION
from podtracer.metrics import families
from prometheus import Prometheus, local_job
from workload.stage import Stage

DNS_TIMEOUT_TICKS = 6
"""Questions that nobody answers are counted 5 seconds after they were asked."""


@dataclass
class Scraped:
    """What came of one run: the workload's truth, the report, and what Prometheus was told."""

    prometheus: Prometheus
    truth: dict[str, Any]
    said: str


@pytest.fixture(scope="module")
def scraped(module_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Any:
    stage, folder = module_stage, tmp_path_factory.mktemp("prometheus")
    servers = start_servers(stage)
    arguments = servers.exact_arguments(stage.folder / "exact.data")
    inside, beside = stage.cgroup("target"), stage.cgroup("neighbour")
    target = stage.start("exact.py", *arguments, cgroups=[inside])
    neighbour = stage.start("exact.py", *arguments, "--times", 3, cgroups=[beside])
    options = ("--metrics", "--metrics-port", 0)
    with Trace(folder, "--cgroup", inside, options=options) as trace:
        job = {**local_job(trace.hello["metrics"]), "scrape_interval": "1s"}
        with Prometheus(folder / "prometheus", [job]) as prometheus:
            target.go()
            neighbour.go()
            target.wait_done()
            neighbour.wait_done()
            prometheus.wait_for_ticks(DNS_TIMEOUT_TICKS)
            yield Scraped(prometheus, target.truth(), trace.stderr())


def own_operations(counted: float, truth: dict[str, Any], kind: str) -> float:
    """Return what the workload's interpreter did beside what the workload did."""
    own = counted - truth[f"{kind}s"] - truth.get(f"{kind}s_failed", 0)
    assert 0 <= own <= OWN_FILE_OPERATIONS
    return own


def test_address_is_told(scraped: Scraped) -> None:
    [target] = scraped.prometheus.targets()
    assert f"http://{target['discoveredLabels']['__address__']}/metrics" in scraped.said
    assert (target["health"], target["lastError"]) == ("up", "")


def test_operations_are_the_workloads(scraped: Scraped) -> None:
    truth = scraped.truth
    answered = truth["dns_queries"] - truth["dns_unanswered"]
    counts = scraped.prometheus.counts("podtrace_operations_total", "type")
    for own in ("open", "read"):
        counts[own] -= own_operations(counts[own], truth, own)
    assert counts == {
        "dns": answered,
        "dns_timeout": truth["dns_unanswered"],
        "connect": truth["connects"],
        "send": truth["sends"],
        "receive": truth["receives"],
        "open": truth["opens"] + truth["opens_failed"],
        "read": truth["reads"],
        "write": truth["writes"],
        "fsync": truth["fsyncs"],
        "pipe": truth["pipe_reads"] + truth["pipe_writes"] + 1,  # it says that it is done
        "socket": answered + truth["dns_queries"],
    }


def test_failures_are_the_workloads(scraped: Scraped) -> None:
    prometheus, truth = scraped.prometheus, scraped.truth
    assert prometheus.value("podtrace_connect_attempts_total") == truth["connects"]
    failures = prometheus.counts("podtrace_connect_failures_total", "error")
    assert failures == {"ECONNREFUSED": truth["connects_refused"]}
    assert prometheus.value("podtrace_dns_queries_total") == truth["dns_queries"]
    errors = prometheus.counts("podtrace_dns_errors_total", "rcode")
    assert errors == {"NXDOMAIN": truth["dns_nxdomain"]}
    assert prometheus.value("podtrace_dns_timeouts_total") == truth["dns_unanswered"]
    calls = prometheus.counts("podtrace_operation_errors_total", "error")
    assert calls == {"ENOENT": truth["opens_failed"]}


def test_bytes_and_seconds_are_the_workloads(scraped: Scraped) -> None:
    prometheus, truth = scraped.prometheus, scraped.truth
    moved = prometheus.counts("podtrace_bytes_total", "type")
    assert moved["send"] == moved["receive"] == truth["tcp_bytes_each_way"]
    assert moved["write"] == truth["write_bytes"]
    assert moved["read"] >= truth["read_bytes"]
    cpu_seconds = prometheus.value("podtrace_cpu_seconds_total")
    assert cpu_seconds == pytest.approx(truth["cpu_ns"] / 1e9, rel=CPU_RATIO)
    slept = prometheus.value('podtrace_off_cpu_seconds_total{reason="sleep"}')
    assert 0 < slept <= truth["sleep_ns"] / 1e9


@pytest.mark.parametrize(
    ("histogram", "operation", "counted"),
    [
        ("podtrace_dns_latency_seconds_histogram", "query", "dns_answered"),
        ("podtrace_latency_seconds", "connect", "connects_established"),
        ("podtrace_fs_latency_seconds_histogram", "write", "writes"),
        ("podtrace_fs_latency_seconds_histogram", "fsync", "fsyncs"),
    ],
)
def test_histograms_hold_every_operation_once(
    scraped: Scraped, histogram: str, operation: str, counted: str
) -> None:
    truth = scraped.truth
    truth = {**truth, "dns_answered": truth["dns_queries"] - truth["dns_unanswered"]}
    of_type = f'{{type="{operation}"}}'
    assert scraped.prometheus.value(f"{histogram}_count{of_type}") == truth[counted]
    buckets = scraped.prometheus.counts(f"{histogram}_bucket{of_type}", "le")
    in_order = [buckets[bound] for bound in sorted(buckets, key=float)]
    assert in_order == sorted(in_order)
    assert in_order[-1] == buckets["+Inf"] == truth[counted]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_quantile_lies_in_the_bucket_of_the_truth(scraped: Scraped, share: float) -> None:
    """From the bucket of the server's delay to that of what the workload itself measured."""
    buckets = "podtrace_dns_latency_seconds_histogram_bucket"
    found = scraped.prometheus.value(f"histogram_quantile({share}, sum by (le) ({buckets}))")
    measured = sorted(scraped.truth["dns_seconds"])
    longest = measured[math.ceil(share * len(measured)) - 1]
    bounds = [(1 << power) / families.NANOSECONDS for power in families.DNS.powers]
    lower = max(bound for bound in bounds if bound <= DNS_DELAY_SECONDS)
    upper = min(bound for bound in bounds if bound >= longest)
    assert lower <= found <= upper


def test_local_series_have_no_pod(scraped: Scraped) -> None:
    [labels] = scraped.prometheus.query("podtrace_connect_attempts_total")
    names = {name for name, _ in labels} - {"__name__"}
    assert names == {"job", "instance", "process_name"}


def test_tracer_says_which_it_is_and_that_nothing_is_lost(scraped: Scraped) -> None:
    [labels] = scraped.prometheus.query("podtrace_build_info")
    assert dict(labels)["version"] == VERSION
    assert dict(labels)["schema"] == "{}.{}".format(*SCHEMA)
    lost = scraped.prometheus.counts("podtrace_lost_total", "place")
    assert lost
    assert set(lost.values()) == {0}
