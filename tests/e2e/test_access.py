"""Ways to reach a cluster and to log in: podtrace is who kubectl is, or says why it is not."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.conftest import Images
from e2e.kubectl import PATIENCE_SECONDS, Kubectl, pod
from podtrace.cluster.access import Access
from podtrace.cluster.api import Api
from podtrace.cluster.paths import object_path
from podtrace.cluster.rights import (
    WHO_AM_I,
    Right,
    allowed_rights,
    choice_rights,
    job_rights,
    missing_rights_error,
    role_text,
    run_rights,
)
from podtrace.errors import ApiError, ClusterError
from scripted_server import Authority, ScriptedServer, closed_port
from tunnel import Proxy

REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
Config = dict[str, Any]


@pytest.fixture
def reach() -> Iterator[Callable[..., Api]]:
    """Give Apis and close them in the end."""
    made: list[Api] = []

    def connect(kubeconfig: Path, **options: Any) -> Api:
        api = Api.connect(Access(kubeconfig=str(kubeconfig), **options))
        made.append(api)
        return api

    yield connect
    for api in made:
        api.close()


def me(api: Api) -> Config:
    """Return who the user is to the cluster."""
    info: Config = api.post(WHO_AM_I, REVIEW)["status"]["userInfo"]
    return info


def me_by_kubectl(kubectl: Kubectl, *options: str) -> Config:
    said = kubectl.run("auth", "whoami", "--output=json", *options).stdout
    info: Config = json.loads(said)["status"]["userInfo"]
    return info


@pytest.fixture
def cluster(kubectl: Kubectl) -> Config:
    """Return the cluster's entry of the kubeconfig, its files as data."""
    shown = kubectl.run("config", "view", "--raw", "--minify", "--flatten", "--output=json")
    found: Config = json.loads(shown.stdout)["clusters"][0]["cluster"]
    return found


@pytest.fixture
def robot(namespace: Kubectl) -> str:
    """Return the token of a service account without rights."""
    namespace.run("create", "serviceaccount", "robot")
    return namespace.run("create", "token", "robot", "--duration=1h").stdout.strip()


@pytest.fixture
def written(tmp_path: Path, namespace: Kubectl) -> Callable[..., Path]:
    """Give kubeconfigs for a cluster and a user."""

    def write(cluster: Config, user: Config, name: str = "config") -> Path:
        path = tmp_path / name
        context = {"cluster": "c", "user": "u", "namespace": namespace.namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "contexts": [{"name": "x", "context": context}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def plugin(folder: Path, body: str) -> Config:
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"command": "./plugin", "apiVersion": version, "interactiveMode": "Never"}}


def credential(token: str) -> str:
    version = "client.authentication.k8s.io/v1"
    said = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
    return f"echo '{json.dumps(said)}'"


# Who the user is


def test_administrator_is_the_same_to_both(
    kubectl: Kubectl, kubeconfig: Path, reach: Callable[..., Api]
) -> None:
    found = me(reach(kubeconfig))
    by_kubectl = me_by_kubectl(kubectl)
    assert (found["username"], found["groups"]) == (by_kubectl["username"], by_kubectl["groups"])


def test_service_account_logs_in_by_token_file_flag_and_plugin(
    namespace: Kubectl,
    cluster: Config,
    robot: str,
    written: Callable[..., Path],
    reach: Callable[..., Api],
    tmp_path: Path,
) -> None:
    name = f"system:serviceaccount:{namespace.namespace}:robot"
    (tmp_path / "token").write_text(f"{robot}\n")
    for user in (
        {"token": robot},
        {"tokenFile": "token"},
        plugin(tmp_path, credential(robot)),
    ):
        config = written(cluster, user)
        api = reach(config)
        assert me(api)["username"] == name
        assert api.namespace == namespace.namespace
        assert me_by_kubectl(namespace.as_user(config))["username"] == name
    assert me(reach(written(cluster, {}), token=robot))["username"] == name


def test_impersonation_reaches_the_cluster_as_kubectl_sends_it(
    kubectl: Kubectl, kubeconfig: Path, reach: Callable[..., Api]
) -> None:
    found = me(reach(kubeconfig, as_user="jane", as_uid="17", as_groups=("dev", "ops")))
    options = ("--as=jane", "--as-uid=17", "--as-group=dev", "--as-group=ops")
    assert found == me_by_kubectl(kubectl, *options)
    assert set(found["groups"]) >= {"dev", "ops"}


def test_first_of_several_kubeconfigs_chooses_the_context(
    kubectl: Kubectl,
    kubeconfig: Path,
    cluster: Config,
    robot: str,
    written: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = written(cluster, {"token": robot})
    for files, is_robot in (((config, kubeconfig), True), ((kubeconfig, config), False)):
        listed = os.pathsep.join(map(str, files))
        monkeypatch.setenv("KUBECONFIG", listed)
        api = Api.connect(Access())
        name = me(api)["username"]
        api.close()
        assert name.endswith(":robot") == is_robot
        assert name == me_by_kubectl(kubectl.as_user(Path(listed)))["username"]


def test_plugin_is_asked_again_when_the_cluster_refuses_its_token(
    cluster: Config,
    robot: str,
    written: Callable[..., Path],
    reach: Callable[..., Api],
    tmp_path: Path,
) -> None:
    stale = f"[ -e {tmp_path}/called ] || {{ touch {tmp_path}/called; {credential('x')}; exit; }}"
    user = plugin(tmp_path, f"{stale}\n{credential(robot)}")
    assert me(reach(written(cluster, user)))["username"].endswith(":robot")


# The way to the server


def test_proxy_of_the_kubeconfig_is_the_only_way_taken(
    cluster: Config, robot: str, written: Callable[..., Path], reach: Callable[..., Api]
) -> None:
    with Proxy() as proxy:
        config = written({**cluster, "proxy-url": f"http://127.0.0.1:{proxy.port}"},
                         {"token": robot})  # fmt: skip
        assert me(reach(config))["username"].endswith(":robot")
        (request,) = proxy.requests
        assert request.method == "CONNECT"
        assert cluster["server"].endswith(request.target)


def test_other_authority_is_not_trusted(
    cluster: Config, written: Callable[..., Path], reach: Callable[..., Api], tmp_path: Path
) -> None:
    wrong = base64.b64encode(Authority(tmp_path).certificate.read_bytes()).decode()
    api = reach(written({**cluster, "certificate-authority-data": wrong}, {}))
    with pytest.raises(ClusterError, match="is not trusted") as caught:
        api.get("/version")
    assert "--certificate-authority" in (caught.value.hint or "")


def test_other_name_of_the_server_is_not_trusted(
    cluster: Config, written: Callable[..., Path], reach: Callable[..., Api]
) -> None:
    if "insecure-skip-tls-verify" in cluster:
        pytest.skip("this cluster's certificate is not looked at")
    api = reach(written({**cluster, "tls-server-name": "other.test"}, {}))
    with pytest.raises(ClusterError, match="is not trusted"):
        api.get("/version")


def test_wrong_server_is_named(kubeconfig: Path, reach: Callable[..., Api]) -> None:
    with closed_port() as port:
        url = f"https://127.0.0.1:{port}"
        with pytest.raises(ClusterError, match=f"{url} cannot be reached: connection refused"):
            reach(kubeconfig, server=url).get("/version")
    with ScriptedServer(lambda _: b"SSH-2.0\r\n") as server, pytest.raises(ClusterError):
        reach(kubeconfig, server=server.url).get("/version")


# What the cluster refuses


def test_unknown_token_is_a_log_in_that_failed(
    cluster: Config, written: Callable[..., Path], reach: Callable[..., Api]
) -> None:
    with pytest.raises(ApiError, match="does not accept the credentials") as caught:
        reach(written(cluster, {"token": "nobody"})).get("/api/v1/namespaces")
    assert caught.value.status == 401


def test_user_with_the_printed_role_has_what_it_takes_and_no_more(
    kubectl: Kubectl,
    namespace: Kubectl,
    cluster: Config,
    robot: str,
    written: Callable[..., Path],
    reach: Callable[..., Api],
) -> None:
    space = namespace.namespace
    api = reach(written(cluster, {"token": robot}))
    run, jobs, choice = run_rights(space), job_rights(space), choice_rights(space)
    error = missing_rights_error(api, space)
    assert f"you may not get pods in namespace {space}" in error.message
    for with_jobs, with_choice in ((False, False), (True, False), (True, True)):
        text = role_text(
            space,
            user=f"system:serviceaccount:{space}:robot",
            with_jobs=with_jobs,
            with_choice=with_choice,
        )
        namespace.run("apply", "--filename=-", stdin=text)
        wanted = {*run, *(jobs if with_jobs else []), *(choice if with_choice else [])}
        assert _have_come(api, wanted)
        others = {*jobs, *choice, Right("update", "pods", space), Right("list", "pods", None)}
        given = allowed_rights(api, others - wanted)
        assert not [str(right) for right, allowed in given.items() if allowed]
    printed = missing_rights_error(api, space, tracer_namespace="default")
    kubectl.run(
        "apply",
        "--dry-run=server",
        "--filename=-",
        stdin="".join(f"  {line}\n" for line in printed.details),
    )


def _have_come(api: Api, rights: set[Right]) -> bool:
    """Wait for rights, which reach the authorizer a moment after they were given."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not all(allowed_rights(api, rights).values()):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


# Streams


def test_following_a_log_ends_at_once_when_it_is_closed(
    namespace: Kubectl, images: Images, kubeconfig: Path, reach: Callable[..., Api]
) -> None:
    talk = "import time\nwhile True: print('tick', flush=True); time.sleep(0.1)"
    namespace.apply(pod("talker", images.workload, ["-c", talk]))
    namespace.wait_for_pods("talker")
    path = object_path("pods", namespace=namespace.namespace, name="talker", subresource="log")
    stream = reach(kubeconfig).stream(path, read_timeout_seconds=PATIENCE_SECONDS, follow=True)
    closer = threading.Timer(1.0, stream.close)
    begin = time.monotonic()
    got = b""
    for data in stream:
        if not got:
            closer.start()
        got += data
    assert got.count(b"tick\n") > 3
    assert time.monotonic() - begin < PATIENCE_SECONDS / 2


def test_watch_sees_a_pod_come_and_go(
    namespace: Kubectl, images: Images, kubeconfig: Path, reach: Callable[..., Api]
) -> None:
    api = reach(kubeconfig)
    path = object_path("pods", namespace=namespace.namespace)
    version = api.get(path)["metadata"]["resourceVersion"]
    namespace.apply(pod("short", images.workload, ["-c", "pass"], restartPolicy="Never"))
    seen: list[str] = []
    watch = api.watch(path, read_timeout_seconds=PATIENCE_SECONDS, resourceVersion=version)
    for event in watch:
        phase = event["object"]["status"].get("phase")
        if event["type"] == "MODIFIED" and phase == "Succeeded" and "deleted" not in seen:
            seen.append("deleted")
            api.delete(f"{path}/short", {"gracePeriodSeconds": 1})
        seen.append(event["type"])
        if event["type"] == "DELETED":
            watch.close()
    assert (seen[0], seen[-1]) == ("ADDED", "DELETED")


def test_list_of_several_pages_is_complete(
    namespace: Kubectl, kubeconfig: Path, reach: Callable[..., Api]
) -> None:
    names = [f"c{number}" for number in range(7)]
    namespace.apply(
        *({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in names)
    )
    path = f"/api/v1/namespaces/{namespace.namespace}/configmaps"
    found = [item["metadata"]["name"] for item in reach(kubeconfig).items(path, limit=2)]
    assert set(names) <= set(found)
    assert len(found) == len(set(found))
