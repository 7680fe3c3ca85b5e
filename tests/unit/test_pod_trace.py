"""A trace of pods, as far as what is decided before the cluster is asked for anything."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from fake_cluster import FakeApi, node, pod
from podtrace import cli
from podtrace.cluster.api import Api
from podtrace.errors import EXIT_ERROR, EXIT_OK


def test_recording_that_exists_is_refused_before_anything_is_created(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(namespace="shop")
    api.add(node("node-1"), pod("web-0", namespace="shop", node="node-1"))
    monkeypatch.setattr(Api, "connect", lambda access: api)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    kept = tmp_path / "run.jsonl"
    kept.write_bytes(b"evidence")
    line = ["web-0", "--diagnose", "9s", "--tracer-image", "x/y:1", "--record", str(kept)]
    assert cli.main(line) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert (out, kept.read_bytes()) == ("", b"evidence")
    assert err.splitlines() == [
        f"error: {kept} exists and is not empty: it is left as it is",
        "hint: give --record another name, or remove the file first",
    ]
    assert api.asked("GET")
    assert not api.asked("POST")


@pytest.fixture
def metrics_api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeApi:
    """Return a cluster with one pod, in which nothing may be created."""
    api = FakeApi(namespace="shop")
    api.add(node("node-1"), pod("web-0", namespace="shop", node="node-1"))
    monkeypatch.setattr(Api, "connect", lambda access: api)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return api


METRICS_LINE = ("web-0", "--for", "9s", "--tracer-image", "x/y:1", "--metrics")


def test_busy_port_is_told_before_anything_is_created(
    metrics_api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main([*METRICS_LINE, "--metrics-port", str(port)]) == EXIT_ERROR
    out, err = capsys.readouterr()
    first, hint = err.splitlines()
    assert (out, first) == ("", f"error: port {port} of 127.0.0.1 is in use by another program")
    assert "--metrics-port" in hint
    assert not metrics_api.asked("POST")


def test_missing_right_to_forward_is_told_before_anything_is_created(
    metrics_api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics_api.deny("get", "pods/portforward")
    assert cli.main([*METRICS_LINE, "--metrics-port", "0"]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(
        "error: you may not get pods/portforward in namespace shop, which --metrics takes\n"
    )
    assert not metrics_api.asked("POST", ".*/namespaces/shop/.*")


def test_place_of_the_metrics_is_told_and_the_port_is_free_again_in_the_end(
    metrics_api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics_api.fail("POST", "/api/v1/namespaces/shop/pods", 422, "no", reason="Invalid")
    assert cli.main([*METRICS_LINE, "--metrics-port", "0"]) == EXIT_ERROR
    _, err = capsys.readouterr()
    told = re.fullmatch(r"metrics at http://127\.0\.0\.1:(\d+)/metrics", err.splitlines()[0])
    assert told is not None
    socket.create_server(("127.0.0.1", int(told[1]))).close()


def test_trace_without_metrics_has_no_ports_and_is_started(
    metrics_api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics_api.fail("POST", "/api/v1/namespaces/shop/pods", 422, "no", reason="Invalid")
    assert cli.main([word for word in METRICS_LINE if word != "--metrics"]) == EXIT_ERROR
    _, err = capsys.readouterr()
    assert err.startswith("error: the tracer pod was refused in namespace shop: no\n")


def test_dry_run_takes_no_port(metrics_api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = [*METRICS_LINE, "--metrics-port", port, "--dry-run", "client", "-o", "yaml"]
        assert cli.main(line) == EXIT_OK
    out, _ = capsys.readouterr()
    assert "containerPort: 3000" in out
    assert "prometheus.io/port: '3000'" in out
