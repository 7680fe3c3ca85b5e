"""From what a tick counted to the samples of the families.

The tick's groups are taken before they are folded into a bounded number of lines: what Prometheus
is told is exact, whatever the stream had room for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from podtrace.wire.schema import METRICS, OVERFLOW_PROCESS
from podtracer import records
from podtracer.cgroups import container_of
from podtracer.containers import ContainerNames
from podtracer.drain import CPU, Group, GroupKey
from podtracer.metrics import families
from podtracer.metrics.families import Family
from podtracer.metrics.places import Places, shown
from podtracer.metrics.roster import OVERFLOW, UNKNOWN, Name, Roster
from podtracer.metrics.samples import Labels, Samples
from podtracer.tables import Process
from podtracer.tick import error_name

_CPU_WORK_NS = 1_000_000


class _Timed(NamedTuple):
    """Where the durations of a metric go; `type` is their label."""

    histogram: Family
    latest: Family
    type: str


TIMED: Mapping[str, _Timed] = {
    "rtt": _Timed(families.RTT, families.RTT_LATEST, "rtt"),
    "dns": _Timed(families.DNS, families.DNS_LATEST, "query"),
    **{
        name: _Timed(families.LATENCY, families.LATENCY_LATEST, name)
        for name in ("connect", "send", "receive")
    },
    **{
        name: _Timed(families.FS, families.FS_LATEST, name)
        for name in ("open", "read", "write", "fsync")
    },
    **{
        name: _Timed(families.BLOCK, families.BLOCK_LATEST, name)
        for name in ("run_queue", "blocked")
    },
}

COUNTED: Mapping[str, Family] = {
    "connect_attempt": families.CONNECT_ATTEMPTS,
    "dns_query": families.DNS_QUERIES,
    "dns_timeout": families.DNS_TIMEOUTS,
    "dns_retry": families.DNS_RETRIES,
    "retransmit": families.RETRANSMITS,
    "reset": families.RESETS,
    "rtt_spike": families.RTT_SPIKES,
}
"""Metrics whose counts have a family of their own."""

MOVED = ("pipe", "socket", "terminal")
OPERATIONS = tuple(name for name, metric in METRICS.items() if metric.event) + MOVED
BYTES = ("send", "receive", "read", "write", *MOVED)
WAITED = ("send", "receive")
CALLS = ("send", "receive", "open", "read", "write", "fsync")


class Meter:
    """Counts what is told of processes, per tick; `tables` are the samples by family."""

    def __init__(self, most: int, places: Places, names: ContainerNames) -> None:
        self.tables = {name: Samples(family) for name, family in families.FAMILIES.items()}
        self._places = places
        self._names = names
        self._roster = Roster(most)
        self._labels: dict[int, Labels] = {}
        self._living: set[int] = set()
        self._ended: list[int] = []

    def table(self, family: Family) -> Samples:
        """Return the samples of a family."""
        return self.tables[family.name]

    def note(self, process: Process) -> None:
        """Take a process that is new, or has another name, or has ended."""
        number = process.number
        before = self._labels.get(number)
        place = self._places.of(process.target, self._names.name(process.container_cgroup))
        labels = self._labels[number] = (shown(process.name) or UNKNOWN, *place)
        if not process.exit_ns:
            self._roster.born(labels)
        if number in self._living and before is not None:
            self._roster.died(before)
        if process.exit_ns:
            self._living.discard(number)
        else:
            self._living.add(number)

    def forget(self, process: int) -> None:
        """Forget a process when this tick has been counted."""
        self._ended.append(process)

    def container(self, process: int, target: int) -> Labels:
        """Return the place of an event: that of its process, where it is known."""
        labels = self._labels.get(process)
        return self._places.of(target, None) if labels is None else labels[1:]

    def _whose(self, process: int, target: int) -> Labels:
        if process == OVERFLOW_PROCESS:
            return (OVERFLOW, *self._places.of_all())
        return self._labels.get(process) or (UNKNOWN, *self._places.of(target, None))

    def count(self, groups: Mapping[GroupKey, Group]) -> None:
        """Count what a tick added."""
        work: dict[Labels, int] = defaultdict(int)
        whose: dict[tuple[int, int], Labels] = {}
        for (metric, process, target, _), group in groups.items():
            labels = whose.get((process, target))
            if labels is None:
                labels = whose[process, target] = self._whose(process, target)
            spent = group.sum_ns // _CPU_WORK_NS if metric == CPU else group.operations
            work[labels] += spent
        names = self._roster.admit(work)
        latest: dict[tuple[Name, str], list[int]] = {}
        for (metric, process, target, label), group in groups.items():
            name = names[whose[process, target]]
            self._count(name, records.METRICS[metric], metric, label, group)
            if records.METRICS[metric] in TIMED and group.count:
                totals = latest.setdefault((name, records.METRICS[metric]), [0, 0])
                totals[0] += group.count
                totals[1] += group.sum_ns
        for (name, metric_name), (count, sum_ns) in latest.items():
            timed = TIMED[metric_name]
            table = self.table(timed.latest)
            table.set(name.sample(table, (timed.type,)), sum_ns / count)
        self._drop_ended()

    def _drop_ended(self) -> None:
        for process in self._ended:
            labels = self._labels.pop(process, None)
            if process in self._living and labels is not None:
                self._living.discard(process)
                self._roster.died(labels)
        self._ended.clear()

    def _count(self, name: Name, metric: str, number: int, label: int, group: Group) -> None:
        failed = sum(group.errors.values())
        if metric in OPERATIONS:
            beside = 0 if METRICS[metric].errors_timed else failed
            if group.count or beside:
                self._add(name, families.OPERATIONS, group.count + beside, metric)
        if metric in TIMED and group.count:
            timed = TIMED[metric]
            table = self.table(timed.histogram)
            table.observe(name.sample(table, (timed.type,)), group.slots, group.sum_ns)
        if metric in BYTES and (group.count or group.bytes):
            self._add(name, families.BYTES, group.bytes, metric)
        if metric in WAITED:
            self._add(name, families.WAIT, group.wait_ns, metric)
        if metric in COUNTED and group.count:
            self._add(name, COUNTED[metric], group.count)
        if metric == "cpu":
            self._add(name, families.CPU, group.sum_ns)
        elif metric == "blocked" and group.count:
            self._add(name, families.OFF_CPU, group.sum_ns, records.REASONS[label])
        for code, count in group.errors.items():
            self._add_error(name, metric, error_name(number, code), count)

    def _add_error(self, name: Name, metric: str, error: str, count: int) -> None:
        if metric == "connect":
            self._add(name, families.CONNECT_FAILURES, count, error)
        elif metric == "dns":
            self._add(name, families.DNS_ERRORS, count, error)
        elif metric in CALLS:
            self._add(name, families.OPERATION_ERRORS, count, metric, error)

    def _add(self, name: Name, family: Family, amount: int, *extra: str) -> None:
        table = self.table(family)
        table.add(name.sample(table, extra), amount)

    def event(self, fields: Mapping[str, Any]) -> None:
        """Count an event that no counter in the kernel has."""
        target = fields["target"]
        if fields["event"] == "oom_kill":
            place = self.container(fields["process"], target)
            self.table(families.OOM_KILLS).add(place, 1)
        elif fields["event"] == "container_restart":
            place = self._places.of(target, fields["name"])
            self.table(families.RESTARTS).add(place, 1)

    def throttled(self, target: int, cgroup: str, periods: int, ns: int) -> None:
        """Add what the CPU quota of a cgroup, by its path, held back."""
        container = container_of(cgroup)
        name = self._names.of_container(container) if container else None
        place = self._places.of(target, name)
        self.table(families.THROTTLED).add(place, ns)
        self.table(families.THROTTLED_PERIODS).add(place, periods)
