"""Starts podtrace as `python -m podtrace`, and for the launcher of a checkout as a plain file."""

import sys
from pathlib import Path

if not __package__:
    # Run by path: Python put this folder first on the path, where its parent belongs.
    checkout = Path(__file__).resolve().parents[2]
    sys.path[0] = str(checkout / "plugin")
    sys.argv[0] = str(checkout / "kubectl-podtrace")

from podtrace.cli import main

if __name__ == "__main__":
    sys.exit(main())
