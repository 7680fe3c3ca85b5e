"""The parts of a request that are text: its headers and its query string, and when to come back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from podtrace.cluster.credentials import Credential
from podtrace.cluster.interface import Query
from podtrace.cluster.login import Impersonation
from podtrace.wire.version import VERSION

if TYPE_CHECKING:
    from urllib3 import HTTPHeaderDict


def request_headers(credential: Credential, impersonation: Impersonation) -> HTTPHeaderDict:
    """Return the headers of a request; those of impersonation may stand several times."""
    from urllib3 import HTTPHeaderDict

    headers = HTTPHeaderDict({"Accept": "application/json", "Content-Type": "application/json"})
    headers["User-Agent"] = f"kubectl-podtrace/{VERSION}"
    if credential.authorization:
        headers["Authorization"] = credential.authorization
    if impersonation.user:
        headers["Impersonate-User"] = _utf8(impersonation.user)
    if impersonation.uid:
        headers["Impersonate-Uid"] = _utf8(impersonation.uid)
    for group in impersonation.groups:
        headers.add("Impersonate-Group", _utf8(group))
    for key, values in impersonation.extra:
        for value in values:
            headers.add(f"Impersonate-Extra-{quote(key, safe='')}", _utf8(value))
    return headers


def query_string(query: Mapping[str, Query]) -> str:
    """Return a query as it stands behind a path; what is None is left out."""
    words = {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in query.items()
        if value is not None
    }
    return f"?{urlencode(words)}" if words else ""


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how long a server wants to be left alone, None where it does not say."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _utf8(text: str) -> str:
    """Return a text that goes out as UTF-8 where headers are sent as Latin-1."""
    return text.encode().decode("latin-1")
