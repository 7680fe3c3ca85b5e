"""Every error that podtrace shows a user, with its exit code and the next step.

    PodtraceError                exit 1
     +- UsageError               exit 2   the command line asks for something that makes no sense
     |   +- ConfigError          exit 2   the configuration file does
     +- Interrupted              exit 130 ended by the user before there was a result
     +- StartError               exit 1   the tracer could not be started on this machine
     +- TracerError              exit 1   the tracer said that it cannot trace, and why
     +- StreamError              exit 1   the stream broke off, or is of another schema version
     +- MetricsError             exit 1   the metrics cannot be offered on this machine
     +- ClusterError             exit 1   the cluster cannot be reached or does not do what is asked
     |   +- ApiError             exit 1   the API server answered with an error
     |   +- NotReadyError        exit 1   what is asked for will be there in a moment
     +- TargetError              exit 1   the pod cannot be traced, and why
     +- LaunchError              exit 1   the tracer pod could not be started, and why
     +- RecordingError           exit 1   a recording cannot be written or read
     +- OutputError              exit 1   standard output cannot be written

An error names the object that it is about and says what to do next. The command line prints it, in
one place, as `error: MESSAGE`, then the details and the hint. Only there are the texts made safe
for a terminal: a message may quote what a traced process wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_FINDINGS = 4
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class PodtraceError(Exception):
    """An error with a text for the user.

    Args:
        message: what went wrong, naming the object, without a full stop.
        hint: the next step, or nothing where there is none.
        details: lines that say more, such as the last output of a process that died.
    """

    exit_code = EXIT_ERROR

    def __init__(self, message: str, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)


class UsageError(PodtraceError):
    """The command line contradicts itself, lacks something or has a value out of range."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """The configuration file cannot be read or has a key or value that podtrace does not know."""


class Interrupted(PodtraceError):
    """The user ended the run before there was anything to report."""

    exit_code = EXIT_INTERRUPTED


class StartError(PodtraceError):
    """The tracer cannot be started on this machine."""


class TracerError(PodtraceError):
    """The tracer ended with an error line: it could not start, or could not go on."""


class StreamError(PodtraceError):
    """The stream ended without its last line, fell silent, or is of another schema version."""


class MetricsError(PodtraceError):
    """The metrics cannot be offered on this machine: a port is in use, or not the user's to use."""


class ClusterError(PodtraceError):
    """The cluster cannot be reached, or does not do what it is asked."""


class ApiError(ClusterError):
    """The API server answered with an error.

    Args:
        status: the HTTP status.
        reason: the reason of the Status object, such as `NotFound`; empty where there is none.
        body: the Status object, or what could be made of the answer.
        message: what went wrong, as for every error.
        hint: the next step.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        body: Mapping[str, Any] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.reason = reason
        self.body = body or {}


class NotReadyError(ClusterError):
    """What is asked for is not there yet, and will be in a moment."""


class TargetError(PodtraceError):
    """The pod cannot be traced: it is not there, does not run, or its node cannot be traced."""


class LaunchError(PodtraceError):
    """The tracer pod was refused, or did not start."""


class RecordingError(PodtraceError):
    """A recording cannot be written, or is no recording."""


class OutputError(PodtraceError):
    """Standard output cannot be written, other than by being closed."""
