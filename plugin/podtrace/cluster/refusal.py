"""What an answer that is an error means, in words.

The server's own sentence is the best there is and stays; what it does not say is added: which
server, which request, and what to do next.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from podtrace.errors import ApiError

LONGEST_EXCERPT = 200


def api_error(status: int, body: bytes, *, method: str, path: str, server: str) -> ApiError:
    """Return the error for an answer of status 300 or more.

    Args:
        status: the HTTP status.
        body: the answer as it came; a Status object, or whatever a proxy in between says.
        method: the HTTP method.
        path: the path that was asked for.
        server: the URL of the server.
    """
    answer = _status_object(body)
    is_kubernetes = bool(answer)
    reason = str(answer.get("reason") or "")
    sentence = str(answer.get("message") or "").strip()
    if not answer:
        excerpt = " ".join(body.decode("utf-8", "replace").split())[:LONGEST_EXCERPT]
        answer = {"message": excerpt}
    if not sentence:
        sentence = f"{method} {server}{path}: HTTP {status}{_phrase(status)}"
        if answer.get("message"):
            sentence += f": {answer['message']}"
    message = _message(status, sentence, server)
    return ApiError(status, reason, message, answer, _hint(status, is_kubernetes))


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _message(status: int, sentence: str, server: str) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return f"{server} does not accept the credentials: {sentence}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"{server} has too much to do: {sentence}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"{server} failed to answer: {sentence}"
    return sentence


def _hint(status: int, is_kubernetes: bool) -> str | None:
    if status == HTTPStatus.UNAUTHORIZED:
        return "log in to the cluster again; to see who you are: kubectl auth whoami"
    if status == HTTPStatus.FORBIDDEN:
        return "to see what you may do: kubectl auth can-i --list"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "try again in a moment"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "try again; to see how the server is: kubectl get --raw /readyz?verbose"
    if not is_kubernetes:
        return "check the server's address: kubectl config view --minify"
    return None
