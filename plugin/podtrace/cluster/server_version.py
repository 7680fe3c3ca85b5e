"""The version of an API server, as it tells it."""

from __future__ import annotations

import re

from podtrace.cluster.objects import Fields


def server_version(answer: Fields) -> tuple[int, int] | None:
    """Return major and minor of an answer to `/version`; some providers write the minor `34+`."""
    major, minor = (re.match(r"\d{1,4}", str(answer.get(key) or "")) for key in ("major", "minor"))
    return (int(major.group()), int(minor.group())) if major and minor else None
