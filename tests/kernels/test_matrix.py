"""The same tracer, the same workload, the same exact counts on every kernel and cgroup version."""

from __future__ import annotations

import pytest

from kernels.cases import COUNTING, LOCKED_DOWN, WITHOUT_BTF, Case
from kernels.guest.boot import Outcome
from kernels.guests import Guests
from kernels.kept import keep
from kernels.verdict import Verdict


@pytest.mark.parametrize("case", COUNTING, ids=str)
def test_counts_are_exact(case: Case, guests: Guests) -> None:
    outcome = guests.outcome(case)
    verdict = Verdict.read(outcome.folder)
    where = f"see {outcome.folder}/output"
    failed = [name for name in verdict.failed if not _is_told_as_skipped(name, case, verdict)]
    assert failed == [], where
    assert verdict.skipped == {}, where
    assert outcome.code == bool(verdict.failed), where
    assert all(verdict.passed_of(tests) for tests in case.tests), where
    assert verdict.hello["cgroup_mode"] == case.order.cgroups
    keep(case, verdict)


def _is_told_as_skipped(test: str, case: Case, verdict: Verdict) -> bool:
    """Tell whether nothing was lost but runs of probes that the kernel skipped and counted.

    The newest kernel does so where a run takes as long as on an emulated machine.
    """
    return (
        case.kernel == "newest"
        and "::test_nothing_is_lost" in test
        and set(verdict.lost) == {"recursion_missed"}
    )


@pytest.mark.parametrize("case", [WITHOUT_BTF], ids=str)
def test_kernel_without_btf_is_refused_with_the_reason(case: Case, guests: Guests) -> None:
    said = _refusal(guests.outcome(case))
    assert "/sys/kernel/btf/vmlinux is not there" in said
    assert "CONFIG_DEBUG_INFO_BTF" in said


@pytest.mark.parametrize("case", [LOCKED_DOWN], ids=str)
def test_kernel_that_is_locked_down_is_refused_with_the_way_out(case: Case, guests: Guests) -> None:
    said = _refusal(guests.outcome(case))
    assert "locked down (confidentiality)" in said
    assert "lockdown=integrity" in said


def _refusal(outcome: Outcome) -> str:
    """Return the one error that was all the program said."""
    said = (outcome.folder / "results" / "stderr").read_text()
    assert outcome.code == 1, said
    assert (outcome.folder / "results" / "stdout").read_text() == ""
    assert said.startswith("error: ")
    assert said.count("error: ") == 1
    assert "Traceback" not in said
    return said
