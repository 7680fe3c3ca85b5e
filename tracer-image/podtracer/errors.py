"""The one error of the tracer: what is in the way, in words that reach the user's terminal."""

from __future__ import annotations

import os
import traceback


class TracerError(Exception):
    """Tracing cannot start or go on; becomes the stream's `error` line."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def as_fields(self) -> dict[str, str]:
        """Return the fields of the error line."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


def defect(error: Exception) -> TracerError:
    """Say what would be a traceback, in words that fit the stream."""
    if isinstance(error, TracerError):
        return error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    return TracerError(
        "internal",
        f"the tracer failed at {place}: {type(error).__name__}: {error}",
        "Report this with the kernel's version and the command line.",
    )
