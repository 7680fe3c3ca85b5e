"""Writes the results in docs/kernels.md: `python -m kernels.page`, behind a run of all guests."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from kernels.cases import CGROUP_MODES, COUNTING, Case
from kernels.guest.kernel import SUITES
from kernels.kept import kept
from kernels.verdict import Verdict

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kernels.md"
BEGIN, END = "<!-- results of make kernels -->", "<!-- end of the results -->"
_MODES = {"v2": "version 2", "hybrid": "hybrid", "v1": "version 1"}


def main() -> int:
    """Write the page, or leave it alone where guests are missing."""
    verdicts = kept()
    if missing := [case.name for case in COUNTING if case not in verdicts]:
        print(f"{PAGE.name} stays as it is: this run had no results of {', '.join(missing)}")
        return 0
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, behind = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{results(verdicts)}\n{END}{behind}")
    return 0


def results(verdicts: dict[Case, Verdict]) -> str:
    """Return the tables in Markdown."""
    head = [
        "kernel",
        "of Debian",
        "cgroups",
        "tests",
        "probes attached",
        "not full",
        "lost",
    ]
    parts = [_table(head, [_summary(case, verdict) for case, verdict in verdicts.items()])]
    for modes, chosen in _alike(verdicts):
        parts.append(f"Hooks with cgroups {' and '.join(modes)}:\n")
        names = [probe["name"] for probe in _probes(chosen[-1])]
        rows = [[f"`{name}`", *(_hook(verdict, name) for verdict in chosen)] for name in names]
        parts.append(_table(["probe", *(_version(verdict) for verdict in chosen)], rows))
    return "\n".join(parts)


def _summary(case: Case, verdict: Verdict) -> list[str]:
    probes = _probes(verdict)
    attached = sum(probe["state"] == "attached" for probe in probes)
    sections = verdict.hello["sections"].items()
    lacking = [f"{name}: {state['state']}" for name, state in sections if state["state"] != "full"]
    return [
        verdict.hello["kernel"],
        SUITES[case.kernel],
        _MODES[case.order.cgroups],
        f"{len(verdict.passed)} passed",
        f"{attached} of {len(probes)}",
        "; ".join(lacking) or "nothing",
        ", ".join(f"{place} {n}" for place, n in verdict.lost.items()) or "nothing",
    ]


def _alike(verdicts: dict[Case, Verdict]) -> Iterable[tuple[list[str], list[Verdict]]]:
    """Yield modes with the same hooks on every kernel, and what was said there."""
    found: list[tuple[list[str], list[Verdict], object]] = []
    for mode in CGROUP_MODES:
        chosen = [verdict for case, verdict in verdicts.items() if case.order.cgroups == mode]
        hooks = [[(p["name"], p["hook"], p["state"]) for p in _probes(v)] for v in chosen]
        for modes, _, same in found:
            if hooks == same:
                modes.append(_MODES[mode])
                break
        else:
            found.append(([_MODES[mode]], chosen, hooks))
    return [(modes, chosen) for modes, chosen, _ in found]


def _probes(verdict: Verdict) -> list[dict[str, str]]:
    probes: list[dict[str, str]] = verdict.hello["probes"]
    return probes


def _hook(verdict: Verdict, name: str) -> str:
    """Return the hook of a probe, or what is there in its place."""
    found = [probe for probe in _probes(verdict) if probe["name"] == name]
    if not found:
        return "-"
    (probe,) = found
    if probe["state"] == "attached":
        return probe["hook"].removesuffix(f"/{name}")
    return f"{probe['state']}: {probe['reason']}"


def _version(verdict: Verdict) -> str:
    return ".".join(verdict.hello["kernel"].split(".")[:2])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
