"""Metrics as the run sees them: ready before the probes are compiled, fed by each tick."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from podtracer.address import Address, bind, bound
from podtracer.containers import ContainerNames
from podtracer.errors import TracerError
from podtracer.metrics import families
from podtracer.metrics.connection import Answer
from podtracer.metrics.health import Health
from podtracer.metrics.http_request import Request
from podtracer.metrics.meter import Meter
from podtracer.metrics.page import Page
from podtracer.metrics.places import Places
from podtracer.metrics.samples import Samples
from podtracer.metrics.server import Server
from podtracer.target import Scope

PAGE, HEALTHZ = "/metrics", "/healthz"
STALE_NS = 5_000_000_000
_PLAIN = "text/plain; charset=utf-8"


class Metrics:
    """The page and its server; raises TracerError where there can be none.

    Times are monotonic nanoseconds. `scraped_ns` is when the page was last read to its end.
    """

    def __init__(self, address: Address, most_processes: int) -> None:
        try:
            from podtracer.metrics import exposition
        except ImportError as error:
            raise _missing(error) from error
        self._exposition = exposition
        listener = bind(address)
        self.address = str(bound(listener))
        self.scraped_ns: int | None = None
        self._most_processes = most_processes
        self._page: Page | None = None
        self._age = Samples(families.TICK_AGE)
        self._server = Server(listener, self._answer)

    def start(self) -> None:
        """Begin to answer; call when nothing will be forked any more."""
        self._server.start()

    def begin(
        self,
        scope: Scope,
        probes: Iterable[Mapping[str, Any]],
        node: str,
        names: ContainerNames,
    ) -> Meter:
        """Take what is traced and by which probes; return what counts the ticks."""
        places = Places(scope.targets)
        self.meter = Meter(self._most_processes, places, names)
        attached = {probe["family"] for probe in probes if probe["state"] == "attached"}
        self._health = Health(self.meter, attached, node)
        self._health.begin(places, scope.targets)
        tables = [
            samples for name, samples in self.meter.tables.items() if name != families.TICK_AGE.name
        ]
        self._text = self._exposition.Exposition(tables)
        self._age_text = self._exposition.Exposition([self._age])
        return self.meter

    def tick(
        self,
        events: Iterable[Mapping[str, Any]],
        throttled: Mapping[tuple[int, str], tuple[int, int]],
        health: Mapping[str, Any],
        now_ns: int,
    ) -> None:
        """Show what the tick counted, of which these are events, throttling and health line."""
        for event in events:
            self.meter.event(event)
        for (target, cgroup), (periods, ns) in throttled.items():
            self.meter.throttled(target, cgroup, periods, ns)
        self._health.tick(health)
        self._page = Page(self._text.text(), now_ns)

    def close(self) -> None:
        """Stop answering."""
        self._server.close()

    def _answer(self, request: Request) -> Answer:
        if request.path not in (PAGE, HEALTHZ):
            return Answer(404, _PLAIN, [f"Not here: {PAGE} and {HEALTHZ} are.\n".encode()])
        if request.method not in ("GET", "HEAD"):
            return Answer(405, _PLAIN, [b"GET only.\n"], [("Allow", "GET, HEAD")])
        page, now_ns = self._page, time.monotonic_ns()
        if request.path == HEALTHZ:
            fresh = page is not None and now_ns - page.tick_ns < STALE_NS
            return Answer(200 if fresh else 503, _PLAIN, [b"ok\n" if fresh else b"no tick\n"])
        if page is None:
            return Answer(503, _PLAIN, [b"No tick has ended yet.\n"], [("Retry-After", "1")])
        self._age.set((), now_ns - page.tick_ns)
        done = self._note_scrape if request.method == "GET" else lambda: None
        end, fields = self._age_text.text(), [("Vary", "Accept-Encoding")]
        body = page.compressed(end) if request.gzip else page.plain(end)
        if request.gzip:
            fields.append(("Content-Encoding", "gzip"))
        return Answer(200, self._exposition.CONTENT_TYPE, body, fields, done)

    def _note_scrape(self) -> None:
        self.scraped_ns = time.monotonic_ns()


def _missing(error: ImportError) -> TracerError:
    return TracerError(
        "no_prometheus_client",
        f"metrics need prometheus_client, which is not installed for {sys.executable}: {error}",
        "Install it with: apt install python3-prometheus-client",
    )
