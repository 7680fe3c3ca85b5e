"""Lines about a run itself: shown where a person sees them and no program reads them."""

from __future__ import annotations

import sys
from contextlib import suppress

from podtrace.report.escape import printable


def write_message(text: str) -> None:
    """Write one line on standard error, made safe for a terminal; a closed one is no fault."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{printable(text)}\n")
            sys.stderr.flush()
