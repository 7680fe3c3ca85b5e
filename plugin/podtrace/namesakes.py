"""Other programs on PATH that kubectl could run for `kubectl podtrace` instead of this one.

kubectl takes the first `kubectl-NAME` on PATH and says nothing of the others. krew's central index
has another plugin called podtrace, and an older installation of this one does as well.
https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

_KREW_STORE = "/store/podtrace/"


def this_program() -> str:
    """Return the file that was started, as far as Python knows."""
    return sys.executable if getattr(sys, "frozen", False) else sys.argv[0]


def warning(program: str, own: str, environment: Mapping[str, str]) -> str | None:
    """Return a line about a program of the same name, or None where there is no other one.

    Args:
        program: the file name to look for, which is that of this program.
        own: the file that was started.
        environment: its PATH is searched.
    """
    found = _on_path(program, environment)
    mine = os.path.realpath(own)
    others = [path for path in found if os.path.realpath(path) != mine]
    if not others:
        return None
    first = others[0]
    if found[0] == first:
        text = f"`kubectl podtrace` runs {first}, and not this program, {own}"
    else:
        text = f"there is another kubectl plugin of this name, {first}, and PATH has this one first"
    return f"warning: {text}; {_advice(first)}"


def _advice(path: str) -> str:
    if _KREW_STORE in os.path.realpath(path):
        return "krew installed it: remove it with `kubectl krew uninstall podtrace`"
    return "remove it, or put the folder of the one that you want first on PATH"


def _on_path(program: str, environment: Mapping[str, str]) -> Sequence[str]:
    """Return the programs of that name in the order in which kubectl looks."""
    folders = environment.get("PATH", "").split(os.pathsep)
    paths = [os.path.join(folder, program) for folder in folders if folder]
    return [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)]
