"""The command line: words in, exit code out. The only place that prints errors.

The line is split at the first `--` before click sees it: what follows is COMMAND and is nobody
else's business. What a command does lives in `trace` and is imported when it runs, so that `--help`
stays fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from podtrace import options, podoptions, suboptions
from podtrace.commandline import Command, Option, Root, as_usage_error
from podtrace.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    Interrupted,
    PodtraceError,
)
from podtrace.output import Output, OutputClosed, write_error

PROGRAM = "kubectl-podtrace"

KUBECTL = "kubectl podtrace"

_USAGE = f"""\
Usage: {KUBECTL} [POD | TYPE/NAME]... [-n NAME] [--diagnose DURATION]
       {KUBECTL} doctor [POD] | cleanup | replay FILE | version
       {PROGRAM} --local TARGET [--diagnose DURATION]

See why a pod is slow or failing: DNS, TCP connects and round-trip times, files,
locks, or a CPU. Shows a live view and, after Ctrl-C, the report of what it saw;
with --diagnose the report alone.

Pods (without any, the namespace's only running pod):
  POD                   That pod.
  TYPE/NAME             All running pods of a deployment, statefulset,
                        daemonset, replicaset, job or service.
  -l, --selector LABELS All running pods with these labels.
  -c, --container NAME  That container of them alone.

Targets of this machine, with --local, as root or in the group (exactly one):
  --cgroup PATH         That cgroup and those below it.
  --pid N               That process and its descendants.
  --container ID        That container.
  -- COMMAND [ARG]...   A command, begun when every probe is attached, and ended
                        (SIGINT first) when the trace ends.
"""

_CLOSING = f"""\
kubectl's other options for reaching a cluster (--cluster, --user, --server,
--token, --as, --as-group, --request-timeout and so on) work here too. Commands
without a use for a cluster leave them aside.

Commands:
  doctor [POD]          Say what a trace here would need, have and lack.
  cleanup               Remove what runs left in the namespace, or with --local
                        on this machine.
  replay FILE           Make the report of a recording.
  version               Print the version.
  completion SHELL      Print the completion script for bash, zsh or fish.

Durations are written like 500ms, 20s, 1m30s or 24h. Thresholds may stand in
the configuration file too; an option wins.

Exit codes: 0 done, 1 error, 2 wrong usage, 4 a finding at or above --fail-on,
130 interrupted before there was a result, 141 nobody reads the output.

Examples:
  {KUBECTL} -n shop web-0
  {KUBECTL} -n shop web-0 --diagnose 20s -o json --fail-on warning
  {KUBECTL} -n shop deployment/web --diagnose 1m --record slow.jsonl.gz
  {PROGRAM} --local --diagnose 20s -- curl -sS https://example.com/
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    command: list[str] | None = None
    if "--" in words:
        position = words.index("--")
        words, command = words[:position], words[position + 1 :]
    verbose = bool({"-v", "--verbose"} & set(words))
    try:
        return _run(words, command)
    except PodtraceError as error:
        print_error(error, verbose)
        if error.exit_code == EXIT_USAGE:
            _warn_of_namesakes()  # perhaps the line was meant for the other one
        return error.exit_code
    except OutputClosed:
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        print_error(Interrupted("interrupted before there was a result"), verbose)
        return EXIT_INTERRUPTED
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        print_error(
            PodtraceError(
                f"podtrace itself failed: {text}", "run it again with -v, and report what it says"
            ),
            verbose,
        )
        return EXIT_ERROR


def print_error(error: PodtraceError, verbose: bool = False) -> None:
    """Print an error on standard error, made safe for a terminal."""
    from podtrace.report.escape import printable

    lines = []
    if verbose and sys.exc_info()[0] is not None:
        import traceback

        lines += traceback.format_exc().splitlines()
    lines += [f"error: {error.message}", *(f"  {line}" for line in error.details)]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    write_error("".join(printable(line) + "\n" for line in lines))


def root_command(command: Sequence[str] | None = None) -> Root:
    """Return the click command of the whole line.

    Args:
        command: the words behind `--`, or None where there was none.
    """

    def trace(**values: Any) -> int:
        chosen = options.trace_options(values, command)
        if isinstance(chosen, options.PodTraceOptions):
            from podtrace.pod_trace import run_pod_trace

            return run_pod_trace(chosen, print_error)
        from podtrace.trace import run_trace

        return run_trace(chosen, print_error)

    def replay(**values: Any) -> int:
        chosen = suboptions.replay_options(values, command)
        from podtrace.trace import run_replay

        return run_replay(chosen, print_error)

    def completion(shell: str) -> int:
        from click.shell_completion import get_completion_class

        completer = get_completion_class(shell)
        assert completer is not None
        return _print(completer(root_command(), {}, PROGRAM, _completion_variable()).source())

    def cleanup(**values: Any) -> int:
        where = suboptions.cleanup_options(values)
        if where is not None:
            from podtrace.pod_trace import run_pod_cleanup

            return run_pod_cleanup(where)
        from podtrace.trace import run_cleanup_command

        return run_cleanup_command()

    def doctor(**values: Any) -> int:
        asked = suboptions.doctor_options(values, command)
        _warn_of_namesakes()
        from podtrace.doctor import run_doctor

        return run_doctor(asked)

    commands = [
        Command(
            "",
            callback=trace,
            params=[
                *options.trace_params(),
                Option(["--version"], is_flag=True, is_eager=True, expose_value=False,
                       callback=_show_version, help="Print the version."),
            ],
            usage=_USAGE,
            closing=_CLOSING,
        ),
        Command(
            "replay",
            callback=replay,
            params=suboptions.replay_params(),
            short_help="Make the report of a recording.",
            usage=f"Usage: {PROGRAM} replay FILE [--live] [OPTIONS]\n\n"
            "Make the report of a recording, the same as the run's own.\n",
        ),
        Command(
            "version",
            callback=_print_version,
            params=podoptions.ignored_kubectl_params(),
            short_help="Print the version.",
            usage=f"Usage: {PROGRAM} version\n\nPrint the version.\n",
        ),
        Command(
            "completion",
            callback=completion,
            params=[
                click.Argument(["shell"], type=click.Choice(("bash", "zsh", "fish"))),
                *podoptions.ignored_kubectl_params(),
            ],
            short_help="Print the completion script of a shell.",
            usage=f"Usage: {PROGRAM} completion bash|zsh|fish\n\n"
            f"Print the completion script, for example:\n"
            f"  source <({PROGRAM} completion bash)\n",
        ),
        Command(
            "cleanup",
            callback=cleanup,
            params=suboptions.cleanup_params(),
            short_help="Remove what runs left.",
            usage=f"Usage: {KUBECTL} cleanup [-n NAME | -A]\n       {PROGRAM} cleanup --local\n\n"
            "Remove the tracer pods and Jobs that runs left in a namespace, and only those;\n"
            "with --local, end commands and remove cgroups of runs that were killed with\n"
            "their tracer.\n",
        ),
        Command(
            "doctor",
            callback=doctor,
            params=suboptions.doctor_params(),
            short_help="Say what a trace would need, have and lack.",
            usage=f"Usage: {KUBECTL} doctor [POD | TYPE/NAME]... [-n NAME]\n\n"
            "Ask everything beforehand that could keep a trace from working: rights,\n"
            "admission, the image, the node and its kernel; and say how to mend it.\n\n"
            "Where nothing speaks against it, a tracer pod is started on the node of each\n"
            "named pod for a second, and removed: it alone knows which sections of the\n"
            "report that kernel allows. With --dry-run nothing is started. Without POD the\n"
            "namespace and all nodes are asked about.\n\n"
            "Exit codes: 0 a trace would work, 1 it would not.\n",
        ),
    ]  # fmt: skip
    root = Root(PROGRAM, add_help_option=False)
    for each in commands:
        root.add_command(each)
    return root


def _run(words: list[str], command: Sequence[str] | None) -> int:
    root = root_command(command)
    if instruction := os.environ.get(_completion_variable()):
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, PROGRAM, _completion_variable(), instruction)
    try:
        with root.make_context(PROGRAM, words) as context:
            code: int = root.invoke(context)
            return code
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        raise as_usage_error(error, PROGRAM) from None
    except BrokenPipeError as error:
        raise OutputClosed from error


def _warn_of_namesakes() -> None:
    from podtrace.namesakes import this_program, warning
    from podtrace.report.escape import printable

    line = warning(PROGRAM, this_program(), os.environ)
    if line is not None:
        write_error(printable(line) + "\n")


def _completion_variable() -> str:
    return f"_{PROGRAM.replace('-', '_').upper()}_COMPLETE"


def _show_version(context: click.Context, _: click.Parameter, is_given: bool) -> None:
    if is_given and not context.resilient_parsing:
        context.exit(_print_version())


def _print_version() -> int:
    from podtrace.about import version_text

    _warn_of_namesakes()
    return _print(version_text())


def _print(text: str) -> int:
    Output(sys.stdout).write_with(lambda stream: stream.write(text + "\n"))
    return EXIT_OK
