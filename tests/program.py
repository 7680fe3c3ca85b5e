"""The program as a process of its own, with a tracer that is played (fake_tracer.py).

The tracer's command line, the signals and the pipes are real; only the Python that would run the
tracer is replaced.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

from factories import Line, Tick, encoded, end, hello, process, series, stream, tick

TESTS = Path(__file__).parent
FAKE = TESTS / "fake_tracer.py"
# Starting the tracer takes root; whether a user has it is tested elsewhere.
BOOT = (
    "import sys; from podtrace.local import installation; "
    "installation.has_rights = lambda: True; "
    "from podtrace.cli import main; sys.exit(main())"
)
HEALTHY = (tick(process(), series("read", count=3, duration_ns=2_000)), tick())
CRITICAL = (
    tick(series("connect_attempt", count=50, peer="10.0.0.1:80")),
    tick(series("connect", 0, errors={"ECONNREFUSED": 50}, peer="10.0.0.1:80")),
)


class Program:
    """Runs podtrace with a played tracer and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SUDO_")},
            "PYTHONPATH": str(TESTS.parent / "plugin"),
            "PODTRACE_PYTHON": str(FAKE),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "FAKE_STREAM": str(folder / "stream"),
            "FAKE_LOG": str(self.log),
            "TERM": "xterm",
        }
        self.play(*HEALTHY)

    def play(self, *ticks: Tick, last: Line | None = None, **settings: str) -> None:
        """Choose what the tracer sends and does then."""
        lines = stream(hello(), *ticks, *([last] if last is not None else []))
        if settings.get("then", "exit") == "exit" and last is None:
            lines = stream(hello(), *ticks, end())
        (self.folder / "stream").write_bytes(encoded(lines))
        for name, value in settings.items():
            self.environment[f"FAKE_{name.upper()}"] = value

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        settings: dict[str, object] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            [sys.executable, "-c", BOOT, *arguments], env=self.environment, text=True, **settings
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def wait_for_tracer(self, text: str = "start") -> int:
        """Wait until the tracer's log has the text; return the tracer's process id."""
        for _ in range(500):
            if self.log.exists() and text in self.log.read_text():
                return int(self.log.read_text().split()[1])
            time.sleep(0.02)
        raise AssertionError(f"the tracer never wrote {text}")

    def tracer_is_gone(self) -> bool:
        pid = self.wait_for_tracer()
        for _ in range(100):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.02)
        return False


def on_terminal(program: Program, *arguments: str) -> tuple[int, str]:
    """Run on a pseudo terminal; return the exit code and all that was written to it."""
    leader, follower = pty.openpty()
    run = program.start(*arguments, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    written = b""
    try:
        while chunk := os.read(leader, 65536):
            written += chunk
    except OSError:
        pass  # how Linux says that the other end was closed
    os.close(leader)
    return run.wait(timeout=20), written.decode()
