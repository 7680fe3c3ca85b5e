"""A Prometheus of a test's own: its configuration, its data, its port, and what it answers.

The system's service of that name is left alone, if there is one.
"""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from workload.stage import SLOWNESS

DOCUMENTS = Path(__file__).resolve().parents[1] / "docs"
SCRAPE = DOCUMENTS / "prometheus/scrape.yaml"
RULES = DOCUMENTS / "prometheus/rules.yaml"
DASHBOARD = DOCUMENTS / "grafana/podtrace-dashboard.json"

LOCAL_JOB, PODS_JOB = "podtrace", "podtrace-pods"
PATIENCE_SECONDS = 120.0 * SLOWNESS
_ADDRESS = re.compile(r'msg="Listening on".* address=(\S+)')
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_Found = TypeVar("_Found")


def _end_with_the_test() -> None:
    """Be killed when the test process ends, however that comes about."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class PrometheusError(AssertionError):
    """Prometheus did not start, or never had what was waited for."""


def scrape_job(name: str) -> dict[str, Any]:
    """Return a job of the documented scrape configuration."""
    jobs = yaml.safe_load(SCRAPE.read_text())["scrape_configs"]
    [job] = [job for job in jobs if job["job_name"] == name]
    assert isinstance(job, dict)
    return job


def local_job(*addresses: str) -> dict[str, Any]:
    """Return the documented job for a workstation, with addresses in the placeholder's place."""
    job = scrape_job(LOCAL_JOB)
    assert job["static_configs"] == [{"targets": ["<PODTRACE_HOST>:3000"]}]
    return {**job, "static_configs": [{"targets": list(addresses)}]}


def expressions() -> dict[str, str]:
    """Return the expressions of the documented rules: by the name recorded, or of the alert."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {rule.get("record") or rule["alert"]: rule["expr"] for rule in rules}


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard that have queries."""
    found = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def panel_queries() -> list[tuple[str, str]]:
    """Return the title and the expression of every query of the dashboard."""
    return [(panel["title"], query["expr"]) for panel in panels() for query in panel["targets"]]


def substituted(expression: str, **variables: str) -> str:
    """Return a panel's expression as Grafana sends it; a variable that is not named is All."""
    values = {
        "namespace": ".*", "pod": ".*", "process": ".*", "type": ".*",
        "__rate_interval": "20s", "__range": "15m", **variables,
    }  # fmt: skip
    return re.sub(r"\$(\w+)", lambda name: values[name[1]], expression)


class Prometheus:
    """A running Prometheus. A context manager."""

    def __init__(
        self,
        folder: Path,
        jobs: Sequence[Mapping[str, Any]],
        *,
        rules: bool = True,
        program: str | Path = "prometheus",
    ) -> None:
        """Start it with these jobs, and with the documented rules unless they are not wanted."""
        found = shutil.which(program)
        if found is None:
            raise PrometheusError(f"{program} is not installed: `make deps`")
        folder.mkdir(parents=True, exist_ok=True)
        configuration = folder / "prometheus.yaml"
        settings = {
            "global": {"evaluation_interval": "1s"},
            "rule_files": [str(RULES)] if rules else [],
            "scrape_configs": list(jobs),
        }
        configuration.write_text(yaml.safe_dump(settings))
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    found,
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_the_test,
            )
        try:
            self.address = self._wait(self._listening, "address to listen on")
            self._wait(self._is_ready, "readiness")
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()

    def get(self, path: str, **parameters: object) -> Any:
        """Ask its API, and return the data of the answer."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://{self.address}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the values of an expression now, by their labels."""
        result = self.get("query", query=expression)["result"]
        return {tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in result}

    def value(self, expression: str) -> float:
        """Return the only value of an expression."""
        values = list(self.query(expression).values())
        assert len(values) == 1, f"{expression}: {values}"
        return values[0]

    def counts(self, expression: str, label: str) -> dict[str, float]:
        """Return the sums of an expression by the values of a label."""
        return {
            dict(labels).get(label, ""): value
            for labels, value in self.query(f"sum by ({label}) ({expression})").items()
        }

    def series(self, expression: str, seconds: float, step: float = 5) -> dict[str, list[float]]:
        """Return what a panel would draw of the last seconds, by the labels as text."""
        end = time.time()
        result = self.get("query_range", query=expression, start=end - seconds, end=end, step=step)[
            "result"
        ]
        return {
            json.dumps(each["metric"], sort_keys=True): [
                float(value) for _, value in each["values"]
            ]
            for each in result
        }

    def targets(self) -> list[dict[str, Any]]:
        """Return what it scrapes."""
        found = self.get("targets", state="active")["activeTargets"]
        assert isinstance(found, list)
        return found

    def wait_for_ticks(self, count: int = 2) -> None:
        """Wait until every tracer's figures are newer by so many ticks than at this moment."""
        ticks = "podtrace_tracer_ticks_total"
        begun = time.time()
        at_most = f"timestamp({ticks}) > {begun}"
        first = self.wait_for(f"{ticks} and ({at_most})")
        for labels, value in first.items():
            selector = ",".join(
                f"{name}={json.dumps(text)}" for name, text in labels if name != "__name__"
            )
            self.wait_for(f"{ticks}{{{selector}}} >= {value + count}")

    def wait_for(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Wait until an expression has values, and return them."""
        return self._wait(lambda: self.query(expression), expression)

    def _wait(self, find: Callable[[], _Found | None], what: str) -> _Found:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := find()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise PrometheusError(f"no {what}: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)
        return found

    def _listening(self) -> str | None:
        found = _ADDRESS.search(self.log.read_text())
        return found[1] if found else None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
