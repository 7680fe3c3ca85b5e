"""Machines that this one is not: what the environment hides from the tracer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from workload.stage import VERSION_1 as CONTROLLERS
from workload.stage import Stage, StageError, cgroup_mount

VERSION_1 = ("cgroup2",)
"""No version 2 hierarchy is mounted."""
NO_PACKETS = ("hook cgroup_skb/egress", "hook cgroup_skb/ingress")
"""The kernel lets nobody see the packets of cgroups."""


def stage_of_version_1() -> Iterator[Stage]:
    """Yield a stage whose cgroups are of version 1, or skip the test where there are none."""
    for controller in CONTROLLERS:
        try:
            cgroup_mount(controller)
        except StageError:
            continue
        with Stage(controller) as stage:
            yield stage
        return
    pytest.skip("no controller of version 1 is mounted")
