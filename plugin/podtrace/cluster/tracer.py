"""One tracer from its creation to its removal, in a thread of its own.

Whatever it has to say goes into one queue: batches of lines, texts for the user, and None at the
very end. Who stops or leaves does so from other threads, because this one waits for bytes.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable

from podtrace.cluster import obstacles
from podtrace.cluster.interface import ApiLike, ByteStream
from podtrace.cluster.manifest import TracerPlan
from podtrace.cluster.pod_log import PodLog
from podtrace.cluster.settings import UNHEARD_SECONDS, LaunchSettings
from podtrace.cluster.tracer_pod import TracerPod
from podtrace.cluster.tracer_start import TracerStart
from podtrace.durations import NANOSECONDS, format_duration
from podtrace.errors import ClusterError, PodtraceError, StreamError
from podtrace.wire.schema import END, HEALTH

LAST_TICK_SECONDS = 1.3
"""A tracer that cannot be asked for its last tick sends one a second anyway."""
DOOM_SECONDS = 10.0
"""How often a pod is looked at whose deletion by others nothing else would show."""
FRESH_SECONDS = 3.0
"""A trace whose last tick is older than this was cut off, and not ended by the user."""
_REMOVAL_PAUSES = (0.5, 2.0, 0.0)
_CREATION_SECONDS = 10.0

Put = Callable[[tuple[int, bytes | str | None]], None]


class Tracer:
    """One tracer.

    Args:
        api: the cluster.
        plan: what is traced where.
        settings: how its pod is made.
        put: takes (number of the tracer, what it has to say).
        stamped: there are others: each line is given the number of its stream.
    """

    def __init__(
        self,
        api: ApiLike,
        plan: TracerPlan,
        settings: LaunchSettings,
        put: Put,
        *,
        stamped: bool,
    ) -> None:
        self.plan = plan
        self.trouble: PodtraceError | None = None
        self.defect: Exception | None = None
        self.has_sent = False
        self.is_begun = False
        self.is_over = False
        self.was_stopped = False
        self._settings = settings
        self._put = put
        self._stamp = b'{"stream":%d,' % plan.number if stamped else b""
        self._leaving = False
        self._ends_here = False
        self._ticked_at = -math.inf
        self._last_tick = threading.Event()
        self._pod = TracerPod(api, plan, settings)
        self._log = PodLog(api, self._pod, self._tell, lambda: self._leaving)
        self._created = threading.Event()
        self._removal = threading.Lock()
        self._is_removed = False

    @property
    def namespace(self) -> str:
        """The namespace of its pod."""
        return self._settings.namespace

    @property
    def pod_name(self) -> str | None:
        """The name of its pod, None while there is none."""
        return self._pod.pod_name

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self.is_begun = True
        threading.Thread(target=self._run, name=self.plan.name, daemon=True).start()

    def end(self) -> None:
        """Ask the tracer for its last tick and line; blocks, and does not raise."""
        self.was_stopped = True
        self._created.wait()
        if self._pod.has_job and not self._settings.keep:
            self.remove()
            return
        # Nothing but the end of its process reaches this tracer: its ticks so far are the trace,
        # and end in order with the next one.
        self._ends_here = True
        if self.has_sent:
            self._last_tick.wait(LAST_TICK_SECONDS)
        self.leave()
        self.remove()

    def leave(self) -> None:
        """Stop reading; neither blocks nor raises."""
        self._leaving = True
        self._log.close()

    def remove(self) -> None:
        """Remove what was created, unless it is to be kept; blocks, and does not raise."""
        if not self._created.wait(_CREATION_SECONDS):
            return
        with self._removal:
            if self._is_removed or self._settings.keep:
                return
            for pause in _REMOVAL_PAUSES:
                try:
                    self._pod.remove()
                except ClusterError as error:
                    failure = error
                    time.sleep(pause)
                    continue
                self._is_removed = True
                return
            self._tell(
                f"could not remove {self._pod.kind_and_name} in namespace "
                f"{self._settings.namespace}: {failure.message}; the tracer ends by itself within "
                f"{UNHEARD_SECONDS} s"
            )

    def _run(self) -> None:
        try:
            try:
                self._pod.create()
            finally:
                self._created.set()
            limit = format_duration(self._settings.limit_seconds * NANOSECONDS["s"])
            self._tell(
                f"created {self._pod.kind_and_name} in namespace {self._settings.namespace} for "
                f"node {self.plan.node}; the tracer ends by itself after {limit} at the latest"
            )
            stream = TracerStart(self._pod, self._log, self._tell, self._is_unwanted).open_log()
            if stream is not None:
                self._follow(stream)
        except PodtraceError as error:
            self.trouble = error
        except Exception as error:
            # A defect of this program: whoever reads the stream is who can tell the user.
            self.defect = error
        finally:
            self._conclude()

    def _is_unwanted(self) -> bool:
        return self._leaving or self.was_stopped

    def _follow(self, stream: ByteStream) -> None:
        looked_at = time.monotonic()
        for batch in self._log.batches(stream):
            if not self.has_sent:
                self.has_sent = True
                self._mark()
            self._put((self.plan.number, self._stamped(batch)))
            if _is_tick(self._log.cursor.last_line):
                self._ticked_at = time.monotonic()
                if self._ends_here:
                    break
            if self._pod.is_marked and time.monotonic() - looked_at > DOOM_SECONDS:
                looked_at = time.monotonic()
                if self._is_doomed():
                    self.trouble = obstacles.end_error(None, (), self._pod.where, self.plan.node)
                    self.leave()
                    return
        if self._ends_here and time.monotonic() - self._ticked_at < FRESH_SECONDS:
            self._end_in_order()
            return
        self.trouble = self._log.trouble
        if self.trouble is None and self._log.cursor.is_complete and not self._is_unwanted():
            self.trouble = self._end_trouble()

    def _end_in_order(self) -> None:
        """Give the last line that the tracer cannot be asked for, if a whole tick came last."""
        cursor = self._log.cursor
        line = _end_line(cursor.last_line, cursor.last_seq + 1)
        if line:
            self._put((self.plan.number, self._stamped(line)))
        self._last_tick.set()

    def _stamped(self, batch: bytes) -> bytes:
        if not self._stamp:
            return batch
        lines = batch.split(b"\n")[:-1]
        return b"".join(b"%b%b\n" % (self._stamp, line[1:]) for line in lines)

    def _mark(self) -> None:
        try:
            self._pod.mark()
        except ClusterError as error:
            self._tell(
                f"{self._pod.kind_and_name} in namespace {self._settings.namespace} may remain in "
                f"the cluster when this program dies: {error.message}"
            )

    def _is_doomed(self) -> bool:
        try:
            return self._pod.is_doomed()
        except ClusterError:
            return False

    def _end_trouble(self) -> PodtraceError | None:
        """Return why the tracer sent its last line before it was to."""
        where = f"the tracer in pod {self._pod.where} on node {self.plan.node}"
        hint = "run the same command again; what arrived until then is all there is"
        last = self._log.cursor.last_line
        if b'"reason":"signal"' in last:
            return StreamError(f"{where} was told to end: its pod was deleted", hint)
        if b'"reason":"unheard"' in last:
            return StreamError(
                f"{where} ended, because its log was not read for {UNHEARD_SECONDS} s", hint
            )
        return None

    def _tell(self, line: str) -> None:
        self._put((self.plan.number, line))

    def _conclude(self) -> None:
        pod = self._pod
        self._log.close()
        if not self._settings.keep:
            self.remove()
        elif pod.is_created:
            namespace = self._settings.namespace
            self._tell(
                f"kept {pod.kind_and_name} in namespace {namespace}; to remove it: "
                f"kubectl delete -n {namespace} {pod.kind_and_name}"
            )
        self.is_over = True
        self._put((self.plan.number, None))


def _is_tick(line: bytes) -> bool:
    # Quotes inside a text are escaped, so that no text can look like this.
    return b'"kind":"%b"' % HEALTH.encode() in line


def _end_line(last: bytes, seq: int) -> bytes:
    """Return the end of a stream that the user stopped behind the last line of a tick.

    It is what the tracer would send, without the totals, which it alone has. Where no tick came
    last there is no such line, and the stream stays without an end.
    """
    try:
        health = json.loads(last)
    except (ValueError, RecursionError):
        return b""
    if not isinstance(health, dict) or health.get("kind") != HEALTH:
        return b""
    tick, time_ns = health.get("tick"), health.get("time_ns")
    if type(tick) is not int or type(time_ns) is not int:
        return b""
    end = {"kind": END, "seq": seq, "time_ns": time_ns, "tick": tick, "reason": "signal"}
    return json.dumps(end, separators=(",", ":")).encode() + b"\n"
