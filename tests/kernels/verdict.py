"""What a run of pytest in a guest came to, and what the tracer said of itself there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

_TRACE = "results/tmp/cgroup0/trace-0.jsonl"
"""The recording of test_exact_counts.py."""


@dataclass(frozen=True)
class Verdict:
    """The outcomes of the tests in one guest, by test, and what their recordings say."""

    passed: dict[str, float]
    """Seconds in the guest."""
    failed: list[str]
    skipped: dict[str, str]
    """The reasons."""
    hello: dict[str, Any]
    lost: dict[str, int]
    """What the traces of these tests told as lost, by place."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what a guest left. What it did not come to is missing."""
        passed: dict[str, float] = {}
        failed: list[str] = []
        skipped: dict[str, str] = {}
        for name, test in _tests(folder / "results" / "junit.xml"):
            skip = test.find("skipped")
            if skip is not None:
                skipped[name] = skip.get("message", "")
            elif test.find("failure") is not None or test.find("error") is not None:
                failed.append(name)
            else:
                passed[name] = float(test.get("time", 0))
        lost: Counter[str] = Counter()
        for recording in (folder / "results" / "tmp").glob("*/trace-*.jsonl"):
            for line in _lines(recording, "health"):
                lost.update({place: count for place, count in line["lost"].items() if count})
        hello = next(_lines(folder / _TRACE, "hello"), {})
        return cls(passed, failed, skipped, hello, dict(lost))

    def passed_of(self, tests: str) -> list[str]:
        """Return what passed of a module, a class, or one test with parameters."""
        return [name for name in self.passed if name.startswith((f"{tests}::", f"{tests}["))]

    def save(self, path: Path) -> None:
        """Keep it for the page about kernels."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what was kept."""
        return cls(**json.loads(path.read_text()))


def _tests(path: Path) -> Iterator[tuple[str, ElementTree.Element]]:
    if not path.exists():
        return
    for test in ElementTree.parse(path).iter("testcase"):
        # The names of module and class are one word with dots.
        where, _, inner = test.get("classname", "").partition(".Test")
        parts = [where.replace(".", "/") + ".py", f"Test{inner}" if inner else "", test.get("name")]
        yield "::".join(part for part in parts if part), test


def _lines(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open() as recording:
        for text in recording:
            line: dict[str, Any] = json.loads(text)
            if line["kind"] == kind:
                yield line
