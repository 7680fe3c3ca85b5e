"""Thresholds from options and from the configuration file: an option wins, then the file.

    thresholds:
      dns_slow_p95_seconds: 0.25      # or 250ms
      connect_failed_ratio: 5%        # or 0.05

Keys and options are made from the model's own description of its limits. Three more belong to the
tracer, which decides in the kernel what is worth an event.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from podtrace.commandline import FileName, Option
from podtrace.durations import format_duration, parse_duration
from podtrace.errors import ConfigError, UsageError
from podtrace.model.thresholds import Limit, Thresholds, describe

TRACER_LIMITS = (
    Limit("rtt_spike_seconds", 0.100, "seconds", "TCP round-trip time that is a spike"),
    Limit("slow_file_seconds", 0.010, "seconds", "file operation that is slow"),
    Limit("long_block_seconds", 0.100, "seconds", "time blocked that is worth an event"),
)
LIMITS = {limit.name: limit for limit in (*describe(), *TRACER_LIMITS)}

_SECTION = "thresholds"
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Settings:
    """All limits of a run; those of the tracer in nanoseconds, None for its own default."""

    thresholds: Thresholds
    rtt_spike_ns: int | None
    slow_file_ns: int | None
    long_block_ns: int | None


class Value(click.ParamType):  # type: ignore[type-arg]
    """A threshold as an option takes it."""

    name = "value"

    def __init__(self, limit: Limit) -> None:
        self.limit = limit

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the value in the threshold's own unit."""
        return parse_value(value, self.limit, option_name(self.limit))


def threshold_params(with_tracer: bool) -> list[click.Parameter]:
    """Return one option for each threshold, and the option that names the configuration file.

    Args:
        with_tracer: the command starts a tracer, so that the tracer's own limits make sense.
    """
    limits = LIMITS.values() if with_tracer else describe()
    return [
        Option(
            ["--config"],
            type=FileName(),
            metavar="FILE",
            help="Take thresholds from FILE instead of podtrace/config.yaml in $XDG_CONFIG_HOME "
            "or ~/.config.",
            section="Thresholds",
        ),
        *(
            Option(
                [option_name(limit), limit.name],
                type=Value(limit),
                metavar="DURATION" if limit.unit == "seconds" else "N",
                help=f"{limit.help[0].upper()}{limit.help[1:]} [{shown_value(limit)}].",
                section="Thresholds",
            )
            for limit in limits
        ),
    ]


def option_name(limit: Limit) -> str:
    """Return the option of a threshold: its key without the unit of a duration."""
    return "--" + limit.name.removesuffix("_seconds").replace("_", "-")


def shown_value(limit: Limit) -> str:
    """Return the default as a user would write it."""
    if limit.unit == "seconds":
        return format_duration(round(limit.default * _NANOSECONDS))
    return f"{limit.default:g}"


def settings(values: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the limits that hold for a run.

    Args:
        values: the command's options, by name.
        environment: where XDG_CONFIG_HOME and HOME are read; by default the process's own.

    Raises:
        ConfigError: the file cannot be read or says something that podtrace does not understand.
    """
    chosen = _from_file(values.get("config"), os.environ if environment is None else environment)
    chosen |= {name: values[name] for name in LIMITS if values.get(name) is not None}
    tracer = {
        limit.name: round(chosen.pop(limit.name) * _NANOSECONDS)
        for limit in TRACER_LIMITS
        if limit.name in chosen
    }
    return Settings(
        Thresholds(**chosen),
        tracer.get("rtt_spike_seconds"),
        tracer.get("slow_file_seconds"),
        tracer.get("long_block_seconds"),
    )


def parse_value(value: Any, limit: Limit, what: str) -> float:
    """Return a threshold in its own unit.

    Args:
        value: text such as `250ms`, `5%` or `0.05`, or from a file a number in the limit's unit.
        limit: the threshold.
        what: the option or key, for the error.

    Raises:
        UsageError: it is nothing of the kind, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(f"{what}: this is no {limit.unit}", _advice(limit, what))
    if limit.unit == "seconds":
        if isinstance(value, str):
            return parse_duration(value, what, prefers_ms=True) / _NANOSECONDS
        number = float(value)
    else:
        text = str(value).strip()
        scale = 0.01 if text.endswith("%") and limit.unit == "ratio" else 1.0
        try:
            number = float(text.removesuffix("%") if scale != 1.0 else text) * scale
        except ValueError:
            message = f"{what} {text[:40]}: this is no {limit.unit}"
            raise UsageError(message, _advice(limit, what)) from None
    highest = {"ratio": 1.0, "seconds": 86_400.0, "count": math.inf}[limit.unit]
    if not math.isfinite(number) or not 0 <= number <= highest:
        between = "must not be negative" if highest == math.inf else f"must be 0 to {highest:g}"
        raise UsageError(f"{what} {value}: the {limit.unit} {between}", _advice(limit, what))
    return number


def _advice(limit: Limit, what: str) -> str:
    example = {"seconds": "250ms", "ratio": "5% or 0.05", "count": "3"}[limit.unit]
    return f"write for example {what} {example}"


def _from_file(named: str | None, environment: Mapping[str, str]) -> dict[str, float]:
    """Return the thresholds of the configuration file; the default one need not exist."""
    path = Path(named) if named is not None else _default_path(environment)
    if path is None:
        return {}
    try:
        text = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        if named is None:
            return {}
        raise ConfigError(f"{path}: {error.strerror}", "give --config a file") from error
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error.strerror}",
            "make the file readable, or name another with --config",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this is no text in UTF-8", "write it as YAML") from error
    return _limits(_tree(text, path), path)


def _default_path(environment: Mapping[str, str]) -> Path | None:
    home = environment.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(home):  # the XDG specification says to ignore a relative one
        home = os.path.join(environment.get("HOME", ""), ".config")
    return Path(home) / "podtrace" / "config.yaml" if os.path.isabs(home) else None


def _tree(text: str, path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigError(
            f"{path}{where}: this is no YAML: {problem}", "correct the file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: this is no usable YAML: {error}", "correct the file") from error


def _limits(tree: object, path: Path) -> dict[str, float]:
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: the file is no mapping",
            f"begin it with `{_SECTION}:` and one `key: value` a line below, indented",
        )
    for key in tree:
        if key != _SECTION:
            raise ConfigError(f"{path}: unknown key {key}", f"the only key is {_SECTION}")
    section = tree[_SECTION]
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise ConfigError(
            f"{path}: {_SECTION} is no mapping", "write one `key: value` a line below, indented"
        )
    limits = {}
    for key, value in section.items():
        limit = LIMITS.get(key) if isinstance(key, str) else None
        if limit is None:
            raise ConfigError(f"{path}: unknown key {_SECTION}.{key}", _near(str(key)))
        try:
            limits[limit.name] = parse_value(value, limit, limit.name)
        except UsageError as error:
            hint = (error.hint or "").replace(f"{limit.name} ", f"{limit.name}: ")
            raise ConfigError(f"{path}: {_SECTION}.{error.message}", hint) from error
    return limits


def _near(key: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key, LIMITS, n=1)
    return f"did you mean {near[0]}?" if near else f"the keys are {', '.join(LIMITS)}"
