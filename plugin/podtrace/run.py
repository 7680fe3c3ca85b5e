"""One run: a line source in, a view while it lasts, a session with all that arrived out.

The same loop serves a local tracer, a pod's log and a recording. It decides when a stream is over:
at its last line, when the source ends, when the tracer fell silent, or when nobody reads the
output.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from podtrace.errors import Interrupted, PodtraceError, StreamError, TracerError
from podtrace.model.notable import Notable
from podtrace.model.session import Session
from podtrace.output import Output
from podtrace.recording import RecordingWriter
from podtrace.source import LineSource
from podtrace.wire.ticks import SchemaMismatchError

SILENCE_SECONDS = 20.0
"""A tracer says something every second; one that is silent for so long hangs."""
END_SECONDS = 5.0
"""A tracer that has sent its last line detaches and exits."""
OVERTIME_NS = 15_000_000_000
"""A tracer that still sends this long after its deadline does not keep it."""
_LONGEST_WAIT_SECONDS = 1.0


class View(Protocol):
    """What a run shows while it lasts."""

    def say(self, text: str) -> None:
        """Show a line about the run itself, such as how long the tracer may live."""

    def notice(self, text: str) -> None:
        """Show such a line for as long as the view lasts, where it does not stay by itself."""

    def begin(self, session: Session) -> None:
        """Every probe is attached: the first line came."""

    def update(self, events: Sequence[Notable], session: Session) -> None:
        """Take one more interval, which is in the session, and its event lines."""

    def idle(self, session: Session) -> None:
        """Nothing came for a moment."""

    def ending(self) -> None:
        """The end was asked for and may take a moment; called once."""

    def close(self) -> None:
        """Restore the terminal; called once, on every way out."""


@dataclass
class Outcome:
    """How a run ended: `errors` are what made it incomplete, in the order to be told."""

    session: Session
    errors: list[PodtraceError] = field(default_factory=list)


class Run:
    """Drives a source to its end.

    Args:
        source: where the stream comes from; the run closes it.
        session: what the stream is folded into.
        view: what is shown meanwhile; the run closes it.
        output: where the report will go; a run whose output has no reader ends.
        recorder: where the raw stream is kept, or None, and after it the names of addresses that
            a replay cannot ask the cluster for; the run closes it.
        passes_stream: the raw stream goes to the output as it comes.
        at_end: called once the stream is over, before the recording is completed.
        at_begin: called with the hello line, before the view begins.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        source: LineSource,
        session: Session,
        view: View,
        output: Output,
        recorder: RecordingWriter | None = None,
        passes_stream: bool = False,
        at_end: Callable[[], object] = lambda: None,
        at_begin: Callable[[Mapping[str, Any]], object] = lambda hello: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._session = session
        self._view = view
        self._output = output
        self._recorder = recorder
        self._passes_stream = passes_stream
        self._at_end = at_end
        self._at_begin = at_begin
        self._clock = clock
        self._errors: list[PodtraceError] = []
        self._stopping = False

    def stop(self) -> None:
        """End the run with a report: the rest of the stream is still read. Safe in a handler."""
        self._stopping = True
        self._source.stop()

    def execute(self) -> Outcome:
        """Read the stream to its end and return what came of it.

        Raises:
            OutputClosed: nobody reads standard output any more.
            PodtraceError: the source could not be started, the stream has another schema version,
                or it ended before there was anything to report.
        """
        try:
            try:
                self._follow()
            finally:
                try:
                    self._view.close()
                finally:
                    self._source.close()
            self._at_end()
        finally:
            if self._recorder is not None:
                self._recorder.close(self._session.peer_names())
        self._session.finish()
        self._judge_the_end()
        return Outcome(self._session, self._errors)

    def _follow(self) -> None:
        silent = 0.0
        told_of_end = False
        before = self._clock()
        for chunk in self._source:
            if chunk:
                silent = 0.0
                self._take(chunk)
            else:
                # A pause of this program itself, by a stop signal or a suspend, is not silence.
                silent += min(self._clock() - before, _LONGEST_WAIT_SECONDS)
                self._output.check()
                self._view.idle(self._session)
            if self._is_over(silent):
                return
            if self._stopping and not told_of_end:
                told_of_end = True
                self._view.ending()
            before = self._clock()

    def _take(self, chunk: bytes) -> None:
        if self._recorder is not None:
            self._recorder.write(chunk)
        session = self._session
        # Line by line, so that each interval is shown for itself.
        for line in chunk.splitlines(keepends=True):
            known, ticks = session.hello, session.ledger.ticks
            try:
                events = session.feed(line)
            except SchemaMismatchError as error:
                raise StreamError(
                    f"the stream has schema version {error.found}, this podtrace reads "
                    f"{error.supported}",
                    "use a plugin and a tracer of the same release",
                ) from error
            if known is None and session.hello is not None:
                if self._recorder is not None:
                    self._recorder.start()
                self._at_begin(session.hello)
                self._view.begin(session)
            if session.ledger.ticks > ticks:
                self._output.check()
                self._view.update(events, session)
        if self._passes_stream:
            self._output.write_bytes(chunk)

    def _is_over(self, silent: float) -> bool:
        """Tell whether to leave: after the last line, or a tracer that hangs or overstays."""
        session = self._session
        if session.end is not None or session.error is not None:
            return silent >= END_SECONDS
        patience = self._source.patience_seconds
        known = session.hello is not None
        limit = SILENCE_SECONDS if known and patience < math.inf else patience
        if silent >= limit:
            self._errors.append(
                StreamError(
                    f"the tracer said nothing for {limit:.0f} s: it hangs, and was ended",
                    "run the same command again",
                )
            )
            return True
        deadline_ns = (session.hello or {}).get("deadline_ns")
        if deadline_ns and (session.ledger.last_end_ns or 0) > deadline_ns + OVERTIME_NS:
            self._errors.append(
                StreamError(
                    "the tracer did not stop at its deadline, and was ended",
                    "what arrived until then is all there is",
                )
            )
            return True
        return False

    def _judge_the_end(self) -> None:
        """Say what was wrong with the way the stream ended, or that there is nothing to report."""
        session = self._session
        error = session.error
        if error is not None:
            self._errors.insert(0, TracerError(error["message"], error.get("hint")))
        elif session.end is None and not self._errors:
            trouble = self._source.trouble()
            if trouble is None and not self._stopping:
                trouble = StreamError(
                    "the stream ended without its last line",
                    "run the same command again; what arrived until then is all there is",
                )
            self._errors += [trouble] if trouble is not None else []
        elif session.end is not None:
            self._errors += self._source.troubles()
        if self._recorder is not None and self._recorder.failure is not None:
            self._errors.append(self._recorder.failure)
        if session.ledger.ticks == 0:
            if self._stopping and error is None:
                raise Interrupted("interrupted before there was anything to report")
            if self._errors:
                raise self._errors[0]
