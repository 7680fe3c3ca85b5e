"""How a run is shown while it lasts, and what it leaves: the report, its errors, the exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from podtrace.errors import EXIT_FINDINGS, EXIT_OK, PodtraceError
from podtrace.interrupts import stop_on_signals
from podtrace.model.session import Session
from podtrace.model.snapshot import Snapshot
from podtrace.options import SEVERITIES, ReportOptions
from podtrace.output import Output
from podtrace.recording import RecordingWriter
from podtrace.run import Outcome, Run, View
from podtrace.source import LineSource
from podtrace.views import QuietView

Tell = Callable[[PodtraceError], None]
"""Shows the user an error that the report survives."""


def _environment(options: ReportOptions) -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1"} if options.no_color else dict(os.environ)


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a standard stream is there and is a terminal."""
    return stream is not None and stream.isatty()


def redraws_screen(options: ReportOptions, output: Output) -> bool:
    """Tell whether the live view is a screen that is drawn anew, not lines."""
    from podtrace.report.screen import can_redraw

    return options.format == "text" and can_redraw(output.stream, _environment(options))


def live_view(options: ReportOptions, output: Output) -> View:
    """Return the live view for this output: a screen, lines, or nothing beside the raw stream."""
    from podtrace.report.live import LiveView
    from podtrace.report.plain_live import PlainLiveView
    from podtrace.report.style import style_for

    if options.format == "json":
        return QuietView()
    environment = _environment(options)
    if redraws_screen(options, output):
        return LiveView(output.stream, environment=environment)
    return PlainLiveView(
        lambda text: output.write_with(lambda stream: stream.write(text)),
        style_for(output.stream, environment),
    )


def execute(
    source: LineSource,
    view: View,
    recorder: RecordingWriter | None,
    options: ReportOptions,
    output: Output,
    is_live: bool,
    session: Session | None = None,
    at_end: Callable[[], object] = lambda: None,
    at_begin: Callable[[Mapping[str, Any]], object] = lambda hello: None,
) -> Outcome:
    """Run a source to its end, with Ctrl-C and its relatives asking for the report.

    `at_end` is called once the stream is over, before the recording is completed, and `at_begin`
    with the hello line.

    Raises:
        PodtraceError: there is nothing to report, and why.
        OutputClosed: nobody reads standard output.
    """
    passes_stream = is_live and options.format == "json"
    run = Run(source, session or Session(), view, output, recorder, passes_stream, at_end, at_begin)
    with stop_on_signals(run.stop):
        return run.execute()


def conclude(
    outcome: Outcome, options: ReportOptions, output: Output, is_live: bool, tell: Tell
) -> int:
    """Print the report, tell what was wrong, and return the exit code."""
    snapshot = outcome.session.snapshot(options.settings.thresholds)
    try:
        if not (is_live and options.format == "json"):
            output.write_with(lambda stream: _write_report(snapshot, options, output))
    finally:
        for error in outcome.errors:
            tell(error)
    if outcome.errors:
        return outcome.errors[0].exit_code
    if options.fail_on is not None and _has_finding(snapshot, options.fail_on):
        return EXIT_FINDINGS
    return EXIT_OK


def _write_report(snapshot: Snapshot, options: ReportOptions, output: Output) -> None:
    if options.format == "json":
        from podtrace.report.json_report import write_json

        write_json(snapshot, output.stream)
    elif options.format == "yaml":
        from podtrace.report.yaml_report import write_yaml

        write_yaml(snapshot, output.stream)
    else:
        from podtrace.report.style import style_for
        from podtrace.report.text import write_text

        write_text(snapshot, output.stream, style_for(output.stream, _environment(options)))


def _has_finding(snapshot: Snapshot, lowest: str) -> bool:
    wanted = SEVERITIES[SEVERITIES.index(lowest) :]
    return any(issue.severity in wanted for issue in snapshot.issues)
