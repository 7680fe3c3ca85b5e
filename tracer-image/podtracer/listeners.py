"""Whether anybody reads the tracer's log: a pod's output is followed by opening its log file.

The kubelet opens the log for every `kubectl logs`, so with the node's processes in sight the reader
is visible as a descriptor open for reading. Whoever writes the log, the container runtime, does not
count, and neither does what runs in a pod: collectors of logs read everybody's.

A workstation that sleeps leaves its descriptor behind for a quarter of an hour. So a reader has to
open the log again and again, which the plugin does; where that cannot be seen, the descriptor has
to do.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from podtracer.log_opens import LogOpens

SECOND_NS = 1_000_000_000
LOOK_NS = 5 * SECOND_NS
FIRST_NS = 30 * SECOND_NS
"""How long the first reader may take."""
SCRAPED_NS = 120 * SECOND_NS
"""How long somebody who has read the metrics counts as a listener."""
_POD = re.compile(r"pod[0-9a-f]{8}[0-9a-f_-]{24,28}")


class Listeners:
    """Looks for readers now and then; times are monotonic nanoseconds.

    `scraped_ns` tells when somebody last read the metrics, who is as good as a reader of the log.
    """

    def __init__(
        self,
        log: re.Pattern[str] | None,
        patience_seconds: float,
        proc: str = "/proc",
        scraped_ns: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._log = log
        self._patience_ns = int(patience_seconds * SECOND_NS)
        self._proc = proc
        self._scraped_ns = scraped_ns
        self._reader: int | None = None
        self._heard_ns: int | None = None
        self._began_ns = 0
        self._next_ns = 0
        self._opens: LogOpens | None = None
        self.reason: str | None = None

    @property
    def possible(self) -> bool:
        """Whether a reader would be seen; `reason` says why not."""
        return self.reason is None

    def begin(self, now_ns: int) -> None:
        """Start to wait for readers."""
        self._began_ns = now_ns
        self._next_ns = now_ns + LOOK_NS

    def unheard(self, now_ns: int) -> bool:
        """Whether nobody has read for too long; looks no more often than every five seconds."""
        if not self.possible or now_ns < self._next_ns:
            return False
        self._next_ns = now_ns + LOOK_NS
        scraped_ns = self._scraped_ns()
        if scraped_ns is not None and now_ns - scraped_ns < SCRAPED_NS:
            return False
        was_opened = self._opens is None or self._opens.seen()
        if was_opened and self._is_read():
            self._heard_ns = now_ns
            return False
        if self._heard_ns is None:
            return now_ns - self._began_ns >= max(FIRST_NS, self._patience_ns)
        return now_ns - self._heard_ns >= self._patience_ns

    def check(self) -> None:
        """Find out whether readers would be seen: then whoever writes the log is seen too."""
        self.reason = self._obstacle()

    def _obstacle(self) -> str | None:
        if self._log is None:
            return "the tracer does not know which pod it is"
        for pid in self._processes():
            for path, mode in self._open_logs(pid):
                if mode == os.O_WRONLY:
                    self._watch(pid, path)
                    return None
        return "no process of the node is seen to have the tracer's log open for writing"

    def _is_read(self) -> bool:
        if self._reader is not None and self._reads(self._reader):
            return True
        self._reader = next((pid for pid in self._processes() if self._reads(pid)), None)
        return self._reader is not None

    def _reads(self, pid: int) -> bool:
        return self._modes(pid) == {os.O_RDONLY} and not self._is_in_another_pod(pid)

    def _processes(self) -> Iterator[int]:
        own = os.getpid()
        for entry in os.listdir(self._proc):
            if entry.isdigit() and int(entry) != own:
                yield int(entry)

    def _watch(self, writer: int, path: str) -> None:
        """Watch the file where its writer sees it, whose namespace of mounts may be another."""
        with contextlib.suppress(OSError):
            self._opens = LogOpens(f"{self._proc}/{writer}/root{path}")

    def _modes(self, pid: int) -> set[int]:
        """How a process has the log open."""
        return {mode for _, mode in self._open_logs(pid)}

    def _open_logs(self, pid: int) -> Iterator[tuple[str, int]]:
        """Paths of the log, with O_RDONLY, or O_WRONLY which stands for O_RDWR too."""
        assert self._log is not None
        folder = f"{self._proc}/{pid}/fd"
        try:
            descriptors = os.listdir(folder)
        except OSError:
            return
        for descriptor in descriptors:
            try:
                path = os.readlink(f"{folder}/{descriptor}")
            except OSError:
                continue
            if path.startswith("/") and self._log.search(path):
                yield path, self._mode(pid, descriptor)

    def _mode(self, pid: int, descriptor: str) -> int:
        """Source: proc(5), fdinfo: flags in octal."""
        try:
            text = Path(self._proc, str(pid), "fdinfo", descriptor).read_text()
        except OSError:
            return os.O_WRONLY
        flags = next(line.split()[1] for line in text.splitlines() if line.startswith("flags:"))
        return os.O_WRONLY if int(flags, 8) & os.O_ACCMODE else os.O_RDONLY

    def _is_in_another_pod(self, pid: int) -> bool:
        """Whether a process runs in a pod that is not around us too, as a nested node's is."""
        return bool(self._pods(str(pid)) - self._pods("self"))

    def _pods(self, process: str) -> set[str]:
        try:
            text = Path(self._proc, process, "cgroup").read_text()
        except OSError:
            return set()
        return set(_POD.findall(text))
