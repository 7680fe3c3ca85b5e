"""Prometheus' files and Grafana's dashboard against what the tracer really offers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import prometheus
from podtrace.cluster.manifest import OWN_LABELS
from podtracer.metrics.families import FAMILIES, HISTOGRAM

ALERT_TESTS = Path(__file__).with_name("alerts.yaml")
POD_MONITOR = prometheus.DOCUMENTS / "prometheus/podmonitor.yaml"
COLUMNS = 24
ADDED_BY_SCRAPES = {"job", "instance"}
RECORDED = {name for name in prometheus.expressions() if ":" in name}
QUERIES = [
    *((f"panel {title}", expression) for title, expression in prometheus.panel_queries()),
    *prometheus.expressions().items(),
]


def dashboard() -> dict[str, Any]:
    found = json.loads(prometheus.DASHBOARD.read_text())
    assert isinstance(found, dict)
    return found


def labels_by_series() -> dict[str, set[str]]:
    """Return the labels of each name that a page of the tracer has."""
    found = {}
    for family in FAMILIES.values():
        labels = {*family.labels, *ADDED_BY_SCRAPES}
        if family.kind == HISTOGRAM:
            found[f"{family.name}_bucket"] = {*labels, "le"}
            found[f"{family.name}_sum"] = found[f"{family.name}_count"] = labels
        else:
            found[family.name] = labels
    return found


def names_in(expression: str) -> set[str]:
    """Return the names of series, and of what rules record, in an expression."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:[a-z_]+:)?podtrace_\w+(?::\w+)?", plain))


def misused_labels(expression: str) -> set[str]:
    """Return the labels of matchers and groupings that the expression's series lack."""
    known = labels_by_series()
    plain = [name for name in names_in(expression) if ":" not in name]
    found = set()
    for name, matchers in re.findall(r"\b(podtrace_\w+)\{([^}]*)\}", expression):
        found |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) - known[name]
    recorded = {label for name in names_in(expression) - set(plain) for label in labels_of(name)}
    for grouping in re.findall(r"\bby \(([^)]*)\)", expression):
        labels = {label.strip() for label in grouping.split(",")}
        found |= labels - {*recorded, *(label for name in plain for label in known[name])}
    return found


def labels_of(recorded: str) -> list[str]:
    """Return the labels that the name of a recorded series begins with."""
    level = recorded.split(":")[0]
    assert set(level.split("_")) <= {"namespace", "pod", "type"}
    return level.split("_")


def promtool(*arguments: object) -> None:
    """Run Prometheus' own check; what it complains about is the failure."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: `make deps` as root")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("where", "expression"), QUERIES, ids=lambda text: text[:60])
def test_queries_ask_for_what_there_is(where: str, expression: str) -> None:
    names = names_in(expression)
    assert names, "no metric of podtrace's"
    assert names - set(labels_by_series()) - RECORDED == set()
    assert misused_labels(expression) == set()


def test_a_wrong_name_or_label_is_noticed() -> None:
    assert names_in("rate(podtrace_nonsense_total[1m])") == {"podtrace_nonsense_total"}
    assert misused_labels('podtrace_cpu_seconds_total{proces_name="x"}') == {"proces_name"}
    assert misused_labels("sum by (pods) (podtrace_cpu_seconds_total)") == {"pods"}


def test_every_family_is_on_the_dashboard() -> None:
    shown = {name for _, expression in prometheus.panel_queries() for name in names_in(expression)}
    plain = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert set(FAMILIES) - {"podtrace_build_info"} == plain


def test_variables_ask_for_labels_that_there_are() -> None:
    known = labels_by_series()
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "pod", "process", "type"]
    for name in ("namespace", "pod", "process", "type"):
        found = re.fullmatch(r"label_values\((.+),(\w+)\)", variables[name]["query"]["query"])
        assert found is not None
        for series in names_in(found[1]):
            assert found[2] in known[series]
        # Local targets have no pod: `All` has to select the series without the label, too.
        assert variables[name]["allValue"] == ".*"


def test_expressions_use_the_variables_that_there_are() -> None:
    variables = {each["name"] for each in dashboard()["templating"]["list"]}
    for _, expression in prometheus.panel_queries():
        used = set(re.findall(r"\$(\w+)", expression))
        assert used <= {*variables, "__rate_interval", "__range"}


def test_legends_name_labels_that_the_result_has() -> None:
    for panel in prometheus.panels():
        for query in panel["targets"]:
            grouping = re.search(r"\bby \(([^)]*)\)", query["expr"])
            [name, *_] = names_in(query["expr"])
            kept = grouping[1].split(", ") if grouping else labels_by_series()[name]
            shown = set(re.findall(r"\{\{(\w+)\}\}", query["legendFormat"]))
            if query["expr"].startswith("sum (") or "sum (" in query["expr"]:
                kept = []
            assert shown <= set(kept), query


def sources(node: Any) -> Iterator[Any]:
    """Yield every data source that a part of the dashboard names."""
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and "datasource" in node:
        yield node["datasource"]
    for part in parts:
        yield from sources(part)


def test_no_data_source_is_wired_in() -> None:
    found = list(sources(dashboard()))
    assert len(found) > len(prometheus.panel_queries())
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in found)


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert all(0 <= x < COLUMNS for x, _ in cells)
        assert not cells & taken, panel["title"]
        taken |= cells


def test_panels_say_what_they_show_and_in_which_unit() -> None:
    for panel in prometheus.panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert unit in {"s", "ops", "Bps", "bytes", "none", "percentunit"}
        seconds = any("_quantile" in query["expr"] for query in panel["targets"])
        assert not seconds or unit == "s"


def test_rates_are_taken_of_counters_only() -> None:
    counters = {name for name in labels_by_series() if re.search("_(total|bucket)$", name)}
    for where, expression in QUERIES:
        rated = set(re.findall(r"(?:rate|increase) ?\((\w+)", expression))
        assert rated <= counters, where


def test_rules_are_valid() -> None:
    promtool("check", "rules", prometheus.RULES)


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", ALERT_TESTS)


def test_every_alert_is_tested_firing_and_silent() -> None:
    tests = [
        test
        for case in yaml.safe_load(ALERT_TESTS.read_text())["tests"]
        for test in case["alert_rule_test"]
    ]
    alerts = {name for name in prometheus.expressions() if name not in RECORDED}
    assert {test["alertname"] for test in tests if test["exp_alerts"]} == alerts
    assert {test["alertname"] for test in tests if not test["exp_alerts"]} == alerts


def test_every_alert_says_what_is_wrong() -> None:
    for group in yaml.safe_load(prometheus.RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["labels"]["severity"] in {"info", "warning", "critical"}
                assert set(rule["annotations"]) == {"summary", "description"}


def test_every_alert_is_documented() -> None:
    page = (prometheus.DOCUMENTS / "prometheus.md").read_text()
    alerts = [name for name in prometheus.expressions() if name not in RECORDED]
    assert re.findall(r"^\| (Podtrace\w+) \|", page, re.MULTILINE) == alerts


def test_scrape_configuration_is_valid(tmp_path: Path) -> None:
    tree = yaml.safe_load(prometheus.SCRAPE.read_text())
    for job in tree["scrape_configs"]:
        # Debian builds Prometheus without it. The tests on a cluster load the file as it is.
        job.pop("kubernetes_sd_configs", None)
    checked = tmp_path / "prometheus.yaml"
    checked.write_text(yaml.safe_dump(tree))
    promtool("check", "config", checked)


def test_labels_of_traced_pods_win() -> None:
    jobs = [prometheus.scrape_job(name) for name in (prometheus.LOCAL_JOB, prometheus.PODS_JOB)]
    assert [job["honor_labels"] for job in jobs] == [True, True]
    monitor = yaml.safe_load(POD_MONITOR.read_text())
    assert [each["honorLabels"] for each in monitor["spec"]["podMetricsEndpoints"]] == [True]


def test_tracer_pods_are_selected_by_labels_that_they_have() -> None:
    monitor = yaml.safe_load(POD_MONITOR.read_text())
    selected = monitor["spec"]["selector"]["matchLabels"]
    assert selected.items() <= OWN_LABELS.items()
    [discovery] = prometheus.scrape_job(prometheus.PODS_JOB)["kubernetes_sd_configs"]
    [selector] = discovery["selectors"]
    assert dict(pair.split("=") for pair in selector["label"].split(",")) == selected
