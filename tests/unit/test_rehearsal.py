from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from factories import encoded, end, error, hello, probe, stream, tick
from podtrace.checkup import FAILED, OK, SKIPPED, WARNING, SectionOutlook
from podtrace.errors import LaunchError, PodtraceError
from podtrace.rehearsal import Rehearsal, not_rehearsed, rehearse, worst_sections


class ListSource:
    """A source that gives these chunks, and raises what is in their place."""

    patience_seconds = 1.0

    def __init__(
        self, chunks: Sequence[bytes | Exception], trouble: PodtraceError | None = None
    ) -> None:
        self.is_closed = False
        self._chunks = chunks
        self._trouble = trouble

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def stop(self) -> None: ...

    def close(self) -> None:
        self.is_closed = True

    def trouble(self) -> PodtraceError | None:
        return self._trouble


def whole(**fields: Any) -> list[bytes | Exception]:
    return [b"", encoded(stream(hello(**fields), tick(), end()))]


def test_tracer_that_measures_everything_is_fine() -> None:
    source = ListSource(whole())
    result = rehearse(source, "node-1")
    assert result.check.name == "Trace on node-1"
    assert result.check.state == OK
    assert "kernel 6.18.44 x86_64, cgroups v2: 2 of 2 probes attached" in result.check.found
    assert result.sections is not None
    assert {outlook.state for outlook in result.sections.values()} == {"full"}
    assert source.is_closed


def test_section_that_stays_blank_is_a_warning_with_the_probe_that_is_missing() -> None:
    broken = {"state": "unsupported", "reason": "no cgroup v2 here"}
    probes = [probe("connect", family="tcp"), {**probe("dns_out", family="dns"), **broken}]
    result = rehearse(ListSource(whole(blank=["dns"], probes=probes)), "node-1")
    assert result.check.state == WARNING
    assert result.check.found.endswith("; not full: dns")
    assert "1 of 2 probes" in result.check.found
    assert "dns_out: no cgroup v2 here" in str(result.check.fix)
    assert result.sections is not None
    assert result.sections["dns"] == SectionOutlook("blank", "no probe attached")


def test_tracer_that_cannot_tell_its_listeners_is_a_warning() -> None:
    fields = {"listener_check": False, "listener_reason": "no descriptors of the kubelet"}
    check = rehearse(ListSource(whole(**fields)), "node-1").check
    assert check.state == WARNING
    assert "no descriptors of the kubelet" in str(check.fix)


def test_tracer_that_gives_up_fails_with_its_own_words() -> None:
    lines = stream(error(message="the kernel is locked down", hint="Boot with lockdown=none."))
    result = rehearse(ListSource([encoded(lines)]), "node-1")
    assert (result.check.state, result.check.found) == (FAILED, "the kernel is locked down")
    assert result.check.fix == "Boot with lockdown=none."
    assert result.sections is None


def test_tracer_that_does_not_start_fails_with_the_reason() -> None:
    source = ListSource([b"", LaunchError("node-1 cannot pull the image", "load it")])
    result = rehearse(source, "node-1")
    assert (result.check.found, result.check.fix) == ("node-1 cannot pull the image", "load it")
    assert source.is_closed


def test_trouble_of_the_source_fails() -> None:
    source = ListSource([encoded(stream(hello()))], LaunchError("it was killed"))
    assert rehearse(source, "node-1").check.found == "it was killed"


def test_stream_without_its_last_line_fails() -> None:
    check = rehearse(ListSource([encoded(stream(hello(), tick()))]), "node-1").check
    assert check.state == FAILED
    assert "without its last line" in check.found


def test_tracer_of_another_release_fails() -> None:
    source = ListSource(whole(schema="2.0"))
    check = rehearse(source, "node-1").check
    assert check.state == FAILED
    assert "schema 2.0" in check.found
    assert source.is_closed


def test_tracer_that_does_not_end_fails() -> None:
    chunks = [encoded(stream(hello())), *[b""] * 100]
    seconds = iter(range(1000))
    check = rehearse(ListSource(chunks), "node-1", lambda: float(next(seconds))).check
    assert check.state == FAILED
    assert "did not end within 30 s" in check.found


def test_worst_node_decides_about_a_section() -> None:
    def of(node: str, **outlooks: SectionOutlook) -> Rehearsal:
        return Rehearsal(node, rehearse(ListSource([]), node).check, outlooks)

    full, poor = SectionOutlook("full"), SectionOutlook("degraded", "an old kernel")
    blank = SectionOutlook("blank", "no cgroup v2")
    nodes = [of("a", dns=full, tcp=poor, cpu=full), of("b", dns=poor, tcp=blank, cpu=full)]
    assert worst_sections(nodes) == {
        "dns": SectionOutlook("degraded", "on b: an old kernel"),
        "tcp": SectionOutlook("blank", "on b: no cgroup v2"),
        "cpu": full,
    }
    assert worst_sections(nodes[1:]) == {"dns": poor, "tcp": blank, "cpu": full}


def test_nothing_is_known_of_sections_where_no_tracer_ran() -> None:
    assert worst_sections([rehearse(ListSource([]), "a")]) is None


@pytest.mark.parametrize(
    "nodes, names", [([], ["Trace"]), (["a", "b"], ["Trace on a", "Trace on b"])]
)
def test_what_was_not_tried_is_told(nodes: list[str], names: list[str]) -> None:
    checks = not_rehearsed(nodes, "because")
    assert [check.name for check in checks] == names
    assert {check.state for check in checks} == {SKIPPED}
