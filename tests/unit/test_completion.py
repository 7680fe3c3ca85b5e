"""What is offered while `kubectl podtrace` is typed, in the words that kubectl understands."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fake_cluster import FakeApi, pod, workload
from podtrace import completion
from podtrace.cluster import complete
from podtrace.cluster.access import Access
from podtrace.cluster.api import Api
from podtrace.cluster.manifest import OWN_LABELS
from podtrace.errors import ClusterError


class Cluster(FakeApi):
    """Remembers how it was reached, and is closed like a real one."""

    access = Access()

    def close(self) -> None:
        return


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    for name in ("shop", "other"):
        made.add({"kind": "Namespace", "metadata": {"name": name}})
    labels = {"app": "web"}
    owner = ("StatefulSet", "web")
    made.add(
        workload("StatefulSet", "web", namespace="shop"),
        workload("Deployment", "api", namespace="shop"),
        pod("web-0", namespace="shop", containers=("web", "log"), labels=labels, owner=owner),
        pod("web-1", namespace="shop", containers=("web",), labels=labels, owner=owner),
        pod("db-0", namespace="shop", containers=("db",)),
        pod("done", namespace="shop", phase="Succeeded"),
        pod("podtrace-1", namespace="shop", labels=OWN_LABELS),
    )

    def connect(access: Access, is_silent: bool = False) -> Cluster:
        assert is_silent, "nobody may be asked for a password now"
        made.access = access
        made.namespace = access.namespace or "default"
        return made

    monkeypatch.setattr(Api, "connect", connect)
    return made


def offered(*words: str) -> list[str]:
    """Return the values of the answer, and its directive last."""
    lines = completion.answer(words).splitlines()
    return [line.partition("\t")[0] for line in lines]


COMMANDS = ["replay", "version", "completion", "cleanup", "doctor"]


def test_pods_and_subcommands_are_offered_first(cluster: Cluster) -> None:
    assert offered("-n", "shop", "") == [*COMMANDS, "db-0", "web-0", "web-1", ":4"]
    assert offered("-n", "shop", "we") == ["web-0", "web-1", ":4"]


def test_second_pod_is_neither_the_first_nor_a_subcommand(cluster: Cluster) -> None:
    assert offered("-n", "shop", "web-0", "") == ["db-0", "web-1", ":4"]
    assert offered("-n", "shop", "doctor", "web-0", "") == ["db-0", "web-1", ":4"]


def test_types_are_offered_without_a_space_behind(cluster: Cluster) -> None:
    assert offered("-n", "shop", "dep") == ["deployment/", ":6"]
    assert offered("-n", "shop", "d") == [
        "doctor", "daemonset/", "db-0", "deployment/", ":4"
    ]  # fmt: skip


def test_names_are_offered_behind_a_type_as_it_was_typed(cluster: Cluster) -> None:
    assert offered("-n", "shop", "deploy/") == ["deploy/api", ":4"]
    assert offered("-n", "shop", "sts/w") == ["sts/web", ":4"]
    assert offered("-n", "shop", "pod/web") == ["pod/web-0", "pod/web-1", ":4"]
    assert offered("-n", "shop", "rollout/") == [":4"]


@pytest.mark.parametrize("option", ["-n", "--namespace", "--tracer-namespace"])
def test_namespaces_are_offered(cluster: Cluster, option: str) -> None:
    assert offered(option, "") == ["other", "shop", ":4"]
    assert offered("web-0", option, "s") == ["shop", ":4"]
    assert offered("cleanup", "-n", "o") == ["other", ":4"]
    assert offered("--namespace=s") == ["shop", ":4"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["web-0"], ["log", "web"]),
        (["pod/web-0", "db-0"], ["db", "log", "web"]),
        (["sts/web"], ["log", "web"]),
        ([], ["db", "log", "web"]),
        (["-l", "app=web"], ["log", "web"]),
        (["nothing"], []),
        (["x/y/z"], []),
    ],
)
def test_containers_of_the_chosen_pods_are_offered(
    cluster: Cluster, words: list[str], names: list[str]
) -> None:
    assert offered("-n", "shop", *words, "-c", "") == [*names, ":4"]


def test_words_say_how_the_cluster_is_reached(cluster: Cluster) -> None:
    offered("--context", "blue", "--as", "jane", "--as-group", "a", "--as-group", "b", "-n", "")
    access = cluster.access
    assert (access.context, access.as_user, access.as_groups) == ("blue", "jane", ("a", "b"))
    assert access.request_timeout_seconds == complete.WAIT_SECONDS


def test_options_and_their_values_are_offered(cluster: Cluster) -> None:
    names = ["", "-port", "-address", "-processes"]
    assert offered("web-0", "--metrics") == [*(f"--metrics{name}" for name in names), ":4"]
    assert offered("web-0", "--metrics", "--metrics-port", "") == [":4"]
    assert offered("--diag") == ["--diagnose", ":4"]
    assert offered("-o", "j") == ["json", ":4"]
    assert offered("doctor", "--contex") == ["--context", ":4"]
    assert not cluster.calls


def test_contexts_come_from_the_kubeconfig(
    cluster: Cluster, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("contexts: [{name: blue}, {name: green}]\n")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert offered("--context", "") == ["blue", "green", ":4"]
    (tmp_path / "config").write_text("[")
    assert offered("--context", "") == [":4"]
    assert not cluster.calls


@pytest.mark.parametrize("words", [["--record", ""], ["--kubeconfig", "x"], ["replay", ""],
                                   ["--record=x"], ["--local", "--", "l"], ["--config", ""],
                                   ["-n", "shop", "replay", "s"], ["replay", "--config", ""],
                                   ["replay", "--kubeconfig", ""]])  # fmt: skip
def test_shell_offers_its_files_where_a_path_is_wanted(cluster: Cluster, words: list[str]) -> None:
    assert offered(*words) == [":0"]


def test_shell_offers_its_folders_for_a_cgroup(cluster: Cluster) -> None:
    assert offered("--local", "--cgroup", "/sys/fs") == [":16"]


def test_options_of_this_machine_are_offered_with_their_help(cluster: Cluster) -> None:
    answer = completion.answer(["--local", "--c"])
    assert "--cgroup\tWith --local: that cgroup and those below it.\n" in answer
    assert {"--local", "--pid", "--selector", "--container"} <= set(offered("--"))
    assert "--cluster" not in offered("--")


def test_nothing_of_the_cluster_is_offered_for_this_machine(cluster: Cluster) -> None:
    assert offered("--local", "-c", "") == [":4"]
    assert offered("--local", "w") == [":4"]
    assert not cluster.calls


@pytest.mark.parametrize("words", [["-n", ""], ["-c", ""], ["web"]])
def test_cluster_that_fails_offers_nothing(
    cluster: Cluster, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.fail("GET", ".*", ClusterError("away"))
    assert offered(*words) == [":4"]
    cluster.deny("list", "*")
    assert offered(*words) == [":4"]
    assert capfd.readouterr() == ("", "")


def test_no_kubeconfig_offers_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/none")
    assert offered("-n", "") == [":4"]
    assert capfd.readouterr() == ("", "")


def test_slow_list_offers_what_came_in_time(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def slow(path: str, **query: Any) -> Iterator[Any]:
        yield {"metadata": {"name": "shop"}}
        over.wait(10)

    monkeypatch.setattr(cluster, "items", slow)
    monkeypatch.setattr(complete, "WAIT_SECONDS", 0.2)
    begin = time.monotonic()
    assert offered("-n", "") == ["shop", ":4"]
    assert time.monotonic() - begin < 2
    over.set()


def test_senseless_words_offer_nothing(cluster: Cluster) -> None:
    assert completion.answer([]).endswith(":4\n")
    assert offered("--request-timeout", "soon", "-n", "") == [":4"]


def test_names_cannot_reach_the_terminal_raw(cluster: Cluster) -> None:
    cluster.add({"kind": "Namespace", "metadata": {"name": "x\x1b[31m\ny"}})
    assert "\x1b" not in completion.answer(["-n", "x"])
    assert len(completion.answer(["-n", "x"]).splitlines()) == 2


def test_answer_goes_to_standard_output(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completion.main(["--diag"]) == 0
    assert capsys.readouterr().out.startswith("--diagnose\t")
