"""The progress line: what it says, that nothing in it can act on the terminal, that it goes."""

from __future__ import annotations

import io

import pytest

from factories import encoded, hello, series, stream, target, tick
from podtrace.model.session import Session
from podtrace.report.plain_live import PlainLiveView
from podtrace.run import View
from podtrace.views import ProgressView, QuietView

SECOND = 1_000_000_000


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        return self.getvalue().split("\r\x1b[K")[1:]


class BrokenTerminal(Terminal):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def session(name: str = "demo", count: int = 3412) -> Session:
    session = Session()
    lines = stream(hello(targets=[target(name=name)]), tick(series("read", count)))
    session.feed(encoded(lines))
    return session


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_and_events_are_shown() -> None:
    terminal, clock = Terminal(), Clock()
    view = ProgressView(terminal, 20 * SECOND, clock)
    view.begin(session())
    clock.now += 8.2
    view.update((), session())
    assert terminal.lines == [
        "attaching probes…",
        "tracing demo… 20s left, 3,412 events, Ctrl-C for the report now",
        "tracing demo… 12s left, 3,412 events, Ctrl-C for the report now",
    ]


def test_time_left_never_falls_below_zero() -> None:
    terminal, clock = Terminal(), Clock()
    view = ProgressView(terminal, SECOND, clock)
    view.begin(session())
    clock.now += 30
    view.idle(session())
    assert "… 0s left" in terminal.lines[-1]


def test_time_passed_is_shown_where_there_is_no_end() -> None:
    terminal, clock = Terminal(), Clock()
    view = ProgressView(terminal, None, clock)
    view.begin(session())
    clock.now += 7
    view.idle(session())
    assert "tracing demo… 7s, " in terminal.lines[-1]


def test_name_of_the_target_cannot_act_on_the_terminal() -> None:
    terminal = Terminal()
    ProgressView(terminal, SECOND, Clock()).begin(session("\x1b]0;owned\x07\n" + "x" * 300))
    shown = terminal.lines[-1]
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert len(shown) <= 80


def test_line_is_removed_at_the_end() -> None:
    terminal = Terminal()
    view = ProgressView(terminal, SECOND, Clock())
    view.begin(session())
    view.close()
    assert terminal.lines[-1] == ""


def test_first_interrupt_is_answered_in_place_of_the_progress() -> None:
    terminal = Terminal()
    view = ProgressView(terminal, SECOND, Clock())
    view.begin(session())
    view.ending()
    view.update((), session())
    assert terminal.lines[-1] == "ending; Ctrl-C again leaves at once"
    view.close()
    assert terminal.lines[-1] == ""


@pytest.mark.parametrize("view", [QuietView(), PlainLiveView(lambda text: None)])
@pytest.mark.parametrize(
    ("stream", "told"), [(Terminal(), "ending; Ctrl-C again leaves at once\n"), (io.StringIO(), "")]
)
def test_first_interrupt_is_answered_on_a_terminal_alone(
    view: View, stream: io.StringIO, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.truncate(0)
    stream.seek(0)
    monkeypatch.setattr("sys.stderr", stream)
    view.ending()
    assert stream.getvalue() == told


def test_terminal_that_went_away_does_not_end_the_trace() -> None:
    view = ProgressView(BrokenTerminal(), SECOND, Clock())
    view.begin(session())
    view.close()


def test_terminal_without_unicode_gets_ascii() -> None:
    terminal = Terminal()
    terminal.encoding = "ascii"  # type: ignore[misc]
    ProgressView(terminal, SECOND, Clock()).begin(session())
    assert terminal.getvalue().isascii()


def test_message_stands_above_the_progress_and_cannot_act_on_the_terminal() -> None:
    terminal = Terminal()
    view = ProgressView(terminal, SECOND, Clock())
    view.say("tracer on node \x1b[2J of " + "x" * 100)
    first, again = terminal.lines[-2:]
    assert first == "tracer on node \\x1b[2J of " + "x" * 100 + "\n"
    assert again == "attaching probes…"


def test_progress_counts_pods_as_their_tracers_come() -> None:
    terminal, clock = Terminal(), Clock()
    view = ProgressView(terminal, None, clock)
    told = Session()
    for number in (1, 2):
        pod = target(number, f"web-{number}", type="pod", pod=f"web-{number}", namespace="shop")
        told.fold([line | {"stream": number} for line in stream(hello(targets=[pod]))])
        view.begin(told)
    assert "tracing web-1… 0s" in terminal.lines[-2]
    assert "tracing 2 pods… 0s" in terminal.lines[-1]
