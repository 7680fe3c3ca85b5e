"""What the API says and asks over a real socket, and that nothing of the transport leaks out."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from api_scene import Scene
from podtrace.cluster.interface import ApiLike
from podtrace.errors import ApiError, ClusterError
from scripted_server import Answer, Authority, Request, chunk, chunks, closed_port
from scripted_server import http as whole

ENDLESS_SECONDS = 30.0
PODS = "/api/v1/namespaces/shop/pods"
POD = f"{PODS}/web-0"
METHODS: dict[str, Callable[[ApiLike], Any]] = {
    "get": lambda api: api.get(POD),
    "post": lambda api: api.post(PODS, {"kind": "Pod"}),
    "delete": lambda api: api.delete(POD),
    "items": lambda api: list(api.items(PODS)),
    "stream": lambda api: list(api.stream(f"{POD}/log", read_timeout_seconds=0.3)),
    "watch": lambda api: list(api.watch(PODS, read_timeout_seconds=0.3)),
    "allowed": lambda api: api.allowed("get", "pods", namespace="shop"),
}
every_method = pytest.mark.parametrize("method", METHODS)


def status(code: int, reason: str = "", message: str = "", **headers: str) -> bytes:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return whole(code, json.dumps(body).encode(), **headers)


def failure(api: ApiLike, method: str) -> ClusterError:
    """Return the error of a request; anything but a ClusterError fails the test."""
    begin = time.monotonic()
    with pytest.raises(ClusterError) as caught:
        METHODS[method](api)
    assert time.monotonic() - begin < ENDLESS_SECONDS
    assert caught.value.hint, "an error says what to do next"
    assert "\n" not in caught.value.message
    return caught.value


# Answers that are right


def test_get_sends_the_query_and_the_headers_of_a_client(scene: Scene) -> None:
    api, server = scene.answering(whole(200, b'{"kind": "Pod"}'))
    assert api.get(POD, limit=5, watch=False, follow=True, fieldSelector="a=b,c", none=None) == {
        "kind": "Pod"
    }
    (request,) = server.requests
    assert request.path == POD
    assert parse_qs(urlsplit(request.target).query) == {
        "limit": ["5"],
        "watch": ["false"],
        "follow": ["true"],
        "fieldSelector": ["a=b,c"],
    }
    assert request.headers["Accept"] == "application/json"
    assert request.headers["User-Agent"].startswith("kubectl-podtrace/")
    assert api.namespace == "shop"
    assert api.server == server.url


def test_bodies_go_out_as_json(scene: Scene) -> None:
    api, server = scene.answering(whole(201, b"{}"))
    api.post(PODS, {"metadata": {"name": "ä"}}, dryRun="All")
    api.delete(POD, {"gracePeriodSeconds": 2})
    api.delete(POD)
    post, delete, plain = server.requests
    assert (post.method, json.loads(post.body)) == ("POST", {"metadata": {"name": "ä"}})
    assert post.headers["Content-Type"] == "application/json"
    assert (delete.method, json.loads(delete.body)) == ("DELETE", {"gracePeriodSeconds": 2})
    assert plain.body == b""


def page(*names: str, follow: str = "") -> bytes:
    items = [{"metadata": {"name": name}} for name in names]
    return whole(200, json.dumps({"items": items, "metadata": {"continue": follow}}).encode())


def names(api: ApiLike) -> list[str]:
    return [item["metadata"]["name"] for item in api.items(PODS)]


def test_items_come_page_by_page(scene: Scene) -> None:
    api, server = scene.answering(page("a", "b", follow="t/1"), page("c"))
    assert names(api) == ["a", "b", "c"]
    assert parse_qs(urlsplit(server.requests[1].target).query)["continue"] == ["t/1"]


def test_list_that_grew_too_old_goes_on_with_the_token_of_the_refusal(scene: Scene) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "metadata": {"continue": "t2"}}
    api, server = scene.answering(
        page("a", follow="t1"), whole(410, json.dumps(gone).encode()), page("b")
    )
    assert names(api) == ["a", "b"]
    assert "continue=t2" in server.requests[-1].target


def test_empty_list_may_have_null_items(scene: Scene) -> None:
    api, _ = scene.answering(whole(200, b'{"items": null, "metadata": {}}'))
    assert list(api.items(PODS)) == []


@pytest.mark.parametrize(("said", "allowed"), [(True, True), (False, False), ("yes", False)])
def test_allowed_asks_for_a_review(scene: Scene, said: Any, allowed: bool) -> None:
    api, server = scene.answering(whole(201, json.dumps({"status": {"allowed": said}}).encode()))
    assert api.allowed("get", "pods", subresource="log", namespace="shop") is allowed
    assert json.loads(server.requests[0].body)["spec"]["resourceAttributes"] == {
        "verb": "get",
        "resource": "pods",
        "subresource": "log",
        "group": "",
        "namespace": "shop",
        "name": "",
    }


def test_requests_of_many_threads_do_not_mix(scene: Scene) -> None:
    server = scene.server(lambda request: whole(200, json.dumps({"at": request.path}).encode()))
    api = scene.api(server.url)
    wrong: list[str] = []

    def ask(number: int) -> None:
        for turn in range(10):
            path = f"/api/v1/namespaces/n{number}/pods/p{turn}"
            if api.get(path) != {"at": path}:
                wrong.append(path)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# Answers that are errors


@every_method
@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (400, "BadRequest", "container is waiting"),
        (401, "Unauthorized", "Unauthorized"),
        (403, "Forbidden", "pods is forbidden"),
        (404, "NotFound", 'pods "web-0" not found'),
        (409, "AlreadyExists", "exists"),
        (410, "Expired", "too old"),
        (422, "Invalid", "is invalid"),
        (429, "TooManyRequests", "too many"),
        (500, "InternalError", "internal"),
        (503, "ServiceUnavailable", "starting"),
        (504, "Timeout", "timeout"),
    ],
)
def test_status_of_the_server_becomes_an_api_error(
    scene: Scene, method: str, code: int, reason: str, words: str
) -> None:
    api, server = scene.answering(status(code, reason, words))
    with pytest.raises(ApiError, match=words) as caught:
        METHODS[method](api)
    assert (caught.value.status, caught.value.reason) == (code, reason)
    assert caught.value.body["message"] == words
    if code in (401, 429) or code >= 500:
        assert server.url in caught.value.message
        assert caught.value.hint


@every_method
@pytest.mark.parametrize("code", [302, 307, 403, 404, 407, 502, 999])
def test_error_page_of_something_else_is_no_status_object(
    scene: Scene, method: str, code: int
) -> None:
    page = b"<html>\n<h1>corporate\x1b[31m proxy</h1>" + b"x" * 5000
    api, server = scene.answering(whole(code, page, Location="http://127.0.0.1:1/"))
    error = failure(api, method)
    assert isinstance(error, ApiError)
    assert error.status == code
    assert server.url in error.message
    assert "corporate" in error.message
    assert len(error.message) < 500


@every_method
def test_server_that_is_busy_is_asked_again_when_it_says(scene: Scene, method: str) -> None:
    busy = status(429, "TooManyRequests", "busy", Retry_After="0")
    api, server = scene.answering(busy, busy, status(404, "NotFound", "gone"))
    with pytest.raises(ApiError, match="gone"):
        METHODS[method](api)
    assert len(server.requests) == 3


def test_server_that_stays_busy_for_long_is_an_error_at_once(scene: Scene) -> None:
    api, server = scene.answering(status(429, "TooManyRequests", "busy", Retry_After="600"))
    assert "busy" in failure(api, "get").message
    assert len(server.requests) == 1


@pytest.mark.parametrize("word", ["soon", "-1", "9" * 400, "²"])
def test_senseless_time_to_come_back_is_not_obeyed(scene: Scene, word: str) -> None:
    answer = status(429, "TooManyRequests", "busy").replace(
        b"\r\n\r\n", b"\r\nRetry-After: " + word.encode("utf-8") + b"\r\n\r\n", 1
    )
    api, _ = scene.answering(answer)
    assert "busy" in failure(api, "get").message


# Answers that are none

BROKEN: dict[str, bytes | None] = {
    "closed at once": None,
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "half a status line": b"HTTP/1.1 2",
    "no number": b"HTTP/1.1 OK fine\r\n\r\n",
    "half of the headers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Le",
    "endless header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "cut body": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"kind"',
    "cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{",
    "senseless chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "no last chunk": chunks(b'{"type": "ADDED", "object": {}}', end=False),
    "cut error": b"HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\n{}",
}


@every_method
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_answer_is_an_error_that_names_the_server(
    scene: Scene, method: str, kind: str
) -> None:
    def answer(request: Request) -> None:
        if (content := BROKEN[kind]) is not None:
            request.socket.sendall(content)

    server = scene.server(answer)
    assert server.url in failure(scene.api(server.url), method).message


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # urllib3 forgets this connection
@every_method
def test_answer_with_a_senseless_length_is_an_error(scene: Scene, method: str) -> None:
    api, server = scene.answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1,2\r\n\r\n{}")
    assert server.url in failure(api, method).message
    gc.collect()


@every_method
def test_silent_server_is_given_up(scene: Scene, method: str) -> None:
    over = threading.Event()
    scene.timeout_seconds = 0.5

    def wait(_: Request) -> None:
        over.wait(60)

    server = scene.server(wait)
    error = failure(scene.api(server.url), method)
    over.set()
    assert "did not answer" in error.message
    assert "--request-timeout" in (error.hint or "")


@pytest.mark.parametrize("method", ["get", "post", "delete", "items", "allowed"])
def test_answer_that_trickles_is_given_up(scene: Scene, method: str) -> None:
    over = threading.Event()
    scene.timeout_seconds = 0.5

    def trickle(request: Request) -> None:
        request.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not over.wait(0.1):
            request.socket.sendall(chunk(b" "))

    server = scene.server(trickle)
    error = failure(scene.api(server.url), method)
    over.set()
    assert "did not answer" in error.message


@pytest.mark.parametrize("method", ["get", "post", "delete", "items", "allowed"])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b"null", b'"x"', b"{", b"\xff", b"[" * 9999]
)
def test_answer_that_is_no_object_is_an_error(scene: Scene, method: str, body: bytes) -> None:
    api, server = scene.answering(whole(200, body))
    assert server.url in failure(api, method).message


def test_broken_compression_is_an_error(scene: Scene) -> None:
    api, server = scene.answering(whole(200, b"no gzip", Content_Encoding="gzip"))
    assert server.url in failure(api, "get").message


@every_method
def test_nobody_listens(scene: Scene, method: str) -> None:
    with closed_port() as port:
        error = failure(scene.api(f"http://127.0.0.1:{port}"), method)
    assert f"http://127.0.0.1:{port} cannot be reached: connection refused" == error.message


@every_method
def test_server_without_an_address(
    scene: Scene, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    api = scene.api("https://api.cluster.test:6443")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure(api, method)
    assert error.message == (
        "https://api.cluster.test:6443 cannot be reached: api.cluster.test has no address"
    )


def test_connection_that_is_never_accepted(scene: Scene) -> None:
    scene.timeout_seconds = 0.5
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(place)
        error = failure(scene.api(f"http://127.0.0.1:{place[1]}"), "get")
        for each in waiting:
            each.close()
    assert "cannot be reached: nothing answers there" in error.message


def test_connection_that_the_server_closed_meanwhile_is_made_again(scene: Scene) -> None:
    server = scene.server(lambda _: whole(200, b"{}"))
    api = scene.api(server.url)
    api.get(POD)
    server.cut()
    api.get(POD)
    assert len(server.requests) == 2


def test_get_is_repeated_once_when_its_connection_is_cut_before_the_answer(scene: Scene) -> None:
    api, server = scene.answering(None, whole(200, b"{}"))
    assert api.get(POD) == {}
    assert len(server.requests) == 2


def test_post_is_never_repeated_after_a_cut(scene: Scene) -> None:
    api, server = scene.answering(None, whole(200, b"{}"))
    failure(api, "post")
    assert len(server.requests) == 1


# Streams


def opened(scene: Scene, answer: Answer, **kwargs: Any) -> Any:
    server = scene.server(answer)
    return scene.api(server.url).stream(
        f"{POD}/log", **{"read_timeout_seconds": ENDLESS_SECONDS, **kwargs}
    )


def test_stream_gives_bytes_as_they_come_and_ends_with_the_answer(scene: Scene) -> None:
    on = threading.Event()

    def answer(request: Request) -> bytes:
        request.socket.sendall(chunks(b"one\n", end=False))
        on.wait(30)
        return chunk(b"two") + chunk(b"\n") + b"0\r\n\r\n"

    bits = iter(opened(scene, answer, follow=True))
    assert next(bits) == b"one\n"
    on.set()
    assert b"".join(bits) == b"two\n"


def test_stream_without_chunks_gives_bytes_as_they_come_too(scene: Scene) -> None:
    on = threading.Event()

    def answer(request: Request) -> None:
        request.socket.sendall(b"HTTP/1.1 200 OK\r\n\r\none\n")
        on.wait(30)
        request.socket.sendall(b"two\n")

    bits = iter(opened(scene, answer))
    assert next(bits) == b"one\n"
    on.set()
    assert b"".join(bits) == b"two\n"


def test_empty_stream_just_ends(scene: Scene) -> None:
    assert list(opened(scene, lambda _: whole(200, b""))) == []
    assert list(opened(scene, lambda _: chunks())) == []


def test_stream_that_is_cut_is_an_error_after_what_had_come(scene: Scene) -> None:
    def answer(request: Request) -> None:
        request.socket.sendall(chunks(b"one\n", end=False))

    got: list[bytes] = []
    with pytest.raises(ClusterError, match="broke off"):
        got.extend(opened(scene, answer))
    assert got == [b"one\n"]


def test_stream_that_falls_silent_is_an_error(scene: Scene) -> None:
    over = threading.Event()

    def answer(request: Request) -> None:
        request.socket.sendall(chunks(b"one\n", end=False))
        over.wait(60)

    stream = opened(scene, answer, read_timeout_seconds=0.3)
    with pytest.raises(ClusterError, match=r"did not answer for 0.3 s"):
        list(stream)
    over.set()


@pytest.fixture(params=["http", "https"])
def endless(request: pytest.FixtureRequest, scene: Scene, authority: Authority) -> Any:
    """Give a stream that has said one thing and goes on for ever."""

    def answer(asked: Request) -> bytes:
        return chunks(b"one\n", end=False)

    context = None
    if request.param == "https":
        context = authority.issue("server").server_context()
    server = scene.server(answer, context=context)
    trust: dict[str, Any] = {"certificate-authority": str(authority.certificate)} if context else {}
    return scene.api(server.url, **trust).stream(f"{POD}/log", read_timeout_seconds=ENDLESS_SECONDS)


def test_closing_from_another_thread_ends_a_stream_at_once(endless: Any) -> None:
    bits = iter(endless)
    assert next(bits) == b"one\n"
    closer = threading.Timer(0.2, endless.close)
    closer.start()
    begin = time.monotonic()
    assert list(bits) == []
    assert time.monotonic() - begin < ENDLESS_SECONDS
    closer.join()


def test_closing_from_a_signal_handler_ends_a_stream_at_once(endless: Any) -> None:
    bits = iter(endless)
    assert next(bits) == b"one\n"
    before = signal.signal(signal.SIGALRM, lambda *_: endless.close())
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    begin = time.monotonic()
    try:
        assert list(bits) == []
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begin < ENDLESS_SECONDS


def test_stream_that_was_closed_gives_nothing(endless: Any) -> None:
    endless.close()
    endless.close()
    assert list(endless) == []


def test_streams_leave_no_descriptors_behind(scene: Scene) -> None:
    server = scene.server(lambda _: chunks(b"x", end=False))
    api = scene.api(server.url)
    for turn in range(20):
        stream = api.stream(f"{POD}/log", read_timeout_seconds=5.0)
        if turn % 2:
            next(iter(stream))
        stream.close()
    api.close()
    open_now = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is(fd)]
    ours = [name for name in open_now if name.startswith("socket:")]
    assert len(ours) < 25, "20 are the server's own ends"


def _is(descriptor: str) -> bool:
    return os.path.exists(f"/proc/self/fd/{descriptor}")


# Watches


def event(of: str, **item: Any) -> bytes:
    return json.dumps({"type": of, "object": item}).encode() + b"\n"


def test_watch_gives_events_however_they_are_cut(scene: Scene) -> None:
    lines = event("ADDED", a="x\u2028y") + event("MODIFIED", b=1) + b"\n" + event("DELETED", c=2)
    server = scene.server(lambda _: chunks(*(lines[n : n + 7] for n in range(0, len(lines), 7))))
    watch = scene.api(server.url).watch(
        PODS, read_timeout_seconds=ENDLESS_SECONDS, resourceVersion="5"
    )
    assert [(each["type"], each["object"]) for each in watch] == [
        ("ADDED", {"a": "x\u2028y"}),
        ("MODIFIED", {"b": 1}),
        ("DELETED", {"c": 2}),
    ]
    assert parse_qs(urlsplit(server.requests[0].target).query) == {
        "watch": ["true"],
        "resourceVersion": ["5"],
    }


def test_error_event_ends_a_watch_as_an_api_error(scene: Scene) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    server = scene.server(lambda _: chunks(event("ADDED", a=1), event("ERROR", **gone)))
    got: list[Any] = []
    with pytest.raises(ApiError, match="too old") as caught:
        got.extend(scene.api(server.url).watch(PODS, read_timeout_seconds=ENDLESS_SECONDS))
    assert (caught.value.status, len(got)) == (410, 1)


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b'{"type": "ADDED"}\n', b"<html>\n"])
def test_line_that_is_no_event_is_an_error(scene: Scene, line: bytes) -> None:
    server = scene.server(lambda _: chunks(line))
    with pytest.raises(ClusterError, match="gave no event"):
        list(scene.api(server.url).watch(PODS, read_timeout_seconds=ENDLESS_SECONDS))


def test_watch_is_closed_from_another_thread(scene: Scene) -> None:
    server = scene.server(lambda _: chunks(event("ADDED", a=1), end=False))
    watch = scene.api(server.url).watch(PODS)
    events = iter(watch)
    next(events)
    closer = threading.Timer(0.2, watch.close)
    closer.start()
    assert list(events) == []
    closer.join()
