"""Lines to bytes and back, one line at a time, whatever the bytes are.

The reader may get anything: a log that was cut, rotated or mixed with another program's output. So
the decoder never raises; what it cannot read it drops and counts in `damage`, by reason.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

from podtrace.wire.fields import fault_of
from podtrace.wire.schema import MAX_LINE_BYTES


class LineTooLongError(ValueError):
    """A line would exceed MAX_LINE_BYTES; its sender has to split it."""

    def __init__(self, size: int) -> None:
        super().__init__(f"line of {size} bytes exceeds {MAX_LINE_BYTES}")
        self.size = size


_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def encode(line: dict[str, Any]) -> bytes:
    """Return the line as ASCII JSON with its newline.

    Raises:
        LineTooLongError: The line would be longer than MAX_LINE_BYTES.
        ValueError: A number is not finite.
    """
    encoded = _encoder.encode(line).encode("ascii") + b"\n"
    if len(encoded) > MAX_LINE_BYTES:
        raise LineTooLongError(len(encoded))
    return encoded


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


class Decoder:
    """Cuts chunks of bytes into lines and gives the well-formed ones, checked field by field.

    Lines end at the newline byte only: other line separators may stand inside a file name. Memory
    is bounded by one line. `lines` counts what was given out, `damage` what was dropped, by reason:
    too_long, not_utf8, not_json, too_deep, not_object, no_kind, no_seq, no_time, no_tick,
    bad_field.
    """

    def __init__(self) -> None:
        self.damage: Counter[str] = Counter()
        self.lines = 0
        self._rest = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """Return the lines that the chunk completes."""
        *whole, rest = chunk.split(b"\n")
        decoded = []
        for piece in whole:
            raw, self._rest = self._rest + piece, b""
            if self._skipping:
                self._skipping = False
            elif (line := self._decode(raw)) is not None:
                decoded.append(line)
        if not self._skipping:
            self._rest += rest
            if len(self._rest) >= MAX_LINE_BYTES:
                self.damage["too_long"] += 1
                self._skipping = True
                self._rest = b""
        return decoded

    def flush(self) -> list[dict[str, Any]]:
        """Return the last line if it lacks only its newline; call once, at the end of input."""
        raw, self._rest = self._rest, b""
        self._skipping = False
        line = self._decode(raw) if raw else None
        return [] if line is None else [line]

    def _decode(self, raw: bytes) -> dict[str, Any] | None:
        if len(raw) >= MAX_LINE_BYTES:
            self.damage["too_long"] += 1
            return None
        try:
            line = _decoder.decode(raw.decode("utf-8"))
        except UnicodeDecodeError:
            self.damage["not_utf8"] += 1
            return None
        except RecursionError:
            self.damage["too_deep"] += 1
            return None
        except ValueError:
            self.damage["not_json"] += 1
            return None
        if not isinstance(line, dict):
            self.damage["not_object"] += 1
            return None
        fault = fault_of(line)
        if fault is not None:
            self.damage[fault] += 1
            return None
        self.lines += 1
        return line
