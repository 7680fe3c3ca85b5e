"""Starts podtrace as `python -m podtrace`, and for the launcher of a checkout as a plain file."""

import sys

OLDEST = (3, 11)


def _is_missing(what: str) -> str:
    """Return the error for a Python that podtrace cannot run with, in words."""
    hint = "install podtrace again with its dependencies, for example by pip"
    if not __package__:
        hint = f"run `make deps` in {sys.path[0].rpartition('/')[0]} once"
    return f"error: {what} ({sys.executable})\nhint: {hint}"


try:
    from pathlib import Path

    if not __package__:
        # Run by path: Python put this folder first on the path, where its parent belongs.
        checkout = Path(__file__).resolve().parents[2]
        sys.path[0] = str(checkout / "plugin")
        sys.argv[0] = str(checkout / "kubectl-podtrace")

    if tuple(sys.version_info) < OLDEST:
        version = ".".join(map(str, OLDEST))
        sys.exit(_is_missing(f"this Python is older than {version}, which podtrace needs"))
    try:
        from podtrace.cli import main
    except ModuleNotFoundError as error:
        sys.exit(_is_missing(f"this Python has no module {error.name}, which podtrace needs"))
except KeyboardInterrupt:
    # Ctrl-C before the program had begun: there is nothing to clear up, and nothing to say.
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
