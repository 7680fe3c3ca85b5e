"""The probes' maps, opened: what each holds by key and value, and the small ones read directly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from podtrace.wire.histogram import SLOTS
from podtracer import bpf, records
from podtracer.drain import OpenIntervals, SeriesTable
from podtracer.plan import FILTER_SLOTS, TARGET_ENTRIES, Plan
from podtracer.tables import DnsPending, FileTable, LabelTable, ProcessTable, entries
from podtracer.tick import Tables

_ASPECTS = 256
_WINDOW_START, _TARGETS_ADDED = 0, 1


class OpenMaps:
    """Maps by the descriptors that the loader handed over."""

    def __init__(self, descriptors: Mapping[str, int], plan: Plan) -> None:
        self._descriptors = descriptors
        self._sizes = plan.entries
        self._targets = self._map("targets", 8, 4, TARGET_ENTRIES)
        self._filter = self._map("target_filter", 4, 1, FILTER_SLOTS)
        self._entered: set[int] = set()
        self._sockets = self._map(
            "sockets", records.U64.size, records.SOCKET_VALUE.size, plan.entries["sockets"]
        )
        self._moments = self._map("moments", 4, 8, 2)
        self._lost = self._map("lost", 4, 8, len(records.LOSSES))
        self._lost_before = dict.fromkeys(records.LOSSES, 0)

    def _map(self, name: str, key_bytes: int, value_bytes: int, count: int) -> bpf.Map:
        return bpf.Map(self._descriptors[name], key_bytes, value_bytes, count)

    def tables(self, container_name: Callable[[int], str | None], wall_offset_ns: int) -> Tables:
        """Return the tables that a tick reads."""
        sizes = self._sizes
        key, value = records.SERIES_KEY.size, records.SERIES_VALUE.size
        file_key, file_value = records.FILE_KEY.size, records.FILE_VALUE.size
        dns_key, dns_value = records.DNS_KEY_BYTES, records.DNS_VALUE.size
        every_slot = len(records.METRICS) * SLOTS
        return Tables(
            SeriesTable(
                self._map("series", key, value, sizes["series"]),
                self._map("overflow", 4, value, every_slot),
                self._map("overflow_aspects", 4, 8, _ASPECTS),
            ),
            OpenIntervals(self._map("threads", 4, records.THREAD_VALUE_BYTES, sizes["threads"])),
            ProcessTable(self._map("processes", 4, records.PROCESS_VALUE.size, sizes["processes"])),
            LabelTable(self._map("labels", 8, records.LABEL_VALUE.size, sizes["labels"])),
            FileTable(self._map("files", file_key, file_value, sizes["files"])),
            DnsPending(self._map("dns_pending", dns_key, dns_value, sizes["dns"]), dns_key),
            container_name,
            wall_offset_ns,
        )

    def size_bytes(self) -> int:
        """Memory of all maps."""
        return sum(bpf.map_bytes(fd) for fd in self._descriptors.values())

    def set_window_start(self, monotonic_ns: int) -> None:
        """Tell the probes from when on waiting and DNS questions count; 0: no longer."""
        self._moments.update(records.U32.pack(_WINDOW_START), records.U64.pack(monotonic_ns))

    def set_targets_added(self, monotonic_ns: int) -> None:
        """Tell the iterators that what a probe has met since then was there before."""
        self._moments.update(records.U32.pack(_TARGETS_ADDED), records.U64.pack(monotonic_ns))

    def add_target(self, cgroup: int, number: int) -> None:
        """Let what is in a cgroup belong to a target from now on."""
        self._entered.add(cgroup)
        self._targets.update(records.U64.pack(cgroup), records.U32.pack(number))
        self._filter.update(records.U32.pack(cgroup % FILTER_SLOTS), b"\1")

    def drop_target(self, cgroup: int) -> None:
        """Let nothing belong any more to a cgroup that has gone."""
        self._targets.delete(records.U64.pack(cgroup))
        self._entered.discard(cgroup)
        slot = cgroup % FILTER_SLOTS
        if all(other % FILTER_SLOTS != slot for other in self._entered):
            self._filter.update(records.U32.pack(slot), b"\0")

    def losses(self) -> dict[str, int]:
        """Return what was lost since the last call by place, and `suppressed` and `taken_over`."""
        gained = {}
        for index, place in enumerate(records.LOSSES):
            (count,) = records.U64.unpack(self._lost.lookup(records.U32.pack(index)) or bytes(8))
            gained[place] = count - self._lost_before[place]
            self._lost_before[place] = count
        # Packets whose sender is no member thread are counted under the unknown process.
        del gained["unknown_owner"]
        return gained

    def connects_in_progress(self) -> int:
        """Count the connects that are not decided at this moment."""
        count = 0
        for _, value in entries(self._sockets, records.U64.size, records.SOCKET_VALUE.size):
            start_ns, *_, established = records.SOCKET_VALUE.unpack(value)
            count += bool(start_ns) and not established
        return count
