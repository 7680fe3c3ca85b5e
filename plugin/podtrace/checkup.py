"""What `doctor` found: one check after the other, and the sections that a report would have.

Plain data between those who ask, in the cluster package, and those who show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from podtrace.errors import PodtraceError

SCHEMA = "podtrace.doctor/1"

State = Literal["ok", "warning", "failed", "skipped"]
OK: State = "ok"
WARNING: State = "warning"
FAILED: State = "failed"
SKIPPED: State = "skipped"
STATES: tuple[State, ...] = (OK, WARNING, FAILED, SKIPPED)
"""Of these, `failed` alone says that a trace would not work; `warning` that it would lack
something, `skipped` that this could not be asked."""


@dataclass(frozen=True)
class Check:
    """One answer.

    Args:
        name: what was looked at, such as `Node worker-1`.
        state: what that means for a trace.
        found: what there is; one line, raw.
        fix: what to do; several lines, raw. A line that begins with two spaces is to be copied.
    """

    name: str
    state: State
    found: str
    fix: str | None = None


@dataclass(frozen=True)
class SectionOutlook:
    """What a section of the report would hold: `state` is full, degraded or blank, and why."""

    state: str
    reason: str | None = None


@dataclass(frozen=True)
class Checkup:
    """All that `doctor` found.

    Args:
        checks: in the order in which they were made.
        sections: by the keys of the report, as the tracers said; None where none was started.
    """

    checks: tuple[Check, ...]
    sections: Mapping[str, SectionOutlook] | None = None

    @property
    def works(self) -> bool:
        """Whether nothing was found that would keep a trace from working."""
        return all(check.state != FAILED for check in self.checks)


def check_of(name: str, error: PodtraceError, state: State = FAILED) -> Check:
    """Return the check that an error is the answer to."""
    advice = [*([error.hint] if error.hint else []), *error.details]
    fix = "\n".join(" ".join(line.splitlines()) for line in advice)
    return Check(name, state, error.message, fix or None)


def to_tree(checkup: Checkup) -> dict[str, Any]:
    """Return the tree of docs/doctor.schema.json."""
    sections = checkup.sections
    return {
        "schema": SCHEMA,
        "works": checkup.works,
        "checks": [
            {"name": each.name, "state": each.state, "found": each.found, "fix": each.fix}
            for each in checkup.checks
        ],
        "sections": None
        if sections is None
        else {
            key: {"state": outlook.state, "reason": outlook.reason}
            for key, outlook in sections.items()
        },
    }
