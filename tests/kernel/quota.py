"""CPU quotas for workloads, by version 1 of cgroups or by version 2, and the kernel's account."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from workload.stage import Stage, StageError, cgroup_mount


@dataclass(frozen=True)
class Quota:
    """A quota on a target: the cgroups that a workload joins, and where the account is kept."""

    join: tuple[Path, ...]
    account: Path

    def throttled(self) -> tuple[int, float]:
        """Return throttled periods and seconds so far."""
        lines = (self.account / "cpu.stat").read_text().splitlines()
        fields = dict(line.split() for line in lines)
        if "throttled_usec" in fields:
            return int(fields["nr_throttled"]), int(fields["throttled_usec"]) / 1e6
        return int(fields["nr_throttled"]), int(fields["throttled_time"]) / 1e9


def limit(stage: Stage, cgroup: Path, quota_us: int, period_us: int = 100_000) -> Quota:
    """Put a quota on a cgroup of version 2, directly or through a twin of version 1.

    Skips the test where no CPU controller is to be had.
    """
    try:
        twin = stage.cgroup(cgroup.name, cgroup_mount("cpu"))
    except StageError:
        if not (cgroup / "cpu.max").exists():
            pytest.skip("no cpu controller")
        (cgroup / "cpu.max").write_text(f"{quota_us} {period_us}")
        return Quota((cgroup,), cgroup)
    (twin / "cpu.cfs_period_us").write_text(str(period_us))
    (twin / "cpu.cfs_quota_us").write_text(str(quota_us))
    return Quota((cgroup, twin), twin)
