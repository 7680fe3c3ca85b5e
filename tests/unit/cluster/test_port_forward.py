"""Connections to a port of a pod, over real sockets: logged in as every other request is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from api_scene import Scene, kubeconfig
from forwarding_server import WebSocketEnd, forwarding, to_port, upgrade
from podtrace.cluster import channel
from podtrace.cluster.access import Access
from podtrace.cluster.interface import ApiLike
from podtrace.cluster.port_forward import PortForward, forward_port
from podtrace.errors import ApiError, ClusterError
from scripted_server import Authority, Request, ScriptedServer, chunks, closed_port
from scripted_server import http as whole
from tunnel import Proxy, SocksProxy

PATH = "/api/v1/namespaces/shop/pods/tracer-1/portforward"
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def dialled(api: ApiLike) -> PortForward:
    return forward_port(api, "shop", "tracer-1", 3000)


def everything(far: PortForward) -> bytes:
    """Return all that comes until the port ends the connection."""
    parts = []
    try:
        while (data := far.receive()) is not None:
            parts.append(data)
    finally:
        far.close()
    return b"".join(parts)


def answered(far: PortForward) -> bytes:
    """Ask for the metrics and return the answer."""
    far.send(GET)
    return everything(far)


@pytest.fixture
def metrics(scene: Scene) -> ScriptedServer:
    def answer(request: Request) -> None:
        request.socket.sendall(whole(200, b"some 1\n"))

    return scene.server(answer)


def test_data_goes_both_ways_without_the_ports_that_begin_it(
    scene: Scene, metrics: ScriptedServer
) -> None:
    server = scene.server(forwarding(to_port(metrics.port)))
    assert answered(dialled(scene.api(server.url))) == whole(200, b"some 1\n")
    (request,) = server.requests
    assert request.target == f"{PATH}?ports=3000"
    assert request.headers["User-Agent"].startswith("kubectl-podtrace/")
    assert request.headers["Origin"] is None
    assert [each.path for each in metrics.requests] == ["/metrics"]


def test_much_data_comes_unchanged(scene: Scene) -> None:
    sent = os.urandom(3_000_000)

    def serve(end: WebSocketEnd) -> None:
        end.send(b"\0\xb8\x0b")
        end.ping()
        for size in (1, 124, 125, 65534, 65535, 1_000_000, len(sent)):
            end.send(b"\0" + sent[:size])
        end.close()
        assert end.receive() is None  # a pong has come before

    server = scene.server(forwarding(serve))
    sizes = (1, 124, 125, 65534, 65535, 1_000_000, len(sent))
    assert everything(dialled(scene.api(server.url))) == b"".join(sent[:size] for size in sizes)


def test_closed_port_is_told_with_the_reason(scene: Scene) -> None:
    with closed_port() as port:
        server = scene.server(forwarding(to_port(port)))
        far = dialled(scene.api(server.url))
        assert everything(far) == b""
    assert far.reason == "failed to connect to localhost:3000: refused"


def test_cut_connection_is_an_os_error(scene: Scene) -> None:
    server = scene.server(lambda request: upgrade(request) and None)
    far = dialled(scene.api(server.url))
    with pytest.raises(OSError):
        everything(far)


# How it is refused


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (whole(403, b'{"kind": "Status", "message": "pods is forbidden"}'), "pods is forbidden"),
        (whole(500, b"gone"), "failed to answer"),
        (chunks(b"hello"), "/portforward: HTTP 200 OK"),
        (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", "broke off: Invalid WebSocket Header"),
        (b"SSH-2.0-x\r\n\r\n", "broke off"),
        (None, "broke off"),
    ],
)
def test_answer_that_is_no_websocket_is_an_error_in_words(
    scene: Scene, answer: bytes | None, said: str
) -> None:
    api, _ = scene.answering(answer)
    with pytest.raises(ClusterError) as caught:
        dialled(api)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_server_that_is_away_is_an_error_in_words(scene: Scene) -> None:
    with closed_port() as port, pytest.raises(ClusterError, match="cannot be reached"):
        dialled(scene.api(f"http://127.0.0.1:{port}"))


def test_server_that_says_nothing_is_given_up(scene: Scene) -> None:
    scene.timeout_seconds = 0.3
    api, _ = scene.answering(b"")
    begin = time.monotonic()
    with pytest.raises(ClusterError, match="broke off: timed out"):
        dialled(api)
    assert time.monotonic() - begin < 10


def test_message_that_stops_half_way_is_given_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "SILENCE_SECONDS", 0.3)

    def serve(end: WebSocketEnd) -> None:
        end.socket.sendall(b"\x82\x7e\xff\xff some")
        end.receive()

    server = scene.server(forwarding(serve))
    far = dialled(scene.api(server.url))
    with pytest.raises(TimeoutError):
        everything(far)


def test_closing_wakes_who_waits(scene: Scene) -> None:
    server = scene.server(forwarding(lambda end: end.receive() and None))
    far = dialled(scene.api(server.url))
    far.close()
    with pytest.raises(OSError):
        everything(far)


# Who asks, and on which way


def plain(port: int) -> Any:
    return forwarding(to_port(port))


def test_refused_token_is_read_again(scene: Scene, metrics: ScriptedServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")

    def answer(request: Request) -> bytes | None:
        if request.headers["Authorization"] == "Bearer old":
            token.write_text("new")
            return whole(401, b'{"kind": "Status", "message": "expired"}')
        assert request.headers["Authorization"] == "Bearer new"
        return plain(metrics.port)(request)

    # Over plain HTTP no token is sent, so that this server only looks as if it had TLS.
    folder = tmp_path / "authority"
    folder.mkdir()
    authority = Authority(folder)
    server = scene.server(answer, context=authority.issue("api").server_context())
    api = scene.api(
        server.url,
        {"tokenFile": str(token)},
        **{"certificate-authority": str(authority.certificate)},
    )
    assert answered(dialled(api)).endswith(b"some 1\n")
    assert len(server.requests) == 2


def test_credentials_that_stay_refused_are_an_error(scene: Scene) -> None:
    api, server = scene.answering(whole(401, b'{"kind": "Status", "message": "who?"}'))
    with pytest.raises(ApiError) as caught:
        dialled(api)
    assert caught.value.status == 401
    assert len(server.requests) == 1


def test_impersonation_is_for_forwards_too(
    scene: Scene, metrics: ScriptedServer, tmp_path: Path
) -> None:
    server = scene.server(plain(metrics.port))
    config = kubeconfig(tmp_path, server.url)
    api = scene.connect(
        Access(kubeconfig=str(config), as_user="jürgen ćwik", as_groups=("a", "b"), as_uid="7")
    )
    assert answered(dialled(api)).endswith(b"some 1\n")
    headers = server.requests[0].headers
    assert headers["Impersonate-User"].encode("latin-1").decode() == "jürgen ćwik"
    assert headers["Impersonate-Uid"] == "7"
    assert headers.get_all("Impersonate-Group") == ["a", "b"]


def test_header_that_ends_another_is_not_sent(scene: Scene, tmp_path: Path) -> None:
    server = scene.server(lambda request: None)
    config = kubeconfig(tmp_path, server.url)
    api = scene.connect(Access(kubeconfig=str(config), as_user="x\r\nImpersonate-User: root"))
    with pytest.raises(ClusterError, match="Impersonate-User cannot be sent"):
        dialled(api)
    assert server.requests == []


def test_certificate_of_the_client_and_name_of_the_server_are_used(
    scene: Scene, metrics: ScriptedServer, authority: Authority
) -> None:
    pair, mine = authority.issue("api", names="DNS:api.test"), authority.issue("jane")
    context = pair.server_context(clients_of=authority.certificate)
    server = scene.server(plain(metrics.port), context=context)
    user = {"client-certificate": str(mine.certificate), "client-key": str(mine.key)}
    trust = {"certificate-authority": str(authority.certificate)}
    api = scene.api(server.url, user, **trust, **{"tls-server-name": "api.test"})
    assert answered(dialled(api)).endswith(b"some 1\n")
    with pytest.raises(ClusterError, match="not trusted"):
        dialled(scene.api(server.url, user, **trust))
    with pytest.raises(ClusterError):
        answered(dialled(scene.api(server.url, None, **trust, **{"tls-server-name": "api.test"})))


@pytest.mark.parametrize("is_tls", [True, False])
@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_proxies_are_gone_through(
    scene: Scene, metrics: ScriptedServer, authority: Authority, kind: str, is_tls: bool
) -> None:
    if kind == "https" and not is_tls:
        pytest.skip("TLS to the proxy and none to the server is more than anybody needs")
    context = authority.issue("api", names="DNS:api.test").server_context() if is_tls else None
    server = scene.server(plain(metrics.port), context=context)
    proxy: ScriptedServer = SocksProxy()
    if kind != "socks5":
        own = authority.issue("proxy").server_context() if kind == "https" else None
        proxy = Proxy(context=own)
    scene.closing.append(proxy)
    # A proxy that is to find the server by its address; SOCKS leads every name to this machine.
    host = "api.test" if kind == "socks5" else "127.0.0.1"
    api = scene.api(
        f"{'https' if is_tls else 'http'}://{host}:{server.port}",
        **{
            "proxy-url": f"{kind}://127.0.0.1:{proxy.port}",
            **({"certificate-authority": str(authority.certificate)} if is_tls else {}),
            **({"tls-server-name": "api.test"} if is_tls else {}),
        },
    )
    assert answered(dialled(api)).endswith(b"some 1\n")
    if isinstance(proxy, SocksProxy):
        assert proxy.asked == [b"api.test"]
    else:
        assert [request.method for request in proxy.requests] == ["CONNECT"]


def test_proxy_that_refuses_is_named(scene: Scene) -> None:
    proxy = Proxy(refusal=b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
    scene.closing.append(proxy)
    url = {"proxy-url": f"http://127.0.0.1:{proxy.port}"}
    with pytest.raises(ClusterError, match=r"the proxy .* refused to connect: 407 Who"):
        dialled(scene.api("https://10.9.9.9:6443", **url))


def test_library_is_not_loaded_without_a_forward(scene: Scene) -> None:
    import subprocess
    import sys

    script = "import sys; import podtrace.pod_trace; print('websocket' in sys.modules)"
    root = Path(__file__).parents[3] / "plugin"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "False\n", json.dumps(done.stderr)
