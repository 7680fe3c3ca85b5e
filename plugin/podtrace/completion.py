"""Completion in kubectl's shells: what `kubectl podtrace` offers while it is typed.

kubectl runs `kubectl_complete-podtrace` from PATH with the words so far, the unfinished one last,
and expects what its own commands say (cobra): a line `VALUE<TAB>DESCRIPTION` each, and at the end
`:N` with what the shell has to do.
https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from click.shell_completion import CompletionItem, ShellComplete

from podtrace.cli import PROGRAM, root_command
from podtrace.output import Output, OutputClosed
from podtrace.report.escape import printable

_NO_SPACE = 2
_NO_FILES = 4
_DIRECTORIES_ALONE = 16


def main(argv: Sequence[str] | None = None) -> int:
    """Print what can stand in place of the last word."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        Output(sys.stdout).write_with(lambda stream: stream.write(answer(words)))
    except OutputClosed:
        return 0
    return 0


def answer(words: Sequence[str]) -> str:
    """Return the answer for kubectl; on any failure, that there is nothing to offer.

    Args:
        words: those behind `kubectl podtrace`; the last one is unfinished and may be empty.
    """
    *before, last = words or [""]
    try:
        items = _items(before, last)
    except Exception:
        # The user is typing, and wants no error now.
        items = []
    directive = _NO_FILES
    # Behind -- stands a command of this machine.
    if "--" in before or any(item.type == "file" for item in items):
        directive = 0
    elif any(item.type == "dir" for item in items):
        directive = _DIRECTORIES_ALONE
    values = [item for item in items if item.type == "plain"]
    if values and all(str(item.value).endswith("/") for item in values):
        directive |= _NO_SPACE
    lines = [
        "\t".join(printable(text) for text in (str(item.value), item.help or "") if text)
        for item in values
    ]
    return "".join(f"{line}\n" for line in [*lines, f":{directive}"])


def _items(before: Sequence[str], last: str) -> Sequence[CompletionItem]:
    if "--" in before:
        return []
    return ShellComplete(root_command(), {}, PROGRAM, "").get_completions(list(before), last)
