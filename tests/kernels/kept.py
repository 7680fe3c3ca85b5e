"""Verdicts of the last run on each kernel, which the page about kernels is written from."""

from __future__ import annotations

from pathlib import Path

from kernels.cases import COUNTING, Case
from kernels.guest.debian import CACHE
from kernels.verdict import Verdict


def keep(case: Case, verdict: Verdict) -> None:
    """Keep a verdict, in place of the case's last one."""
    path = _path(case)
    path.parent.mkdir(exist_ok=True)
    verdict.save(path)


def forget() -> None:
    """Forget all of them, so that a page is only written from one run."""
    for case in COUNTING:
        _path(case).unlink(missing_ok=True)


def kept() -> dict[Case, Verdict]:
    """Return the verdicts that there are."""
    return {case: Verdict.load(_path(case)) for case in COUNTING if _path(case).exists()}


def _path(case: Case) -> Path:
    return CACHE.folder / "verdicts" / f"{case.name}.json"
