"""A sign of life to the tracer: its log is asked for anew every few seconds.

The tracer sees from the node who opens its log, and ends when nobody does any more. The connection
that follows the log is no such sign: the one of a workstation that sleeps, or has lost its network,
stays open at the API server until TCP gives it up, which takes a quarter of an hour.
"""

from __future__ import annotations

import threading

from podtrace.cluster.interface import ApiLike
from podtrace.cluster.manifest import CONTAINER
from podtrace.cluster.settings import UNHEARD_SECONDS
from podtrace.errors import ClusterError

PULSE_SECONDS = UNHEARD_SECONDS / 6
_ANSWER_SECONDS = 5.0


class LogPulse:
    """Asks for one byte of a log, again and again, in a thread of its own.

    Args:
        api: the cluster.
        path: of the log.
    """

    def __init__(self, api: ApiLike, path: str) -> None:
        self._api = api
        self._path = path
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """End; a question that is on its way is not waited for."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(PULSE_SECONDS):
            try:
                answer = self._api.stream(
                    self._path,
                    read_timeout_seconds=_ANSWER_SECONDS,
                    container=CONTAINER,
                    tailLines=1,
                    limitBytes=1,
                )
            except ClusterError:
                continue  # whoever follows the log meets the same trouble, and tells it
            answer.close()
