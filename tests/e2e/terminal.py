"""A real terminal with a shell in it, by tmux: typed into, and looked at."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from collections.abc import Mapping

PATIENCE_SECONDS = 120.0
PROMPT = "ready> "


class Terminal:
    """A context manager; the shell has the environment that it is given."""

    def __init__(self, environment: Mapping[str, str], columns: int = 100, lines: int = 40) -> None:
        self._socket = f"podtrace-test-{secrets.token_hex(4)}"
        self._environment = {**environment, "LC_ALL": "C.UTF-8", "HISTFILE": ""}
        # A terminal that this one is in is not to be found out.
        for name in ("TMUX", "TMUX_PANE", "NO_COLOR", "COLUMNS", "LINES"):
            self._environment.pop(name, None)
        self._size = ("-x", str(columns), "-y", str(lines))

    def __enter__(self) -> Terminal:
        shell = f"exec env PS1='{PROMPT}' bash --noprofile --norc"
        self._tmux("-f", os.devnull, "new-session", "-d", *self._size, shell)
        try:
            self.wait_for(re.escape(PROMPT.rstrip()))
        except BaseException:
            self._tmux("kill-server")
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press one key, such as `C-c`."""
        self._tmux("send-keys", key)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self) -> str:
        """Return what is shown now."""
        return self._tmux("capture-pane", "-p")

    def all(self) -> str:
        """Return what is shown now and what has scrolled away, long lines as they were written."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-")

    def is_redrawn(self) -> bool:
        """Whether a program has taken the whole screen."""
        return self._tmux("display-message", "-p", "#{alternate_on}").strip() == "1"

    def has_cursor(self) -> bool:
        """Whether the cursor is shown."""
        return self._tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def wait_for(self, pattern: str, seconds: float = PATIENCE_SECONDS) -> re.Match[str]:
        """Wait until the screen, or what scrolled away of it, has a pattern; return its match."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.screen() if self.is_redrawn() else self.all()
            if found := re.search(pattern, text, re.MULTILINE):
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"no {pattern!r} within {seconds} s:\n{text}")
            time.sleep(0.1)

    def _tmux(self, *arguments: str) -> str:
        command = ("tmux", "-L", self._socket, *arguments)
        done = subprocess.run(
            command, capture_output=True, text=True, env=self._environment, timeout=60
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout
