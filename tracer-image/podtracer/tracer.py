"""The run: resolve, load, say hello, tick until something ends it, say goodbye.

Every way to end passes through the same place: COMMAND is stopped first, then the probes are
detached, then the counters are read a last time, so that the last tick holds all that was counted.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any

from podtrace.wire.schema import EVENT
from podtracer import cgroups
from podtracer.arrivals import Arrivals
from podtracer.command import Command
from podtracer.command_cgroup import remove_leftovers
from podtracer.containers import ContainerNames
from podtracer.cost import OwnCost, RunTime
from podtracer.emit import Stream, StreamClosed
from podtracer.ends import Ends
from podtracer.errors import TracerError, defect
from podtracer.following import Following
from podtracer.hello import hello_fields
from podtracer.listeners import Listeners
from podtracer.loader import Loader, Stopped
from podtracer.maps import OpenMaps
from podtracer.metering import Metering
from podtracer.node_errors import on_node
from podtracer.own_memory import own_memory_file
from podtracer.plan import Plan, sizes_from_environment
from podtracer.request import Request, scope_of
from podtracer.ring import RingBuffer
from podtracer.stops import Stops
from podtracer.target import Changes, Scope, alive
from podtracer.throttle import Throttling

_SECOND_NS = 1_000_000_000
_TOO_LATE = TracerError(
    "limit",
    "the tracer's time was over before its probes were attached",
    "Is the machine very busy? Try again, or trace for longer.",
)


def run(request: Request, stream: Stream, loader: Loader) -> int:
    """Trace with what `loader` loads and write the stream; return the process's exit code."""
    stops = Stops(marked_first=request.own.bare)
    command = metering = None
    try:
        known = cgroups.hierarchies(hidden=request.hidden)
        if not request.pods:
            remove_leftovers(known)
        if request.command:
            command = Command(
                request.command, request.uid, request.gid, known, request.held, request.path
            )
        metering = Metering(request)
        scope = scope_of(request, command, known)
        return _Run(request, stream, loader, scope, command, stops, metering).run()
    except StreamClosed:
        return 1
    except Stopped:
        if stops.expired:
            _tell(request, stream, _TOO_LATE)
        return 1
    except Exception as error:
        _tell(request, stream, defect(error))
        return 1
    finally:
        if metering is not None:
            metering.close()
        if command is not None:
            command.end()


def _tell(request: Request, stream: Stream, error: TracerError) -> None:
    told = on_node(error, request.own.node) if request.pods else error
    stream.error(told.as_fields())


class _Run:
    def __init__(
        self,
        request: Request,
        stream: Stream,
        loader: Loader,
        scope: Scope,
        command: Command | None,
        stops: Stops,
        metering: Metering,
    ) -> None:
        self._metering = metering
        self._request = request
        self._stream = stream
        self._loader = loader
        self._scope = scope
        self._command = command
        self._stops = stops
        self._listeners = self._make_listeners()
        self._ends = Ends(stops, scope, command, request.parent, self._listeners)
        self._plan = self._make_plan()

    def _make_listeners(self) -> Listeners | None:
        seconds = self._request.unheard_seconds
        if seconds is None:
            return None
        log = self._request.own.log_pattern(self._scope.known)
        return Listeners(log, seconds, scraped_ns=self._metering.scraped_ns)

    def _make_plan(self) -> Plan:
        sizes, ring_bytes = sizes_from_environment()
        return Plan(
            cgroups=self._scope.cgroup_ids,
            levels=self._scope.levels,
            subsystem=self._scope.known.subsystem,
            pids=self._scope.pids,
            packet_cgroups=self._scope.packet_cgroups,
            moving=self._scope.moving,
            thresholds=self._request.thresholds,
            entries=sizes,
            ring_bytes=ring_bytes,
            hidden=self._request.hidden,
        )

    def run(self) -> int:
        self._metering.start()
        check = self._listeners.check if self._listeners is not None else lambda: None
        self._loaded = self._loader.load(self._plan, self._stops, meanwhile=check)
        try:
            self._open_tables()
            self._following = Following(self._scope, self._loaded, self._maps)
            self._arrivals = Arrivals()
            self._apply(self._scope.first_changes(), time.monotonic_ns())
            if self._scope.moving:
                # What came while the probes were compiled would wait for the first tick.
                self._follow(time.monotonic_ns())
            self._began_ns = self._tables.baseline()
            self._ends.begin(self._began_ns, self._request.seconds)
            self._maps.set_window_start(self._began_ns)
            self._run_time.recursion_misses(self._maps.losses()["taken_over"])
            self._throttling = Throttling(self._scope)
            if self._command is not None:
                self._command.start()
            elif self._scope.pids and not alive(min(self._roots())):
                raise TracerError(
                    "no_process",
                    f"process {min(self._roots())} ended before it could be traced",
                    "Start the command under podtrace: -- COMMAND",
                )
            self._say_hello()
            try:
                reason = self._tick_until_stopped()
            finally:
                self._run_time.close()
            self._finish(reason)
        except StreamClosed:
            return 1
        finally:
            if self._command is not None:
                self._command.interrupt(in_haste=True)
            self._loaded.close()
        return 0

    def _roots(self) -> tuple[int, ...]:
        return tuple(target.pid for target in self._scope.targets)

    def _open_tables(self) -> None:
        self._wall_offset_ns = time.time_ns() - time.monotonic_ns()
        self._maps = OpenMaps(self._loaded.maps, self._plan)
        self._names = ContainerNames(self._scope)
        self._tables = self._maps.tables(self._names.name, self._wall_offset_ns)
        self._tables.meter = self._metering.begin(self._scope, self._loaded.probes, self._names)
        self._scope.exit_code_of = self._tables.exit_code_of
        self._ring = RingBuffer(self._loaded.maps["events"], self._plan.ring_bytes)
        self._cost = OwnCost(own_memory_file() if self._request.pods else None)
        self._run_time = RunTime(self._loaded.programs)

    def _say_hello(self) -> None:
        wall = self._wall_offset_ns
        deadline_ns = self._ends.deadline_ns
        fields = hello_fields(
            self._scope,
            self._loaded.probes,
            self._request.thresholds,
            self._request.own.node,
            self._listeners,
            self._metering.address,
        )
        self._stream.hello(
            {
                **fields,
                "window_start_ns": self._began_ns + wall,
                "map_bytes": self._maps.size_bytes(),
                "deadline_ns": None if deadline_ns is None else deadline_ns + wall,
            }
        )

    def _tick_until_stopped(self) -> str:
        self._tick_began_ns = self._began_ns
        next_tick_ns = self._next_second(time.monotonic_ns())
        closed = select.poll()
        closed.register(self._stops.fd, select.POLLIN)
        closed.register(self._stream.fd, 0)
        arrivals = self._arrivals
        if self._scope.moving and arrivals.fd >= 0:
            closed.register(arrivals.fd, select.POLLIN)
        while True:
            now = time.monotonic_ns()
            if arrivals.due_ns is not None and now >= arrivals.due_ns:
                self._follow(now)
            self._run_time.step(now)
            reason = self._ends.reason(now)
            if reason:
                return reason
            if now >= next_tick_ns:
                self._tick(now)
                next_tick_ns = self._next_second(time.monotonic_ns())
            until = [next_tick_ns, self._run_time.wake_ns()]
            until += [at for at in (self._ends.deadline_ns, arrivals.due_ns) if at is not None]
            wait_ns = max(min(until) - time.monotonic_ns(), 0)
            for fd, flags in closed.poll(wait_ns / 1e6 + 0.2):
                if fd == self._stops.fd:
                    os.read(fd, 4096)
                elif fd == arrivals.fd:
                    arrivals.note()
                elif flags & (select.POLLERR | select.POLLHUP):
                    return "stdout_closed"

    def _next_second(self, now_ns: int) -> int:
        wall = now_ns + self._wall_offset_ns
        return (wall // _SECOND_NS + 1) * _SECOND_NS - self._wall_offset_ns

    def _tick(self, now_ns: int) -> None:
        if self._command is None:
            self._follow(now_ns)
        self._collect(now_ns)
        self._ends.look(now_ns, self._tables.gauges["processes"])

    def _follow(self, now_ns: int) -> None:
        self._apply(self._scope.changes(now_ns), now_ns)

    def _apply(self, changes: Changes, now_ns: int) -> None:
        self._following.apply(changes)
        self._arrivals.watch(self._scope.arrivals(), now_ns)
        if changes.named:
            self._tables.resend(lambda cgroup: self._names.container(cgroup) in changes.named)
        for event in changes.events:
            self._stream.add(EVENT, event)

    def _collect(self, now_ns: int) -> None:
        # First: whoever is in an event has been entered, and has a name when it is told.
        records = list(self._ring.records())
        self._tables.collect(self._stream, now_ns, self._throttling.gains())
        self._tables.add_events(self._stream, records, self._began_ns)
        interval_ns = now_ns - self._tick_began_ns
        self._tick_began_ns = now_ns
        health, events = self._health(interval_ns), self._stream.events()
        self._stream.end_tick(health, now_ns + self._wall_offset_ns)
        self._metering.tick(events, self._throttling.by_cgroup, health, now_ns)

    def _health(self, interval_ns: int) -> dict[str, Any]:
        losses = self._maps.losses()
        suppressed = losses.pop("suppressed")
        losses["recursion_missed"] = self._run_time.recursion_misses(losses.pop("taken_over"))
        losses["lines_dropped"] = 0
        losses["packets_unseen"], self._following.unseen = self._following.unseen, 0
        losses["processes_unlisted"] = self._tables.unlisted
        return {
            "interval_ns": interval_ns,
            "lost": losses,
            "suppressed": suppressed,
            "overflow": self._tables.overflowed,
            "gauges": {
                **self._tables.gauges,
                "connects_in_progress": self._maps.connects_in_progress(),
            },
            **self._cost.fields(),
            "bpf_ns_estimate": self._run_time.estimate_ns(interval_ns),
        }

    def _finish(self, reason: str) -> None:
        if self._command is not None:
            self._command.interrupt(in_haste=reason in ("parent_died", "stdout_closed"))
        # A wait that ends while the probes are detached would reach beyond the end.
        self._maps.set_window_start(0)
        # The first link is that of the context switches: from here on no CPU time is counted.
        os.close(self._loaded.links.pop(0))
        now = time.monotonic_ns()
        while self._loaded.links:
            os.close(self._loaded.links.pop())
        self._following.close()
        if self._ends.deadline_ns is not None and reason == "deadline":
            now = max(now, self._ends.deadline_ns)
        self._collect(now)
        code = self._command.poll() if self._command is not None else None
        self._stream.end({"reason": reason, "exit_code": code})
