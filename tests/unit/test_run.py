"""The loop: when a stream is over, what makes it incomplete, and what is shown and kept of it."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from factories import encoded, end, error, event, hello, series, stream, tick
from podtrace.errors import (
    EXIT_INTERRUPTED,
    Interrupted,
    PodtraceError,
    StreamError,
    TracerError,
)
from podtrace.model.notable import Notable
from podtrace.model.session import Session
from podtrace.output import Output, OutputClosed
from podtrace.recording import RecordingReader, RecordingWriter
from podtrace.run import Outcome, Run

WHOLE = stream(hello(), tick(series("read", count=3)), tick(event("reset")), tick(), end())


class ListSource:
    """A line source over chunks; `stop` may make it deliver other ones."""

    patience_seconds = 60.0

    def __init__(
        self,
        chunks: Iterable[bytes],
        after_stop: Iterable[bytes] | None = None,
        trouble: PodtraceError | None = None,
    ) -> None:
        self.beside: list[PodtraceError] = []
        self.chunks = chunks
        self.after_stop = after_stop
        self.closed = 0
        self.stopped = False
        self._trouble = trouble

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if self.stopped and self.after_stop is not None:
                yield from self.after_stop
                return
            yield chunk

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed += 1

    def trouble(self) -> PodtraceError | None:
        return self._trouble

    def troubles(self) -> list[PodtraceError]:
        return self.beside


class Watcher:
    """A view that keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def say(self, text: str) -> None:
        self.seen.append(text)

    def begin(self, session: Session) -> None:
        assert session.hello is not None
        self.seen.append("begin")

    def update(self, events: Sequence[Notable], session: Session) -> None:
        self.seen.append(f"tick {session.ledger.ticks} {[each.event for each in events]}")

    def idle(self, session: Session) -> None:
        self.seen.append("idle")

    def ending(self) -> None:
        self.seen.append("ending")

    def close(self) -> None:
        self.seen.append("close")


def run(
    source: ListSource, view: Watcher | None = None, recorder: RecordingWriter | None = None
) -> Outcome:
    return Run(source, Session(), view or Watcher(), Output(io.StringIO()), recorder).execute()


def chunks(data: bytes, size: int = 97) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def test_whole_stream_has_no_errors_and_is_complete() -> None:
    source = ListSource(chunks(encoded(WHOLE)))
    outcome = run(source)
    assert outcome.errors == []
    snapshot = outcome.session.snapshot()
    assert (snapshot.window.complete, snapshot.window.ticks, source.closed) == (True, 3, 1)


def test_each_tick_is_shown_for_itself_even_when_all_come_in_one_chunk() -> None:
    view = Watcher()
    run(ListSource([encoded(WHOLE)]), view)
    assert view.seen == ["begin", "tick 1 []", "tick 2 ['reset']", "tick 3 []", "close"]


def test_raw_stream_is_passed_on_unchanged() -> None:
    raw = io.BytesIO()
    output = Output(io.TextIOWrapper(raw, write_through=True))
    data = encoded(WHOLE[:3]) + b"\xff no line of ours\r\n" + encoded(WHOLE[3:])
    Run(ListSource(chunks(data)), Session(), Watcher(), output, passes_stream=True).execute()
    assert raw.getvalue() == data


def test_stream_without_its_last_line_is_an_error_and_a_result() -> None:
    outcome = run(ListSource(chunks(encoded(WHOLE[:-1]))))
    (missing,) = outcome.errors
    assert isinstance(missing, StreamError)
    assert "without its last line" in missing.message
    assert not outcome.session.snapshot().window.complete
    assert outcome.session.ledger.ticks == 3


def test_source_knows_better_why_the_stream_ended() -> None:
    why = StreamError("the tracer was killed")
    assert run(ListSource(chunks(encoded(WHOLE[:-1])), trouble=why)).errors == [why]


def test_last_line_counts_more_than_the_way_the_source_ended() -> None:
    source = ListSource(chunks(encoded(WHOLE)), trouble=StreamError("exit code 1"))
    assert run(source).errors == []


def test_tracer_that_could_not_start_is_an_error_without_a_result() -> None:
    line = error("no_btf", "this kernel has no BTF", "boot another kernel")
    with pytest.raises(TracerError) as caught:
        run(ListSource([encoded(stream(line))]))
    assert (caught.value.message, caught.value.hint) == (
        "this kernel has no BTF",
        "boot another kernel",
    )


def test_tracer_that_could_not_go_on_is_an_error_and_a_result() -> None:
    lines = stream(hello(), tick(), error("drain", "a map went away", "report it"))
    outcome = run(ListSource([encoded(lines)]))
    assert [each.message for each in outcome.errors] == ["a map went away"]
    assert outcome.session.ledger.ticks == 1


def test_other_schema_version_names_both_and_the_fix() -> None:
    source = ListSource([encoded(stream(hello(schema="2.3"), tick(), end()))])
    view = Watcher()
    with pytest.raises(StreamError) as caught:
        run(source, view)
    assert "schema version 2.3, this podtrace reads 1.1" in caught.value.message
    assert "same release" in (caught.value.hint or "")
    assert (source.closed, view.seen) == (1, ["close"])


def test_stop_reads_the_rest_of_the_stream() -> None:
    source = ListSource([], after_stop=None)
    view = Watcher()
    trace = Run(source, Session(), view, Output(io.StringIO()))

    def deliver() -> Iterator[bytes]:
        yield encoded(WHOLE[:3])
        trace.stop()
        yield encoded(WHOLE[3:])

    source.chunks = deliver()
    outcome = trace.execute()
    assert source.stopped
    assert (outcome.errors, outcome.session.ledger.ticks) == ([], 3)


def test_view_says_once_that_the_end_was_asked_for() -> None:
    source, view = ListSource([]), Watcher()
    trace = Run(source, Session(), view, Output(io.StringIO()))

    def deliver() -> Iterator[bytes]:
        yield encoded(WHOLE[:3])
        trace.stop()
        yield from (b"", b"", encoded(WHOLE[3:]))

    source.chunks = deliver()
    trace.execute()
    assert view.seen[:5] == ["begin", "tick 1 []", "idle", "ending", "idle"]
    assert view.seen.count("ending") == 1


def test_interrupt_before_the_first_tick_is_130() -> None:
    source = ListSource([b"", b""], trouble=StreamError("killed by SIGINT"))
    trace = Run(source, Session(), Watcher(), Output(io.StringIO()))
    trace.stop()
    with pytest.raises(Interrupted) as caught:
        trace.execute()
    assert caught.value.exit_code == EXIT_INTERRUPTED


def test_stopped_replay_is_incomplete_without_an_error() -> None:
    source = ListSource([encoded(WHOLE[:-1])])
    trace = Run(source, Session(), Watcher(), Output(io.StringIO()))
    trace.stop()
    outcome = trace.execute()
    assert outcome.errors == []
    assert not outcome.session.snapshot().window.complete


class Clock:
    """A clock that goes on by a step whenever it is read."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def silent(lines: bytes, pauses: int) -> Iterator[bytes]:
    if lines:
        yield lines
    for _ in range(pauses):
        yield b""
    raise AssertionError("the run went on")


def test_tracer_that_falls_silent_is_left_after_twenty_seconds() -> None:
    source = ListSource(silent(encoded(WHOLE[:-1]), 90))
    trace = Run(source, Session(), Watcher(), Output(io.StringIO()), clock=Clock(0.25))
    outcome = trace.execute()
    assert "said nothing for 20 s: it hangs" in outcome.errors[0].message
    assert (outcome.session.ledger.ticks, source.closed) == (3, 1)


def test_tracer_gets_a_minute_to_attach() -> None:
    source = ListSource(silent(b"", 260))
    trace = Run(source, Session(), Watcher(), Output(io.StringIO()), clock=Clock(0.25))
    with pytest.raises(StreamError, match="said nothing for 60 s"):
        trace.execute()


def test_pause_of_this_program_is_not_silence() -> None:
    chunks = [encoded(WHOLE[:2]), *[b""] * 10, encoded(WHOLE[2:])]
    trace = Run(ListSource(chunks), Session(), Watcher(), Output(io.StringIO()), clock=Clock(3600))
    assert trace.execute().errors == []


def test_tracer_that_does_not_exit_after_its_last_line_is_left_without_an_error() -> None:
    source = ListSource(silent(encoded(WHOLE), 30))
    trace = Run(source, Session(), Watcher(), Output(io.StringIO()), clock=Clock(0.25))
    assert trace.execute().errors == []


def test_tracer_that_does_not_keep_its_deadline_is_ended() -> None:
    first = hello()
    late = stream(
        {**first, "deadline_ns": first["window_start_ns"] + 2_000_000_000},
        *[tick() for _ in range(40)],
    )
    outcome = run(ListSource([encoded([line]) for line in late]))
    assert "did not stop at its deadline" in outcome.errors[0].message
    assert 17 <= outcome.session.ledger.ticks <= 19


def test_run_without_a_reader_ends_and_closes_everything() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    source, view = ListSource(silent(encoded(WHOLE[:3]), 5)), Watcher()
    with os.fdopen(writer, "w") as stdout, pytest.raises(OutputClosed):
        Run(source, Session(), view, Output(stdout)).execute()
    assert (source.closed, view.seen[-1]) == (1, "close")


def test_source_is_closed_when_the_view_fails() -> None:
    class Broken(Watcher):
        def update(self, events: Sequence[Notable], session: Session) -> None:
            raise ZeroDivisionError

        def close(self) -> None:
            raise ZeroDivisionError

    source = ListSource([encoded(WHOLE)])
    with pytest.raises(ZeroDivisionError):
        run(source, Broken())
    assert source.closed == 1


def test_recording_holds_the_stream_also_after_its_end_was_cut(tmp_path: Path) -> None:
    for name, lines in (("whole", WHOLE), ("cut", WHOLE[:-1])):
        recorder = RecordingWriter(str(tmp_path / name))
        run(ListSource(chunks(encoded(lines))), recorder=recorder)
        assert (tmp_path / name).read_bytes() == encoded(lines)


@pytest.mark.parametrize("name", ["run.jsonl", "run.jsonl.gz"])
@pytest.mark.parametrize("cut", [0, 1, 40])
def test_replay_knows_the_names_that_the_run_had_at_its_end(
    tmp_path: Path, name: str, cut: int
) -> None:
    peers = [f"10.0.0.{number}:5432" for number in range(40)]
    lines = stream(hello(), tick(*(series("connect", count=1, peer=peer) for peer in peers)), end())
    data = encoded(lines)
    session, names = Session(), {"10.9.9.9": "pod shop/unseen"}
    session.name_peers(names)
    source = ListSource(chunks(data[: len(data) - cut]))
    recorder = RecordingWriter(str(tmp_path / name))
    Run(
        source,
        session,
        Watcher(),
        Output(io.StringIO()),
        recorder,
        at_end=lambda: names.update({peer: f"service shop/{peer}" for peer in peers}),
    ).execute()
    replayed = Session()
    reader = RecordingReader(str(tmp_path / name))
    for chunk in reader:
        replayed.feed(chunk)
    reader.close()
    replayed.finish()
    shown = replayed.snapshot()
    assert shown == session.snapshot()
    assert shown.connections is not None
    assert {row.name for row in shown.connections.targets} == {f"service shop/{p}" for p in peers}
    assert "unseen" not in str(replayed.peer_names())


def test_failed_recording_is_told_after_the_result(tmp_path: Path) -> None:
    recorder = RecordingWriter(str(tmp_path / "f"))
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, recorder._descriptor)
    os.close(full)
    outcome = run(ListSource([encoded(WHOLE)]), recorder=recorder)
    assert "cannot write the recording" in outcome.errors[0].message
    assert outcome.session.snapshot().window.complete


def test_run_that_never_began_leaves_no_recording(tmp_path: Path) -> None:
    recorder = RecordingWriter(str(tmp_path / "f"))
    with pytest.raises(TracerError):
        run(ListSource([encoded(stream(error()))]), recorder=recorder)
    assert list(tmp_path.iterdir()) == []


def test_trouble_beside_a_whole_stream_is_told() -> None:
    source = ListSource([encoded(WHOLE)])
    source.beside = [StreamError("node b: no tracer")]
    outcome = Run(source, Session(), Watcher(), Output(io.StringIO())).execute()
    assert [error.message for error in outcome.errors] == ["node b: no tracer"]


def test_source_that_watches_its_tracer_may_be_silent() -> None:
    source = ListSource([*[b""] * 100, encoded(WHOLE[:-1]), *[b""] * 100, encoded(WHOLE[-1:])])
    source.patience_seconds = math.inf
    outcome = Run(source, Session(), Watcher(), Output(io.StringIO()), clock=Clock(1)).execute()
    assert outcome.errors == []
    assert outcome.session.end is not None
