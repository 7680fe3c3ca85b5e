"""The real kubectl completing `kubectl podtrace`, and what a shell makes of it."""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl, pod

SLEEP = ["-c", "import time; time.sleep(3600)"]


def offered(kubectl: Kubectl, *words: str) -> list[str]:
    """Return what kubectl offers, and the directive last; it reads the namespace from the words."""
    said = kubectl.within("").run("__complete", "podtrace", *words)
    return [line.partition("\t")[0] for line in said.stdout.splitlines()]


@pytest.fixture
def shop(namespace: Kubectl, images: Images) -> Kubectl:
    made = pod("web-0", images.workload, SLEEP)
    made["spec"]["containers"].append({**made["spec"]["containers"][0], "name": "log"})
    namespace.apply(made)
    namespace.wait_for_pods("web-0")
    return namespace


def test_namespaces_pods_and_containers_are_completed(shop: Kubectl) -> None:
    space = shop.namespace
    assert space in offered(shop, "-n", "")
    assert offered(shop, "-n", space[:-2]) == [space, ":4"]
    first = offered(shop, "-n", space, "")
    assert {"web-0", "doctor", "cleanup"} <= set(first)
    assert offered(shop, "-n", space, "we") == ["web-0", ":4"]
    assert offered(shop, "-n", space, "pod/") == ["pod/web-0", ":4"]
    assert offered(shop, "-n", space, "web-0", "-c", "") == ["log", "main", ":4"]
    assert offered(shop, "-n", space, "--diag") == ["--diagnose", ":4"]


def test_cluster_that_is_away_offers_nothing_and_says_nothing(
    shop: Kubectl, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    text = shop.kubeconfig.read_text()
    server = shop.within("").run("config", "view", "--minify", "--output=jsonpath={..server}")
    config.write_text(text.replace(server.stdout, "https://127.0.0.1:1"))
    away = shop.as_user(config)
    begin = time.monotonic()
    result = away.within("").run("__complete", "podtrace", "-n", "")
    assert time.monotonic() - begin < 10
    assert result.stdout.splitlines() == [":4"]
    assert all(
        line.startswith(("[Debug]", "Completion ended")) for line in result.stderr.splitlines()
    )


def test_bash_completes_a_pod_with_kubectl_s_own_script(shop: Kubectl) -> None:
    line = ["kubectl", "podtrace", "-n", shop.namespace, "we"]
    script = f"""
        source <(kubectl completion bash)
        COMP_WORDS=({shlex.join(line)}) COMP_CWORD=4
        COMP_LINE={shlex.quote(shlex.join(line))} COMP_POINT=${{#COMP_LINE}}
        _get_comp_words_by_ref() {{ words=("${{COMP_WORDS[@]}}") cword=4 cur=we prev={line[3]}; }}
        _init_completion() {{ _get_comp_words_by_ref; }}
        __start_kubectl 2>/dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], env=shop.environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["web-0"], done.stderr
