"""Starts podtrace as `python -m podtrace`, and for the launcher of a checkout as a plain file."""

import sys

try:
    from pathlib import Path

    if not __package__:
        # Run by path: Python put this folder first on the path, where its parent belongs.
        checkout = Path(__file__).resolve().parents[2]
        sys.path[0] = str(checkout / "plugin")
        sys.argv[0] = str(checkout / "kubectl-podtrace")

    from podtrace.cli import main
except KeyboardInterrupt:
    # Ctrl-C before the program had begun: there is nothing to clear up, and nothing to say.
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
