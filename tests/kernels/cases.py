"""What is run where: a guest for each kernel and way of mounting cgroups, and some that refuse."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.guest.kernel import SUITES
from kernels.guest.payload import IMAGE_PYTHON, Order

CGROUP_MODES = ("v2", "hybrid", "v1")
RESULTS = "/guest/results"
_LEFT_OUT = (
    "(test_dns and calls)",  # how the guests without cgroups of version 2 see all of their DNS
    *("waited", "bind_mount"),  # long, and nothing that depends on the kernel
    "slow_operations_are_events",  # any operation may be slow on an emulated machine
    "tracepoint",  # what the probes are at in all other tests
)
_PYTEST = (
    *("python3", "-m", "pytest", "-c", "tests/kernels/guest/inside/pytest.ini"),
    *("--rootdir=/podtrace", "-p", "no:cacheprovider", "--color=no", "--durations=15"),
    *("-k", " and ".join(f"not {name}" for name in _LEFT_OUT)),
    *(f"--basetemp={RESULTS}/tmp", f"--junit-xml={RESULTS}/junit.xml"),
)
_EVERYWHERE = ("test_pod_layouts.py", "test_exact_counts.py::TestCgroup")
_ONCE_PER_KERNEL = (
    *("test_exact_counts.py::TestProcess", "test_capabilities.py"),
    *("test_dns.py", "test_connections.py", "test_files.py"),
)
_AT_FUNCTIONS = (
    "test_hooks.py::TestFunctions",
    "test_hooks.py::test_what_is_rare_is_counted_by_every_hook",
)
_WITH_FUNCTIONS = ("5.10", "newest")
"""Kernels on which probes are moved from tracepoints to functions: nothing of it is in between."""


@dataclass(frozen=True, eq=False)
class Case:
    """A guest to boot, and what to run in it."""

    name: str
    kernel: str
    order: Order
    parameters: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    """Test modules and classes that have to pass in it."""

    def __str__(self) -> str:
        return self.name


def _counting(kernel: str, cgroups: str) -> Case:
    names = _EVERYWHERE
    if cgroups == "v2":
        names += _ONCE_PER_KERNEL
    elif cgroups == "hybrid" and kernel in _WITH_FUNCTIONS:
        names += _AT_FUNCTIONS
    tests = tuple(f"tests/kernel/{name}" for name in names)
    order = Order([*_PYTEST, *tests], cgroups, environment=dict(IMAGE_PYTHON))
    return Case(f"{kernel}-{cgroups}", kernel, order, tests=tests)


COUNTING = [_counting(kernel, cgroups) for cgroups in CGROUP_MODES for kernel in SUITES]
"""The longest first, so that two guests at a time end together."""

_REFUSED = [
    *("sh", "-c"),
    f"exec python3 -m podtrace --local --diagnose 1s --pid 1 >{RESULTS}/stdout 2>{RESULTS}/stderr",
]
WITHOUT_BTF = Case("without-btf", "6.12", Order(_REFUSED, hide_btf=True))
LOCKED_DOWN = Case("locked-down", "6.1", Order(_REFUSED), parameters=("lockdown=confidentiality",))
ALL = [*COUNTING, WITHOUT_BTF, LOCKED_DOWN]
