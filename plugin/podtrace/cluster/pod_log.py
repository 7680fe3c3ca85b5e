"""One tracer's log, followed through cuts, rotations and restarts of what lies in between.

The API serves a pod's current log file only, and from whole seconds on. So a cut is mended by
reading from a little before the last line that came, and then, should a line be missing, all that
the file has; the cursor drops what was read before. What is missing after that was rotated away:
the reader of the stream sees it as a gap in `seq`, and counts it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator

from podtrace.cluster import obstacles
from podtrace.cluster.interface import ApiLike, ByteStream
from podtrace.cluster.log_cursor import LogCursor, MissingLinesError
from podtrace.cluster.log_pulse import LogPulse
from podtrace.cluster.manifest import CONTAINER
from podtrace.cluster.paths import object_path
from podtrace.cluster.pod_status import ending_of
from podtrace.cluster.settings import UNHEARD_SECONDS
from podtrace.cluster.tracer_pod import TracerPod
from podtrace.errors import ApiError, ClusterError, PodtraceError, StreamError

READ_SECONDS = 20.0
"""A tracer says something every second: a connection that is silent for so long is dead."""
RESUME_SECONDS = 90.0
"""A tracer that nobody could read for so long has ended itself long ago."""
TOLD_SECONDS = 2.0
_MARGIN_SECONDS = 10
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 3.0
_SLICE_SECONDS = 0.1


class PodLog:
    """The stream of one tracer, in batches of whole lines, each line once.

    Args:
        api: the cluster.
        tracer: the tracer's pod, which has been found.
        tell: shows the user a line.
        is_leaving: tells that nobody wants the stream any more.
    """

    def __init__(
        self,
        api: ApiLike,
        tracer: TracerPod,
        tell: Callable[[str], None],
        is_leaving: Callable[[], bool],
    ) -> None:
        self.cursor = LogCursor()
        self.trouble: PodtraceError | None = None
        """Why the stream ended before its last line."""
        self._api = api
        self._tracer = tracer
        self._tell = tell
        self._is_leaving = is_leaving
        self._stream: ByteStream | None = None
        self._pulse: LogPulse | None = None
        self._heard = (time.monotonic(), time.time())
        self._has_told = False

    def close(self) -> None:
        """Give no more signs of life, and wake who reads; from any thread.

        It ends for good where `is_leaving` has turned true before.
        """
        pulse, stream = self._pulse, self._stream
        if pulse is not None:
            pulse.stop()
        if stream is not None:
            stream.close()

    def open(self) -> ByteStream:
        """Begin to follow, from the log's beginning.

        The answer comes with the log's first line, which may be late: signs of life come before.

        Raises:
            ClusterError: the log cannot be read, or not yet.
        """
        if self._pulse is None:
            self._pulse = LogPulse(self._api, self._path())
            self._pulse.start()
        return self._open(follow=True, whole=True)

    def batches(self, stream: ByteStream) -> Iterator[bytes]:
        """Yield the rest of the stream, beginning with what was opened."""
        try:
            yield from self._follow(stream)
        finally:
            self.close()

    def _follow(self, stream: ByteStream) -> Iterator[bytes]:
        following: ByteStream | None = stream
        self._note_heard()
        while following is not None:
            failure: ClusterError | None = None
            try:
                yield from self._read(following, is_following=True)
            except MissingLinesError:
                following.close()
                following = self._reopen(None, whole=True)
                continue
            except ClusterError as error:
                failure = error
            following.close()
            if self.cursor.is_complete or self._is_leaving():
                return
            if (yield from self._end_of_pod()):
                return
            following = self._reopen(failure, whole=False)

    def _read(self, stream: ByteStream, *, is_following: bool) -> Iterator[bytes]:
        for chunk in stream:
            batch = self.cursor.take(chunk)
            # Old lines and what is no line are no sign that the tracer still works.
            if batch:
                self._note_heard()
                if self._has_told:
                    self._has_told = False
                    self._tell(f"the log of the tracer on node {self._tracer.plan.node} is back")
                yield batch
            elif is_following and self._awake_seconds() > RESUME_SECONDS:
                return
            if self.cursor.is_complete or self._is_leaving():
                return

    def _note_heard(self) -> None:
        self._heard = (time.monotonic(), time.time())

    def _path(self) -> str:
        tracer = self._tracer
        namespace, name = tracer.settings.namespace, tracer.pod_name or ""
        return object_path("pods", namespace=namespace, name=name, subresource="log")

    def _open(self, *, follow: bool, whole: bool) -> ByteStream:
        since = None if whole else math.ceil(self._silent_seconds()) + _MARGIN_SECONDS
        self.cursor.restart(is_partial=not whole)
        self._stream = self._api.stream(
            self._path(),
            read_timeout_seconds=READ_SECONDS,
            container=CONTAINER,
            follow=follow or None,
            sinceSeconds=since,
        )
        if self._is_leaving():
            self._stream.close()
        return self._stream

    def _silent_seconds(self) -> float:
        """Return for how long nothing came, also over a suspend of this machine."""
        return max(self._awake_seconds(), time.time() - self._heard[1])

    def _awake_seconds(self) -> float:
        """Return for how long nothing came while this machine was awake."""
        return time.monotonic() - self._heard[0]

    def _reopen(self, failure: ClusterError | None, *, whole: bool) -> ByteStream | None:
        """Follow again from where the cut was, or return None and say why that cannot be."""
        pause = _FIRST_PAUSE_SECONDS
        while not self._is_leaving():
            try:
                return self._open(follow=True, whole=whole)
            except ApiError as error:
                failure = error
                if error.status == 404:
                    self.trouble = self._gone()
                    return None
            except ClusterError as error:
                failure = error
            if self._awake_seconds() > RESUME_SECONDS:
                self.trouble = self._silence(failure)
                return None
            if self._awake_seconds() > TOLD_SECONDS and not self._has_told:
                self._has_told = True
                self._tell(
                    f"the log of the tracer on node {self._tracer.plan.node} broke off, trying "
                    f"again: {failure.message}"
                )
            self._wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return None

    def _end_of_pod(self) -> Generator[bytes, None, bool]:
        """If the tracer ended, yield what its log still has, and return that it did."""
        tracer = self._tracer
        try:
            pod = tracer.find()
        except ClusterError:
            return False
        ending = None if pod is None else ending_of(pod)
        if pod is not None and ending is None:
            if self._awake_seconds() > RESUME_SECONDS:
                self.trouble = self._silence(None)
                return True
            self._wait(_FIRST_PAUSE_SECONDS)
            return False
        if ending is None:
            self.trouble = self._gone()
            return True
        yield from self._last_read()
        if self.cursor.is_complete or self._is_leaving():
            return True
        lines, where, node = self.cursor.other_lines, tracer.where, tracer.plan.node
        if self.cursor.last_seq == 0:
            self.trouble = obstacles.early_end_error(ending, lines, where, node, tracer.settings)
        else:
            self.trouble = obstacles.end_error(ending, lines, where, node)
        return True

    def _last_read(self) -> Iterator[bytes]:
        """Yield what a follow that ended with its container did not bring."""
        for whole in (False, True):
            try:
                stream = self._open(follow=False, whole=whole)
                try:
                    yield from self._read(stream, is_following=False)
                finally:
                    stream.close()
                return
            except MissingLinesError:
                continue
            except ClusterError:
                return

    def _gone(self) -> PodtraceError:
        tracer = self._tracer
        where, node = tracer.where, tracer.plan.node
        if self._silent_seconds() > UNHEARD_SECONDS:
            return StreamError(
                f"the tracer pod {where} on node {node} is gone: it ends when nobody reads its "
                f"log for {UNHEARD_SECONDS} s",
                "run the same command again; what arrived until then is all there is",
            )
        return obstacles.end_error(tracer.job_failure(), self.cursor.other_lines, where, node)

    def _silence(self, failure: ClusterError | None) -> PodtraceError:
        tracer = self._tracer
        why = tracer.node_trouble() or failure
        seconds = round(self._silent_seconds())
        return StreamError(
            f"the tracer in pod {tracer.where} on node {tracer.plan.node} was not heard for "
            f"{seconds} s",
            "run the same command again; what arrived until then is all there is",
            () if why is None else (why.message,),
        )

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_leaving() and (rest := until - time.monotonic()) > 0:
            time.sleep(min(rest, _SLICE_SECONDS))
