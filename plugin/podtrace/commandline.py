"""How click is taught this command line: a default command, options in sections, own errors.

kubectl-podtrace [OPTIONS] [WORD] ...      WORD names a subcommand, or else a trace is asked for
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from podtrace.durations import parse_duration
from podtrace.errors import UsageError

HELP_WIDTH = 80


_MOST_DIGITS = 20


def whole_number(text: str, least: int, most: int) -> int | None:
    """Return the number that a user wrote, None where it is none from `least` to `most`."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        return None
    return int(digits) if least <= int(digits) <= most else None


class Option(click.Option):
    """An option that is listed under a heading of its own in the help.

    One with the section None is told of in the usage text; only a completion shows its help.
    """

    def __init__(self, *args: Any, section: str | None = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option's words for the help's list, None where it is not in there."""
        return None if self.section is None else super().get_help_record(ctx)


class FileName(click.ParamType):  # type: ignore[type-arg]
    """A path, which a shell completes; `kind` is file or dir."""

    name = "file"

    def __init__(self, kind: str = "file") -> None:
        self.kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leave it to the shell."""
        return [CompletionItem(incomplete, type=self.kind)]


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A Go-style duration; the value is whole nanoseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the nanoseconds; a default is that already."""
        if isinstance(value, int):
            return value
        return parse_duration(str(value), param.opts[-1] if param is not None else "duration")


class Command(click.Command):
    """A command whose help is a usage text, its options by section, and a closing text."""

    def __init__(self, *args: Any, usage: str, closing: str = "", **kwargs: Any) -> None:
        kwargs["context_settings"] = {
            "terminal_width": HELP_WIDTH,
            "max_content_width": HELP_WIDTH,
            "help_option_names": ["-h", "--help"],
        }
        super().__init__(*args, **kwargs)
        self.usage = usage
        self.closing = closing

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage text, the sections of options and the closing text."""
        formatter.write(self.usage)
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                section = param.section if isinstance(param, Option) else None
                sections.setdefault(section or "Options", []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records, col_max=28)
        if self.closing:
            formatter.write("\n" + self.closing)


class FirstWord(click.Argument):
    """The word of the default command; where it may stand, a subcommand may stand too."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the subcommands, where none is chosen and no word stands yet, and own values."""
        root = ctx.find_root().command
        is_first = ctx.info_name == "" and not ctx.params.get(self.name or "")
        commands = root.commands if isinstance(root, click.Group) and is_first else {}
        subcommands = [
            CompletionItem(name, help=command.get_short_help_str())
            for name, command in commands.items()
            if name and name.startswith(incomplete)
        ]
        return [*subcommands, *super().shell_complete(ctx, incomplete)]


class Root(click.Group):
    """Finds the subcommand wherever its name stands; the command named "" takes all other lines."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name first, as click wants it."""
        # What follows the first "--" is COMMAND; only a completion request still has it here.
        words = args[: args.index("--")] if "--" in args else args
        words = list(self._separated(words))
        position = self._command_position(words)
        if position is None:
            return super().parse_args(ctx, ["--", "", *words])
        rest = [*words[:position], *words[position + 1 :]]
        return super().parse_args(ctx, ["--", words[position], *rest])

    def has_option(self, name: str) -> bool:
        """Tell whether any of the commands has an option of that name."""
        params = [param for command in self.commands.values() for param in command.params]
        return any(name in param.opts for param in params)

    def _command_position(self, words: Sequence[str]) -> int | None:
        first = next(self._plain_words(words), None)
        return first if first is not None and words[first] in self.commands else None

    def _separated(self, words: Sequence[str]) -> Iterator[str]:
        """Take `-n=shop` as kubectl does: to click the sign would be part of the value."""
        with_value = self._with_value()
        for word in words:
            if word[2:3] == "=" and word[:2] in with_value:
                yield from (word[:2], word[3:])
            else:
                yield word

    def _with_value(self) -> set[str]:
        return {
            name
            for command in self.commands.values()
            for param in command.params
            if isinstance(param, click.Option) and not param.is_flag
            for name in param.opts
        }

    def _plain_words(self, words: Sequence[str]) -> Iterator[int]:
        """Yield the positions of words that are neither options nor values of options."""
        with_value = self._with_value()
        is_value = False
        for position, word in enumerate(words):
            if is_value:
                is_value = False
            elif word.startswith("--"):
                is_value = word in with_value
            elif word.startswith("-") and len(word) > 1:
                is_value = _wants_value(word[1:], with_value)
            else:
                yield position


def _wants_value(letters: str, with_value: set[str]) -> bool:
    """Tell whether a group of short options such as `-vo` takes the next word as a value."""
    for index, letter in enumerate(letters):
        if f"-{letter}" in with_value:
            return index == len(letters) - 1
    return False


def as_usage_error(error: click.ClickException, program: str) -> UsageError:
    """Return click's complaint about a line in the form of all other errors."""
    if isinstance(error, click.NoSuchOption) and error.ctx:
        command, root = error.ctx.info_name or "", error.ctx.find_root().command
        known = bool(command) and isinstance(root, Root) and root.has_option(error.option_name)
        near = "" if known else " or ".join(sorted(error.possibilities or ()))
        return UsageError(
            f"{command} has no option {error.option_name}"
            if command
            else f"no such option: {error.option_name}",
            f"{f'did you mean {near}? - or ' if near else ''}see: "
            f"{' '.join(filter(None, (program, command)))} --help",
        )
    # click lists choices one below the other.
    text = " ".join(error.format_message().split()).rstrip(".")
    message, _, advice = text.partition(". ")
    if advice.startswith("Did you mean"):
        advice = advice[0].lower() + advice[1:]
    hint = f"{advice} - or see: {program} --help" if advice else f"see: {program} --help"
    return UsageError(message[:1].lower() + message[1:], hint)
