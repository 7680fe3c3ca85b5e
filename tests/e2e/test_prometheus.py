"""A real Prometheus in front of a real cluster: by the plugin's port, and by pod discovery.

Prometheus runs on this machine, which reaches the addresses of pods.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import prometheus
from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod
from e2e.machine import binaries
from e2e.machine.cluster import Cluster
from e2e.servers import Servers
from e2e.tracing import PodTrace
from e2e.workloads import PodProgram, container
from prometheus import DOCUMENTS, LOCAL_JOB, PODS_JOB, Prometheus

DATA = "/dev/shm/exact.data"
NEIGHBOUR_TIMES = 4
DNS_TIMEOUT_TICKS = 7
JOBS = (LOCAL_JOB, PODS_JOB)
ACCOUNT = "podtrace-prometheus"
RESOURCES = ("podmonitors", "prometheusrules")


@dataclass
class Scraped:
    """What came of one trace that Prometheus has twice: by the port here, and from the pod."""

    prometheus: Prometheus
    namespace: str
    node: str
    truth: dict[str, Any]


def discovery_objects(namespace: str) -> list[dict[str, Any]]:
    """Return what docs/prometheus/rbac.yaml creates, in a namespace and under names of our own."""
    text = (DOCUMENTS / "prometheus/rbac.yaml").read_text()
    text = text.replace("namespace: monitoring", f"namespace: {namespace}")
    text = text.replace(f"name: {ACCOUNT}", f"name: {ACCOUNT}-{namespace}")
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def discovery(
    machine: Cluster,
    kubectl: Kubectl,
    make_lasting_namespace: Callable[..., Kubectl],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Any]]:
    """Return the documented job for pods, as an account with the documented rights and no other."""
    folder = tmp_path_factory.mktemp("discovery")
    namespace = make_lasting_namespace().namespace
    objects = discovery_objects(namespace)
    kubectl.apply(*objects)
    account = f"{ACCOUNT}-{namespace}"
    token = kubectl.within(namespace).run("create", "token", account).stdout
    (folder / "token").write_text(token)
    settings = json.loads(kubectl.run("config", "view", "--raw", "--output=json").stdout)
    cluster = settings["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"])
    (folder / "ca.crt").write_bytes(authority)
    job = prometheus.scrape_job(PODS_JOB)
    [documented] = job["kubernetes_sd_configs"]
    from_outside = {
        "api_server": cluster["server"],
        "authorization": {"credentials_file": str(folder / "token")},
        "tls_config": {"ca_file": str(folder / "ca.crt")},
    }
    yield {**job, "kubernetes_sd_configs": [{**documented, **from_outside}]}
    kubectl.run("delete", "clusterrole,clusterrolebinding", account)


@pytest.fixture(scope="module")
def scraped(
    discovery: dict[str, Any],
    module_namespace: Kubectl,
    images: Images,
    nodes: list[str],
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scraped]:
    kubectl, folder = module_namespace, tmp_path_factory.mktemp("prometheus")
    arguments = ("exact.py", *servers.exact_arguments(DATA))
    for name, more in (("web-0", ()), ("web-1", ("--times", NEIGHBOUR_TIMES))):
        containers = [container("main", images.workload, *arguments, *more)]
        restart = {"restartPolicy": "Never"}
        kubectl.apply(pod(name, images.workload, node=nodes[0], containers=containers, **restart))
    kubectl.wait_for_pods("web-0", "web-1")
    options = ("--metrics", "--metrics-port", 0)
    with (
        PodProgram(kubectl, "web-0") as target,
        PodProgram(kubectl, "web-1") as neighbour,
        PodTrace(folder, kubectl, "web-0", options=options) as trace,
    ):
        told = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", trace.stderr())
        assert told is not None, trace.stderr()
        jobs = [prometheus.local_job(told[1]), discovery]
        often = [{**job, "scrape_interval": "1s"} for job in jobs]
        with Prometheus(folder / "data", often, program=binaries.prometheus()) as server:
            for job in JOBS:
                server.wait_for(f'podtrace_tracer_ticks_total{{job="{job}"}}')
            target.go()
            neighbour.go()
            target.done()
            neighbour.done()
            server.wait_for_ticks(DNS_TIMEOUT_TICKS)
            yield Scraped(server, kubectl.namespace, nodes[0], target.truth())
            trace.stop()


@pytest.mark.parametrize("job", JOBS)
def test_counts_are_the_workloads(scraped: Scraped, job: str) -> None:
    truth = scraped.truth

    def counts(family: str, label: str) -> dict[str, float]:
        return scraped.prometheus.counts(f'{family}{{job="{job}"}}', label)

    operations = counts("podtrace_operations_total", "type")
    assert operations["dns"] == truth["dns_queries"] - truth["dns_unanswered"]
    assert operations["dns_timeout"] == truth["dns_unanswered"]
    assert operations["connect"] == truth["connects"]
    assert (operations["send"], operations["receive"]) == (truth["sends"], truth["receives"])
    assert (operations["write"], operations["fsync"]) == (truth["writes"], truth["fsyncs"])
    failures = counts("podtrace_connect_failures_total", "error")
    assert failures == {"ECONNREFUSED": truth["connects_refused"]}
    assert counts("podtrace_dns_errors_total", "rcode") == {"NXDOMAIN": truth["dns_nxdomain"]}
    moved = counts("podtrace_bytes_total", "type")
    assert moved["send"] == moved["receive"] == truth["tcp_bytes_each_way"]
    latencies = counts("podtrace_latency_seconds_count", "type")
    assert latencies["connect"] == truth["connects_established"]
    assert set(counts("podtrace_lost_total", "place").values()) == {0}


@pytest.mark.parametrize("job", JOBS)
def test_series_are_of_the_traced_pod_not_of_the_tracers(scraped: Scraped, job: str) -> None:
    found = scraped.prometheus.query(f'podtrace_connect_attempts_total{{job="{job}"}}')
    [labels] = [dict(labels) for labels in found]
    assert (labels["namespace"], labels["pod"]) == (scraped.namespace, "web-0")
    assert labels["container"] == "main"


def test_discovered_target_has_the_names_of_tracer_and_node(scraped: Scraped) -> None:
    [target] = [each for each in scraped.prometheus.targets() if each["scrapePool"] == PODS_JOB]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["labels"]["instance"] == target["discoveredLabels"]["__meta_kubernetes_pod_name"]
    assert target["labels"]["instance"].startswith("podtrace-")
    assert target["labels"]["node"] == scraped.node


def test_every_rule_is_evaluated_without_an_error(scraped: Scraped) -> None:
    groups = scraped.prometheus.get("rules")["groups"]
    states = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert states == dict.fromkeys(prometheus.expressions(), "ok")


def test_account_may_list_and_watch_pods_and_nothing_else(
    discovery: dict[str, Any], kubectl: Kubectl
) -> None:
    token = Path(discovery["kubernetes_sd_configs"][0]["authorization"]["credentials_file"])
    claims = token.read_text().split(".")[1]
    user = json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"]
    answers = {
        (verb, what): kubectl.run(
            "auth", "can-i", verb, what, "--all-namespaces", f"--as={user}", check=False
        ).stdout.strip()
        for verb, what in (
            ("list", "pods"), ("watch", "pods"), ("get", "pods"), ("delete", "pods"),
            ("list", "secrets"), ("list", "nodes"),
        )
    }  # fmt: skip
    assert {key for key, answer in answers.items() if answer == "yes"} == {
        ("list", "pods"),
        ("watch", "pods"),
    }


@pytest.fixture(scope="module")
def operator(machine: Cluster, kubectl: Kubectl) -> Iterator[Kubectl]:
    """Let the API server know the Prometheus Operator's resources."""
    files = [
        binaries.operator_definitions() / f"monitoring.coreos.com_{name}.yaml" for name in RESOURCES
    ]
    for file in files:
        kubectl.run("create", f"--filename={file}")
    names = [f"customresourcedefinition/{name}.monitoring.coreos.com" for name in RESOURCES]
    kubectl.wait("condition=Established", *names)
    yield kubectl
    kubectl.run("delete", *names)


def strictly_created(kubectl: Kubectl, tree: str) -> Any:
    """Ask the API server whether it would take an object, all of whose fields it knows."""
    options = ("--dry-run=server", "--validate=strict", "--filename=-")
    return kubectl.run("create", *options, stdin=tree, check=False)


def test_pod_monitor_follows_the_operators_definition(
    operator: Kubectl, module_namespace: Kubectl
) -> None:
    tree = (DOCUMENTS / "prometheus/podmonitor.yaml").read_text()
    assert strictly_created(module_namespace, tree).code == 0
    refused = strictly_created(module_namespace, tree.replace("honorLabels", "honourLabels"))
    assert "honourLabels" in refused.stderr


def test_rules_become_a_prometheus_rule_as_documented(
    operator: Kubectl, module_namespace: Kubectl
) -> None:
    page = (DOCUMENTS / "prometheus.md").read_text()
    [command] = re.findall(r"```sh\n(\([^`]*?)\|\s+kubectl apply", page, re.DOTALL)
    made = subprocess.run(
        ["bash", "-c", command], cwd=DOCUMENTS.parent, check=True, capture_output=True, text=True
    )
    result = strictly_created(module_namespace, made.stdout)
    assert result.code == 0, result.stderr
    rules = yaml.safe_load(made.stdout)["spec"]
    assert rules == yaml.safe_load(prometheus.RULES.read_text())


def test_dashboard_follows_grafanas_types(tmp_path: Path) -> None:
    check = binaries.dashboard()
    assert subprocess.run([check, prometheus.DASHBOARD]).returncode == 0
    tree = json.loads(prometheus.DASHBOARD.read_text())
    tree["panels"][1]["targets"][0]["expression"] = "up"
    damaged = tmp_path / "damaged.json"
    damaged.write_text(json.dumps(tree))
    refused = subprocess.run([check, damaged], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "unexpected field 'expression'" in refused.stderr
