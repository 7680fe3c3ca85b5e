"""The one error of the tracer: what is in the way, in words that reach the user's terminal."""

from __future__ import annotations


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
