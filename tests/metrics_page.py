"""The page of metrics as Prometheus's own parser reads it, and a meter to fill it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from podtracer.containers import ContainerNames
from podtracer.metrics.exposition import Exposition
from podtracer.metrics.meter import Meter
from podtracer.metrics.places import Places
from podtracer.tables import Process
from podtracer.target import Target

Labels = Mapping[str, str]
POD = Target(1, "pod", "web-0", namespace="shop", pod="web-0", containers=("app",))


class Page:
    """All samples of a page."""

    def __init__(self, text: bytes) -> None:
        self.text = text.decode()
        self.types: dict[str, str] = {}
        self.samples: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for family in text_string_to_metric_families(self.text):
            # The parser takes the suffix off a counter's name.
            name = family.name + ("_total" if family.type == "counter" else "")
            self.types[name] = family.type
            for sample in family.samples:
                key = frozenset(sample.labels.items())
                found = self.samples.setdefault(sample.name, {})
                assert key not in found, f"{sample.name} has {dict(key)} twice"
                found[key] = sample.value

    def value(self, name: str, **labels: str) -> float | None:
        """Return the only sample with these labels, whatever others it has; None: there is none."""
        wanted = labels.items()
        found = [v for key, v in self.samples.get(name, {}).items() if wanted <= dict(key).items()]
        assert len(found) < 2, f"{len(found)} samples of {name} with {labels}"
        return found[0] if found else None

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all samples with these labels."""
        wanted = labels.items()
        samples = self.samples.get(name, {}).items()
        return sum(value for key, value in samples if wanted <= dict(key).items())

    def labels_of(self, name: str) -> list[dict[str, str]]:
        """Return the labels of every sample of that name."""
        return [dict(key) for key in self.samples.get(name, {})]


class Names(ContainerNames):
    """Containers by their cgroup's id."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._by_cgroup = names

    def name(self, cgroup: int) -> str | None:
        return self._by_cgroup.get(cgroup)

    def of_container(self, identity: str) -> str:
        return f"name-of-{identity[:4]}"


class Metered:
    """A meter, and the page of what it counted."""

    def __init__(
        self,
        most: int = 100,
        targets: Iterable[Target] = (POD,),
        containers: Mapping[int, str] | None = None,
    ) -> None:
        self.places = Places(targets)
        names = Names({7: "app"} if containers is None else containers)
        self.meter = Meter(most, self.places, names)
        self._exposition = Exposition(self.meter.tables.values())

    def process(self, number: int, name: str, **fields: Any) -> None:
        """Tell of a process, that it lives or, with `exit_ns`, that it has ended."""
        given = {"target": 1, "container_cgroup": 7, "start_ns": 1, "exit_ns": 0, **fields}
        self.meter.note(
            Process(
                number=number,
                name=name,
                parent=1,
                pid=number,
                exit_status=0,
                entered=False,
                **given,
            )
        )

    def page(self) -> Page:
        return Page(b"".join(self._exposition.text()))
