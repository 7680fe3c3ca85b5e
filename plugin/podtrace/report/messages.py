"""Lines about a run itself: shown where a person sees them and no program reads them."""

from __future__ import annotations

import sys
from contextlib import suppress

from podtrace.report.escape import printable

ENDING = "ending; Ctrl-C again leaves at once"


def write_ending() -> None:
    """Say on a terminal that the first Ctrl-C was heard: a traced command may take its time."""
    if sys.stderr is not None and sys.stderr.isatty():
        write_message(ENDING)


def write_message(text: str) -> None:
    """Write one line on standard error, made safe for a terminal; a closed one is no fault."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{printable(text)}\n")
            sys.stderr.flush()
