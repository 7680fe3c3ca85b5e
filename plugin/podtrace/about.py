"""What this program says of itself: its versions. Apart from what it does, so that it is cheap."""

from __future__ import annotations

import platform

from podtrace.wire import schema
from podtrace.wire.version import VERSION


def version_text() -> str:
    """Return the versions of this program, of the stream and of Python."""
    stream = ".".join(map(str, schema.SCHEMA))
    return f"podtrace {VERSION} (stream schema {stream}, Python {platform.python_version()})"
