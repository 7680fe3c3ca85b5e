"""Who the user is to a server, and whether to trust it: over real TLS, plugins and proxies."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api_scene import Scene, kubeconfig
from podtrace.cluster.access import Access
from podtrace.cluster.api import Api
from podtrace.cluster.login import Destination
from podtrace.cluster.tls import tls_context
from podtrace.errors import ClusterError
from scripted_server import Authority, Pair, Request, ScriptedServer, chunks, closed_port
from scripted_server import http as whole
from tunnel import Proxy, SocksProxy

POD = "/api/v1/namespaces/shop/pods/web-0"
EXEC = "client.authentication.k8s.io/v1"
ENDLESS_SECONDS = 30.0


def ok(_: Request) -> bytes:
    return whole(200, b"{}")


def only(token: str) -> Any:
    """Return an answer that lets in whoever comes with this token."""

    def answer(request: Request) -> bytes:
        known = request.headers["Authorization"] == f"Bearer {token}"
        return whole(200, b"{}") if known else whole(401, b'{"kind": "Status", "message": "who?"}')

    return answer


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def trust(authority: Authority) -> dict[str, Any]:
    return {"certificate-authority-data": encoded(authority.certificate)}


@pytest.fixture(scope="session")
def server_pair(authority: Authority) -> Pair:
    return authority.issue("api", names="IP:127.0.0.1,DNS:api.test")


class SecureScene(Scene):
    """A scene whose servers speak TLS with a certificate that its Apis trust."""

    def __init__(self, folder: Path, pair: Pair, authority: Authority) -> None:
        super().__init__(folder)
        self._pair = pair
        self._trust = trust(authority)

    def server(self, answer: Any, **kwargs: Any) -> ScriptedServer:
        return super().server(answer, context=self._pair.server_context(), **kwargs)

    def api(self, server: str, user: Any = None, **cluster: Any) -> Api:
        return super().api(server, user, **self._trust, **cluster)


@pytest.fixture
def secure(scene: Scene, server_pair: Pair, authority: Authority) -> SecureScene:
    made = SecureScene(scene.folder, server_pair, authority)
    scene.closing.append(made)
    return made


@pytest.fixture
def server(scene: Scene, server_pair: Pair) -> ScriptedServer:
    return scene.server(ok, context=server_pair.server_context())


def refused(api: Api) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        api.get(POD)
    assert caught.value.hint
    return caught.value


# Trust in the server


def test_authority_of_the_kubeconfig_is_trusted(
    scene: Scene, server: ScriptedServer, authority: Authority
) -> None:
    assert scene.api(server.url, **trust(authority)).get(POD) == {}
    path = {"certificate-authority": os.path.relpath(authority.certificate, scene.folder)}
    assert scene.api(server.url, **path).get(POD) == {}


def test_unknown_authority_is_refused(scene: Scene, server: ScriptedServer, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    error = refused(scene.api(server.url, **trust(other)))
    assert f"the certificate of {server.url} is not trusted" in error.message
    assert "--certificate-authority" in (error.hint or "")
    assert not server.requests
    assert "is not trusted" in refused(scene.api(server.url)).message


def test_certificate_for_another_name_is_refused(scene: Scene, authority: Authority) -> None:
    server = scene.server(ok, context=authority.issue("x", names="DNS:x.test").server_context())
    error = refused(scene.api(server.url, **trust(authority)))
    assert "is not trusted" in error.message
    assert "--tls-server-name" in (error.hint or "")


def test_server_name_of_the_kubeconfig_is_what_counts(
    scene: Scene, server: ScriptedServer, authority: Authority
) -> None:
    right = {**trust(authority), "tls-server-name": "api.test"}
    assert scene.api(server.url, **right).get(POD) == {}
    wrong = {**trust(authority), "tls-server-name": "x.test"}
    assert "is not trusted" in refused(scene.api(server.url, **wrong)).message


def test_expired_certificate_is_refused(scene: Scene, authority: Authority) -> None:
    server = scene.server(ok, context=authority.issue("old", days=-1).server_context())
    error = refused(scene.api(server.url, **trust(authority)))
    assert "expired" in error.message
    assert "clock" in (error.hint or "")


def test_certificate_of_the_server_itself_may_be_the_authority(
    scene: Scene, server: ScriptedServer, server_pair: Pair
) -> None:
    own = {"certificate-authority": str(server_pair.certificate)}
    assert scene.api(server.url, **own).get(POD) == {}


def test_insecure_server_is_not_looked_at(scene: Scene, server: ScriptedServer) -> None:
    assert scene.api(server.url, **{"insecure-skip-tls-verify": True}).get(POD) == {}
    config = kubeconfig(scene.folder, server.url, **{"certificate-authority": "/none"})
    config.write_text(config.read_text().replace("/none", str(config)))
    access = Access(kubeconfig=str(config), insecure_skip_tls_verify=True)
    assert scene.connect(access).get(POD) == {}


@pytest.mark.parametrize("content", ["no certificate", "\udcff", ""])
def test_authority_that_is_no_certificate_is_an_error(
    scene: Scene, server: ScriptedServer, content: str, tmp_path: Path
) -> None:
    path = tmp_path / "ca.crt"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    api = scene.api(server.url, **{"certificate-authority": str(path)})
    assert "no PEM certificate" in refused(api).message


def test_server_without_tls_is_named(scene: Scene) -> None:
    server = scene.server(ok, greet=whole(400, b"client sent an HTTPS request"))
    error = refused(scene.api(server.url.replace("http:", "https:")))
    assert "does not speak TLS" in error.message


def test_tls_server_that_is_asked_in_plain_text_is_an_error(
    scene: Scene, server: ScriptedServer
) -> None:
    refused(scene.api(server.url.replace("https:", "http:")))


def test_tls_that_breaks_off_is_an_error(scene: Scene) -> None:
    server = scene.server(ok, greet=b"\x15\x03\x01\x00\x02\x02\x28")
    refused(scene.api(server.url.replace("http:", "https:")))
    server = scene.server(ok, greet=b"")
    refused(scene.api(server.url.replace("http:", "https:")))


# Client certificates


@pytest.fixture
def choosy(scene: Scene, server_pair: Pair, authority: Authority) -> ScriptedServer:
    context = server_pair.server_context(authority.certificate)
    return scene.server(ok, context=context)


def test_client_certificate_is_shown(
    scene: Scene, choosy: ScriptedServer, authority: Authority
) -> None:
    pair = authority.issue("jane", names="")
    data = {
        "client-certificate-data": encoded(pair.certificate),
        "client-key-data": encoded(pair.key),
    }
    assert scene.api(choosy.url, data, **trust(authority)).get(POD) == {}
    files = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    assert scene.api(choosy.url, files, **trust(authority)).get(POD) == {}
    options = Access(
        kubeconfig=str(kubeconfig(scene.folder, choosy.url, **trust(authority))),
        client_certificate=str(pair.certificate),
        client_key=str(pair.key),
    )
    assert scene.connect(options).get(POD) == {}


@pytest.fixture
def joe(authority: Authority) -> dict[str, str]:
    pair = authority.issue("joe", names="")
    return {
        "client-certificate-data": encoded(pair.certificate),
        "client-key-data": encoded(pair.key),
    }


def test_client_key_is_never_on_disk(
    scene: Scene,
    choosy: ScriptedServer,
    authority: Authority,
    joe: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    before = len(os.listdir("/proc/self/fd"))
    tls_context(Destination("https://x"), *map(base64.b64decode, joe.values()))
    assert len(os.listdir("/proc/self/fd")) == before
    assert scene.api(choosy.url, joe, **trust(authority)).get(POD) == {}


def test_client_key_leaves_no_file_behind_where_it_needs_one(
    scene: Scene,
    choosy: ScriptedServer,
    authority: Authority,
    joe: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.delattr("os.memfd_create")
    assert scene.api(choosy.url, joe, **trust(authority)).get(POD) == {}
    assert not list(scratch.iterdir())


def test_missing_or_wrong_client_certificate_is_refused(
    scene: Scene, choosy: ScriptedServer, authority: Authority, tmp_path: Path
) -> None:
    refused(scene.api(choosy.url, **trust(authority)))
    pair = Authority(tmp_path, "other").issue("jane", names="")
    files = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    refused(scene.api(choosy.url, files, **trust(authority)))


def test_key_that_does_not_fit_is_an_error(
    scene: Scene, choosy: ScriptedServer, authority: Authority, server_pair: Pair
) -> None:
    pair = authority.issue("jim", names="")
    files = {"client-certificate": str(pair.certificate), "client-key": str(server_pair.key)}
    error = refused(scene.api(choosy.url, files, **trust(authority)))
    assert "client certificate and its key cannot be used" in error.message


def test_encrypted_key_is_an_error_and_no_question(
    scene: Scene, choosy: ScriptedServer, authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue("jil", names="")
    locked = tmp_path / "locked.key"
    command = f"openssl ec -in {pair.key} -aes128 -passout pass:x -out {locked}"
    subprocess.run(command.split(), check=True, capture_output=True)
    files = {"client-certificate": str(pair.certificate), "client-key": str(locked)}
    assert "encrypted" in refused(scene.api(choosy.url, files, **trust(authority))).message


@pytest.mark.parametrize("missing", ["client-certificate", "client-key"])
def test_half_a_client_certificate_is_an_error(scene: Scene, missing: str, tmp_path: Path) -> None:
    there = {"client-certificate", "client-key"} - {missing}
    (tmp_path / "f").write_text("x")
    with pytest.raises(ClusterError, match=f"no client {missing.removeprefix('client-')}"):
        scene.api("https://x", {there.pop(): str(tmp_path / "f")})


# Tokens and impersonation


def test_token_and_password_go_into_the_header(secure: SecureScene) -> None:
    server = secure.server(ok)
    secure.api(server.url, {"token": "t0k"}).get(POD)
    secure.api(server.url, {"username": "jane", "password": "ü:x"}).get(POD)
    secure.api(server.url).get(POD)
    bearer, basic, nothing = (request.headers["Authorization"] for request in server.requests)
    assert bearer == "Bearer t0k"
    assert base64.b64decode(basic.removeprefix("Basic ")).decode() == "jane:ü:x"
    assert nothing is None


@pytest.mark.parametrize(
    "user",
    [
        {"token": "t0k"},
        {"tokenFile": "token"},
        {"username": "jane", "password": "x"},
        {"exec": {"command": "./plugin", "apiVersion": EXEC}},
    ],
)
def test_server_without_tls_gets_no_credentials(scene: Scene, user: dict[str, Any]) -> None:
    server = scene.server(ok)
    (scene.folder / "token").write_text("t0k")
    plugin(scene.folder, "give(token='t')\n")
    scene.api(server.url, {**user, "as": "joe"}).get(POD)
    scene.connect(Access(kubeconfig=str(scene.folder / "config"), token="mine")).get(POD)
    for request in server.requests:
        assert request.headers["Authorization"] is None
        assert request.headers["Impersonate-User"] == "joe", "which is no secret"
    assert not (scene.folder / "calls").exists(), "the plugin is not even started"


def test_token_of_the_command_line_wins(secure: SecureScene, authority: Authority) -> None:
    server = secure.server(ok)
    user = {"token": "x", "exec": {"command": "/none", "apiVersion": EXEC}}
    config = kubeconfig(secure.folder, server.url, user, **trust(authority))
    secure.connect(Access(kubeconfig=str(config), token="mine")).get(POD)
    assert server.requests[0].headers["Authorization"] == "Bearer mine"


def test_token_file_is_read_again_after_a_refusal(secure: SecureScene, tmp_path: Path) -> None:
    server = secure.server(only("new"))
    path = tmp_path / "token"
    path.write_text("old\n")
    api = secure.api(server.url, {"tokenFile": "token", "token": "ignored"})
    path.write_text("new\n")
    assert api.get(POD) == {}
    path.write_text("wrong")
    assert api.get(POD) == {}, "the token that was accepted goes on being used"


def test_refusal_of_a_token_that_stays_is_an_error_at_once(
    secure: SecureScene, tmp_path: Path
) -> None:
    server = secure.server(only("new"))
    (tmp_path / "token").write_text("old\n")
    error = refused(secure.api(server.url, {"tokenFile": "token"}))
    assert "does not accept the credentials: who?" in error.message
    assert len(server.requests) == 1


def test_missing_token_file_is_an_error(scene: Scene) -> None:
    error = refused(scene.api("https://127.0.0.1:1", {"tokenFile": "none"}))
    assert "the token file" in error.message


def test_impersonation_sends_every_group_and_extra(scene: Scene) -> None:
    server = scene.server(ok)
    user = {
        "as": "jane",
        "as-uid": "17",
        "as-groups": ["dev", "öps"],
        "as-user-extra": {"acme/scope": ["a", "b"]},
    }
    scene.api(server.url, user).get(POD)
    config = str(scene.folder / "config")
    scene.connect(Access(kubeconfig=config, as_user="joe", as_groups=("x", "y"))).get(POD)
    first, second = (request.headers for request in server.requests)
    assert first["Impersonate-User"] == "jane"
    assert first["Impersonate-Uid"] == "17"
    groups = first.get_all("Impersonate-Group")
    assert groups is not None
    assert [group.encode("latin-1").decode() for group in groups] == ["dev", "öps"]
    assert first.get_all("Impersonate-Extra-acme%2Fscope") == ["a", "b"]
    assert second["Impersonate-User"] == "joe"
    assert second.get_all("Impersonate-Group") == ["x", "y"]


def test_groups_without_a_user_are_an_error(scene: Scene) -> None:
    with pytest.raises(ClusterError, match="without a user"):
        scene.api("http://x", {"as-groups": ["dev"]})


@pytest.mark.parametrize("token", ["a\r\nX: y", "a\nb"])
def test_token_that_would_break_out_of_its_header_is_an_error(
    secure: SecureScene, token: str
) -> None:
    server = secure.server(ok)
    refused(secure.api(server.url, {"token": token}))
    assert not server.requests


def test_oidc_token_is_used_and_other_providers_are_refused(secure: SecureScene) -> None:
    server = secure.server(ok)
    provider = {"name": "oidc", "config": {"id-token": "jwt"}}
    secure.api(server.url, {"auth-provider": provider}).get(POD)
    assert server.requests[0].headers["Authorization"] == "Bearer jwt"
    with pytest.raises(ClusterError, match="auth-provider gcp"):
        secure.api(server.url, {"auth-provider": {"name": "gcp"}})


# Credential plugins


def plugin(folder: Path, body: str, **more: Any) -> dict[str, Any]:
    """Return a user whose plugin is a Python program; it writes what it got beside itself."""
    path = folder / "plugin"
    path.write_text(
        f"#!{sys.executable}\nimport json, os, sys, time\n"
        f"calls = {str(folder / 'calls')!r}\n"
        "with open(calls, 'a') as file: file.write(os.environ['KUBERNETES_EXEC_INFO'] + '\\n')\n"
        "turn = len(open(calls).readlines())\n"
        "def give(**status):\n"
        f"    print(json.dumps({{'apiVersion': {EXEC!r}, 'kind': 'ExecCredential', "
        "'status': status}))\n" + body
    )
    path.chmod(0o755)
    return {"exec": {"command": "./plugin", "apiVersion": EXEC, "interactiveMode": "IfAvailable",
                     **more}}  # fmt: skip


def calls(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def test_plugin_gives_a_token_once_for_many_requests(secure: SecureScene) -> None:
    server = secure.server(only("t1"))
    user = plugin(secure.folder, "give(token=f't{turn}')\n")
    api = secure.api(server.url, user)
    for _ in range(3):
        assert api.get(POD) == {}
    (call,) = calls(secure.folder)
    assert call["kind"] == "ExecCredential"
    assert call["apiVersion"] == EXEC
    assert call["spec"] == {"interactive": False}


def test_plugin_gets_its_arguments_environment_and_cluster(
    scene: Scene, server: ScriptedServer, authority: Authority
) -> None:
    body = "give(token='-'.join([sys.argv[1], os.environ['REGION'], os.environ['HOME']]))\n"
    user = plugin(
        scene.folder,
        body,
        args=["get-token"],
        env=[{"name": "REGION", "value": "mars"}],
        provideClusterInfo=True,
    )
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
    scene.api(server.url, user, **trust(authority), extensions=[extension]).get(POD)
    assert server.requests[0].headers["Authorization"] == f"Bearer get-token-mars-{scene.folder}"
    cluster = calls(scene.folder)[0]["spec"]["cluster"]
    assert cluster["server"] == server.url
    assert cluster["config"] == {"audience": "x"}
    assert cluster["certificate-authority-data"] == encoded(authority.certificate)


def test_plugin_may_give_a_client_certificate(
    scene: Scene, choosy: ScriptedServer, authority: Authority
) -> None:
    pair = authority.issue("pam", names="")
    body = (
        f"give(clientCertificateData=open({str(pair.certificate)!r}).read(), "
        f"clientKeyData=open({str(pair.key)!r}).read())\n"
    )
    assert scene.api(choosy.url, plugin(scene.folder, body), **trust(authority)).get(POD) == {}


def test_plugin_is_asked_again_when_its_token_has_expired(
    secure: SecureScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = secure.server(ok)
    body = (
        "end = f'{2030 + turn}-01-01T00:00:00Z'\ngive(token=f't{turn}', expirationTimestamp=end)\n"
    )
    api = secure.api(server.url, plugin(secure.folder, body))
    api.get(POD)
    api.get(POD)
    monkeypatch.setattr("time.time", datetime(2031, 1, 1, 0, 0, 1, tzinfo=UTC).timestamp)
    api.get(POD)
    tokens = [request.headers["Authorization"] for request in server.requests]
    assert tokens == ["Bearer t1", "Bearer t1", "Bearer t2"]


def test_plugin_is_asked_again_once_when_its_token_is_refused(secure: SecureScene) -> None:
    server = secure.server(only("t2"))
    api = secure.api(server.url, plugin(secure.folder, "give(token=f't{turn}')\n"))
    assert api.get(POD) == {}
    assert len(server.requests) == 2
    server.answer = only("t9")
    assert "credentials" in refused(api).message
    assert len(calls(secure.folder)) == 3


def test_many_threads_with_a_refused_token_ask_the_plugin_once(secure: SecureScene) -> None:
    server = secure.server(only("t2"))
    api = secure.api(server.url, plugin(secure.folder, "give(token=f't{turn}')\n"))
    wrong: list[Exception] = []

    def ask() -> None:
        try:
            api.get(POD)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(calls(secure.folder)) == 2


def test_what_a_plugin_says_on_stderr_is_shown(
    secure: SecureScene, capfd: pytest.CaptureFixture[str]
) -> None:
    body = "print('open https://login.test', file=sys.stderr)\ngive(token='t')\n"
    secure.api(secure.server(ok).url, plugin(secure.folder, body)).get(POD)
    assert capfd.readouterr().err == "open https://login.test\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit(3)\n", "failed with exit code 3"),
        ("os.kill(os.getpid(), 9)\n", "failed with exit code -9"),
        ("print('hello')\n", "printed no credentials"),
        ("print('[' * 99999)\n", "printed no credentials"),
        ("print('{}')\n", "no ExecCredential"),
        ("give()\n", "neither a token nor a client certificate"),
        ("give(clientKeyData='x')\n", "certificate without its key"),
        ("give(token='t', expirationTimestamp='soon')\n", "printed no credentials"),
        ("give(token='t', expirationTimestamp=7)\n", "printed no credentials"),
        ("give(token='t', expirationTimestamp='2001-01-01T00:00:00Z')\n", "expired already"),
        ("sys.stdout.buffer.write(b'\\xff')\n", "printed no credentials"),
    ],
)
def test_plugin_that_fails_is_an_error_that_names_it(scene: Scene, body: str, words: str) -> None:
    error = refused(scene.api("https://127.0.0.1:1", plugin(scene.folder, body)))
    assert words in error.message
    assert "plugin" in error.message


def test_plugin_that_is_not_there_gives_its_own_hint(scene: Scene) -> None:
    user = {"exec": {"command": "no-such-plugin", "apiVersion": EXEC, "installHint": "get it\n"}}
    with pytest.raises(ClusterError, match="no-such-plugin cannot be started") as caught:
        scene.api("https://x", user)
    assert caught.value.hint == "get it"


@pytest.mark.parametrize("version", ["", "client.authentication.k8s.io/v1alpha1"])
def test_plugin_of_an_unknown_version_is_refused(scene: Scene, version: str) -> None:
    with pytest.raises(ClusterError, match="not supported"):
        scene.api("https://x", {"exec": {"command": "true", "apiVersion": version}})


def test_plugin_that_has_to_ask_needs_a_terminal(scene: Scene) -> None:
    user = plugin(scene.folder, "give(token='t')\n", interactiveMode="Always")
    with pytest.raises(ClusterError, match="no terminal"):
        scene.api("https://x", user)


def test_plugin_that_still_runs_is_ended_with_the_api(scene: Scene) -> None:
    api = scene.api("https://x", plugin(scene.folder, "time.sleep(60)\n"))
    begin = time.monotonic()
    api.close()
    assert time.monotonic() - begin < 30


# Proxies


@pytest.fixture
def proxy(scene: Scene) -> Proxy:
    made = Proxy()
    scene.closing.append(made)
    return made


def test_proxy_of_the_kubeconfig_is_used_whatever_no_proxy_says(
    scene: Scene,
    server: ScriptedServer,
    authority: Authority,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    place = f"http://jane:p%40ss@127.0.0.1:{proxy.port}"
    scene.api(server.url, **trust(authority), **{"proxy-url": place}).get(POD)
    (connect,) = proxy.requests
    assert (connect.method, connect.target) == ("CONNECT", server.url.removeprefix("https://"))
    pair = base64.b64decode(connect.headers["Proxy-Authorization"].removeprefix("Basic "))
    assert pair == b"jane:p@ss"
    assert "Proxy-Authorization" not in server.requests[0].headers


def test_proxy_may_speak_tls_itself(
    scene: Scene, server: ScriptedServer, authority: Authority, server_pair: Pair
) -> None:
    made = Proxy(context=server_pair.server_context())
    scene.closing.append(made)
    place = {"proxy-url": f"https://127.0.0.1:{made.port}"}
    assert scene.api(server.url, **trust(authority), **place).get(POD) == {}
    assert made.requests


def test_stream_through_a_proxy_is_closed_from_another_thread(
    scene: Scene, authority: Authority, server_pair: Pair, proxy: Proxy
) -> None:
    server = scene.server(lambda _: chunks(b"x", end=False), context=server_pair.server_context())
    place = {"proxy-url": f"http://127.0.0.1:{proxy.port}"}
    api = scene.api(server.url, **trust(authority), **place)
    stream = api.stream(f"{POD}/log", read_timeout_seconds=ENDLESS_SECONDS)
    bits = iter(stream)
    assert next(bits) == b"x"
    closer = threading.Timer(0.1, stream.close)
    closer.start()
    begin = time.monotonic()
    assert list(bits) == []
    assert time.monotonic() - begin < ENDLESS_SECONDS
    closer.join()


def test_proxy_of_the_environment_is_used_but_for_exceptions(
    scene: Scene,
    server: ScriptedServer,
    authority: Authority,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Not 127.0.0.1, which is never reached by way of a proxy.
    url = server.url.replace("127.0.0.1", "api.test")
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
    real = socket.create_connection
    monkeypatch.setattr(
        socket, "create_connection", lambda place, *_: real(("127.0.0.1", place[1]))
    )
    scene.api(url, **trust(authority)).get(POD)
    assert proxy.requests[0].target == f"api.test:{server.port}"
    scene.api(server.url, **trust(authority)).get(POD)
    monkeypatch.setenv("NO_PROXY", ".test")
    refused(scene.api(url, **trust(authority)))
    assert len(proxy.requests) == 1


def test_socks_proxy_is_used_and_looks_up_the_name(
    scene: Scene, server: ScriptedServer, authority: Authority
) -> None:
    made = SocksProxy()
    scene.closing.append(made)
    url = server.url.replace("127.0.0.1", "api.test")
    place = {"proxy-url": f"socks5://127.0.0.1:{made.port}"}
    assert scene.api(url, **trust(authority), **place).get(POD) == {}
    assert made.asked == [b"api.test"]


def test_socks_proxy_that_is_away_is_named(scene: Scene) -> None:
    with closed_port() as port:
        error = refused(
            scene.api("https://api.test", **{"proxy-url": f"socks5://127.0.0.1:{port}"})
        )
    assert f"the proxy socks5://127.0.0.1:{port}" in error.message


@pytest.mark.parametrize("code", [403, 407, 502])
def test_proxy_that_refuses_is_named_without_its_password(
    scene: Scene, server: ScriptedServer, authority: Authority, code: int
) -> None:
    made = Proxy(refusal=whole(code, b"no"))
    scene.closing.append(made)
    place = {"proxy-url": f"http://jane:secret@127.0.0.1:{made.port}"}
    error = refused(scene.api(server.url, **trust(authority), **place))
    assert f"the proxy http://127.0.0.1:{made.port}, which leads to {server.url}," in error.message
    assert str(code) in error.message
    assert "secret" not in f"{error.message}{error.hint}{error.details}"


def test_proxy_that_is_away_is_named(scene: Scene) -> None:
    with closed_port() as port:
        place = {"proxy-url": f"http://jane:secret@127.0.0.1:{port}"}
        error = refused(scene.api("https://api.test", **place))
    assert f"the proxy http://127.0.0.1:{port}" in error.message
    assert "connection refused" in error.message
    assert "secret" not in error.message


def test_proxy_that_speaks_nonsense_is_an_error(scene: Scene) -> None:
    made = Proxy(refusal=b"SSH-2.0\r\n")
    scene.closing.append(made)
    place = {"proxy-url": f"http://127.0.0.1:{made.port}"}
    refused(scene.api("https://api.test", **place))


@pytest.mark.parametrize("place", ["ftp://127.0.0.1:1", "http://", "http://[::", "://", "x"])
def test_proxy_of_no_known_kind_is_an_error(scene: Scene, place: str) -> None:
    refused(scene.api("https://api.test", **{"proxy-url": place}))
