"""What it costs to get ready for a cluster, and that the package's own shape still allows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PLUGIN = Path(__file__).parents[2] / "plugin"
LIMIT_SECONDS = 0.45
PROGRAM = """
import json, sys, time
from podtrace.cluster.access import Access
begin = time.process_time()
from podtrace.cluster.api import Api
api = Api.connect(Access(kubeconfig=sys.argv[1], request_timeout_seconds=1))
seconds = time.process_time() - begin
try:
    api.get("/version")
except Exception as error:
    answer = type(error).__name__ + ": " + str(error)
from kubernetes import client, config
print(json.dumps([seconds, sorted(sys.modules), answer, config.__name__, client.__name__]))
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    content = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def start(kubeconfig: Path, program: str = PROGRAM) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", program, str(kubeconfig)],
        env={"PYTHONPATH": str(PLUGIN)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[object] = json.loads(done.stdout)
    return found


def test_getting_ready_takes_less_than_half_a_second(kubeconfig: Path) -> None:
    runs = sorted(float(str(start(kubeconfig)[0])) for _ in range(5))
    assert runs[2] <= LIMIT_SECONDS


def test_only_the_transport_of_the_package_is_imported(kubeconfig: Path) -> None:
    only = PROGRAM.replace("from kubernetes import client, config\n", "").replace(
        ", config.__name__, client.__name__", ""
    )
    _, modules, answer = start(kubeconfig, only)
    assert str(answer).startswith("ClusterError: https://127.0.0.1:1 cannot be reached")
    assert isinstance(modules, list)
    assert not {"requests_oauthlib", "kubernetes.config", "kubernetes.dynamic"} & set(modules)
    assert not [name for name in modules if name.startswith("kubernetes.client.models.")]


def test_rest_of_the_package_can_still_be_imported(kubeconfig: Path) -> None:
    assert start(kubeconfig)[3:] == ["kubernetes.config", "kubernetes.client"]
