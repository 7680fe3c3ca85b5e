"""Which cluster, user and namespace kubectl's options, files and environment mean together."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from podtrace.cluster import kubeconfig as module
from podtrace.cluster.access import Access
from podtrace.cluster.kubeconfig import Configured, configured
from podtrace.cluster.login import Destination, proxy_for
from podtrace.errors import ClusterError

Config = dict[str, Any]


def config(name: str, *, current: str | None = None, **cluster: Any) -> Config:
    """Return a kubeconfig with a context, a cluster and a user of one name."""
    made: Config = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}
        ],
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.test", **cluster}}],
        "users": [{"name": name, "user": {"token": f"token-{name}"}}],
    }
    if current is not None:
        made["current-context"] = current
    return made


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(path: Path, content: Config | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def read(access: Access | None = None, **environment: str) -> Configured:
    return configured(access or Access(), environment)


def test_file_in_the_home_directory_is_the_default(home: Path) -> None:
    write(home / ".kube/config", config("a", current="a"))
    found = read()
    assert found.destination.server == "https://a.test"
    assert found.login.token == "token-a"
    assert found.namespace == "ns-a"


def test_named_file_wins_over_the_environment(home: Path) -> None:
    write(home / "a", config("a", current="a"))
    write(home / "b", config("b", current="b"))
    found = read(Access(kubeconfig=str(home / "b")), KUBECONFIG=str(home / "a"))
    assert found.destination.server == "https://b.test"


def test_named_file_has_to_exist() -> None:
    with pytest.raises(ClusterError, match="there is no kubeconfig /none"):
        read(Access(kubeconfig="/none"))


def test_files_of_the_environment_are_merged_and_the_first_to_say_something_wins(
    home: Path,
) -> None:
    first, second = config("a"), config("b", current="b")
    second["clusters"].append({"name": "a", "cluster": {"server": "https://late.test"}})
    third = config("c", current="c")
    paths = [
        write(home / name, content) for name, content in (("1", first), ("2", second), ("3", third))
    ]
    listed = os.pathsep.join(["", str(home / "missing"), *map(str, paths), str(paths[0])])
    assert read(KUBECONFIG=listed).destination.server == "https://b.test"
    assert read(Access(context="a"), KUBECONFIG=listed).destination.server == "https://a.test"
    assert read(Access(context="c"), KUBECONFIG=listed).login.token == "token-c"


def test_paths_start_from_the_file_that_names_them(home: Path) -> None:
    (home / "pki").mkdir()
    (home / "pki/ca.crt").write_bytes(b"CA")
    (home / "pki/run").write_bytes(b"")
    made = config("a", current="a", **{"certificate-authority": "../pki/ca.crt"})
    made["users"][0]["user"] = {
        "tokenFile": "token",
        "exec": {"command": "../pki/run", "apiVersion": "x"},
    }
    write(home / "x/config", made)
    found = read(KUBECONFIG=str(home / "x/config"))
    assert found.destination.authority == b"CA"
    assert found.login.token_file == home / "x/token"
    assert found.login.plugin is not None
    assert found.login.plugin.command == str(home / "x/../pki/run")


def test_bare_command_of_a_plugin_is_looked_up_on_the_path(home: Path) -> None:
    made = config("a", current="a")
    made["users"][0]["user"] = {"exec": {"command": "aws", "apiVersion": "x", "args": ["eks", 1]}}
    write(home / ".kube/config", made)
    plugin = read().login.plugin
    assert plugin is not None
    assert (plugin.command, plugin.arguments) == ("aws", ("eks", "1"))


def test_data_wins_over_a_file(home: Path) -> None:
    data = {"certificate-authority": "/none"}
    data["certificate-authority-data"] = base64.b64encode(b"CA").decode()
    write(home / ".kube/config", config("a", current="a", **data))
    assert read().destination.authority == b"CA"


def test_cluster_and_user_can_be_chosen_apart_from_the_context(home: Path) -> None:
    made = config("a", current="a")
    other = config("b")
    made["clusters"] += other["clusters"]
    made["users"] += other["users"]
    write(home / ".kube/config", made)
    found = read(Access(cluster="b"))
    assert (found.destination.server, found.login.token) == ("https://b.test", "token-a")
    found = read(Access(user="b", namespace="x"))
    assert (found.destination.server, found.login.token) == ("https://a.test", "token-b")
    assert found.namespace == "x"


def test_namespace_without_any_word_is_default(home: Path) -> None:
    made = config("a", current="a")
    del made["contexts"][0]["context"]["namespace"]
    write(home / ".kube/config", made)
    assert read().namespace == "default"


def test_server_of_the_command_line_takes_the_rest_from_the_context(home: Path) -> None:
    made = config("a", current="a", **{"tls-server-name": "x.test"})
    write(home / ".kube/config", made)
    found = read(Access(server="https://y.test/"))
    assert found.destination == Destination("https://y.test")
    assert found.login.token == "token-a"
    named = read(Access(server="https://y.test", tls_server_name="z.test"))
    assert named.destination.tls_server_name == "z.test"


def test_server_and_token_need_no_kubeconfig() -> None:
    found = read(Access(server="https://y.test", token="t"))
    assert (found.destination.server, found.login.token) == ("https://y.test", "t")


def test_authority_of_the_command_line_ends_insecurity_and_the_other_way_round(home: Path) -> None:
    (home / "ca").write_bytes(b"CA")
    write(home / ".kube/config", config("a", current="a", **{"insecure-skip-tls-verify": True}))
    found = read(Access(certificate_authority=str(home / "ca"))).destination
    assert (found.authority, found.is_insecure) == (b"CA", False)
    data = {"certificate-authority-data": base64.b64encode(b"CA").decode()}
    write(home / ".kube/config", config("a", current="a", **data))
    found = read(Access(insecure_skip_tls_verify=True)).destination
    assert (found.authority, found.is_insecure) == (None, True)


@pytest.mark.parametrize(
    ("server", "cluster", "url"),
    [
        ("https://a.test:6443/k8s/", {}, "https://a.test:6443/k8s"),
        ("a.test:80", {}, "http://a.test:80"),
        ("a.test", {"insecure-skip-tls-verify": True}, "https://a.test"),
        ("https://[fd00::1]:6443", {}, "https://[fd00::1]:6443"),
    ],
)
def test_server_without_a_scheme_gets_one(
    home: Path, server: str, cluster: Config, url: str
) -> None:
    write(home / ".kube/config", config("a", current="a", **{**cluster, "server": server}))
    assert read().destination.server == url


@pytest.mark.parametrize("server", ["ftp://x", "https://", "https://x:99999", "https://x:y", "://"])
def test_server_that_is_no_url_is_an_error(home: Path, server: str) -> None:
    write(home / ".kube/config", config("a", current="a", server=server))
    with pytest.raises(ClusterError, match="no URL of an API server"):
        read()


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (Access(context="x"), "has no context x"),
        (Access(cluster="x"), "has no cluster x"),
        (Access(user="x"), "has no user x"),
        (Access(certificate_authority="/none"), "/none, which is needed .* cannot be read"),
        (Access(client_certificate="/none", client_key="/none"), "/none, which is needed"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(home: Path, access: Access, words: str) -> None:
    write(home / ".kube/config", config("a", current="a"))
    with pytest.raises(ClusterError, match=words) as caught:
        read(access)
    assert caught.value.hint
    if "has no" in words:
        assert caught.value.details[0].endswith("are: a")


def test_context_that_names_what_is_not_there_is_an_error(home: Path) -> None:
    made = config("a", current="a")
    made["users"] = []
    write(home / ".kube/config", made)
    with pytest.raises(ClusterError, match="has no user a, which the context a names"):
        read()


def test_no_current_context_is_an_error_that_lists_them(home: Path) -> None:
    write(home / ".kube/config", config("a"))
    with pytest.raises(ClusterError, match="no current context") as caught:
        read()
    assert caught.value.details == ("the contexts are: a",)


@pytest.mark.parametrize(
    "content",
    ["[1, 2]", "text", "clusters: text", "clusters: [1]", "users: [{name: x, user: y}]", "a: b: c",
     "\tx", "[" * 5000, "x: !!python/object:os.system {}", "a: &a [*a]\nclusters: *a"],
)  # fmt: skip
def test_file_that_is_no_kubeconfig_is_an_error_that_names_it(home: Path, content: str) -> None:
    path = write(home / ".kube/config", content)
    with pytest.raises(ClusterError, match=r"is no kubeconfig|no current context") as caught:
        read()
    assert str(path) in caught.value.message


def test_file_that_cannot_be_read_is_an_error_that_names_it(home: Path) -> None:
    (home / "folder").mkdir()
    with pytest.raises(ClusterError, match="folder cannot be read: Is a directory"):
        read(KUBECONFIG=str(home / "folder"))
    (home / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ClusterError, match="binary cannot be read: it is no text"):
        read(KUBECONFIG=str(home / "binary"))


def test_empty_file_has_no_current_context(home: Path) -> None:
    write(home / ".kube/config", "")
    with pytest.raises(ClusterError, match="no current context"):
        read()


def test_broken_data_is_an_error(home: Path) -> None:
    data = {"certificate-authority-data": "a"}
    write(home / ".kube/config", config("a", current="a", **data))
    with pytest.raises(ClusterError, match="is not base64"):
        read()


def test_nothing_at_all_says_where_it_looked() -> None:
    with pytest.raises(ClusterError, match=r"no kubeconfig at ~/.kube/config"):
        read()
    with pytest.raises(ClusterError, match=r"\$KUBECONFIG \(/none\)"):
        read(KUBECONFIG="/none")


def test_inside_a_pod_the_service_account_is_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SERVICE_ACCOUNT", home)
    for name, content in (("token", "t"), ("ca.crt", "CA"), ("namespace", "shop\n")):
        (home / name).write_text(content)
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = read(**environment)
    assert found.destination == Destination("https://[fd00::1]:443", b"CA")
    assert found.login.token_file == home / "token"
    assert found.namespace == "shop"
    assert read(Access(namespace="x"), **environment).namespace == "x"
    write(home / ".kube/config", config("a", current="a"))
    assert read(**environment).destination.server == "https://a.test"


@pytest.mark.parametrize(
    ("server", "environment", "proxy"),
    [
        ("https://a.test", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.test", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://a.test", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://a.test", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://localhost", {"HTTPS_PROXY": "http://p:1"}, ""),
    ],
)
def test_proxy_of_the_environment_is_chosen_as_go_does(
    server: str, environment: dict[str, str], proxy: str
) -> None:
    assert proxy_for(Destination(server), environment) == proxy


def test_secrets_stay_out_of_what_is_printed_for_debugging(home: Path) -> None:
    made = config("a", current="a")
    made["users"][0]["user"] = {"token": "s3cret", "username": "u", "password": "s3cret"}
    write(home / ".kube/config", made)
    assert "s3cret" not in repr(read())
