"""The text report at 80 columns, held to the files in snapshots/.

After a wanted change of the report, write the files anew and look at the difference:

    PODTRACE_UPDATE_SNAPSHOTS=1 pytest tests/unit/report/test_text.py
"""

from __future__ import annotations

import dataclasses
import io
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from podtrace.model.snapshot import Snapshot
from podtrace.report.escape import cell_width
from podtrace.report.style import Style, style_for
from podtrace.report.text import HEADINGS, report_lines, write_text
from unit.report import examples

SNAPSHOTS = Path(__file__).parent / "snapshots"
EXAMPLES: dict[str, Callable[[], Snapshot]] = {
    "busy": examples.busy,
    "idle": examples.idle,
    "blind": examples.blind,
    "torn": examples.torn,
    "nothing": examples.nothing,
    "hostile": examples.hostile,
    "pod": examples.pod,
    "pods": examples.pods,
}
ASCII = Style(unicode=False)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("style", [Style(), ASCII], ids=["utf8", "ascii"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_report_looks_as_agreed(example: str, style: Style) -> None:
    text = "\n".join(report_lines(EXAMPLES[example](), style)) + "\n"
    path = SNAPSHOTS / f"{example}{'' if style.unicode else '.ascii'}.txt"
    if os.environ.get("PODTRACE_UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_section_is_present_in_order_and_never_empty(example: str) -> None:
    lines = report_lines(EXAMPLES[example]())
    places = [lines.index(heading) for heading in HEADINGS]
    assert places == sorted(places)
    for place, following in zip(places, [*places[1:], len(lines)], strict=True):
        assert any(line.strip() for line in lines[place + 2 : following])


def test_order_of_the_sections_is_the_promised_one() -> None:
    assert HEADINGS == (
        "Summary",
        "DNS Statistics",
        "TCP Statistics",
        "Connection Statistics",
        "File System Statistics",
        "CPU Statistics",
        "CPU Usage by Process",
        "Process Activity",
        "Activity Timeline",
        "Activity Bursts",
        "Connection Patterns",
        "Network I/O Patterns",
        "Potential Issues",
        "Trace Quality",
    )


@settings(max_examples=60)
@given(
    st.sampled_from([examples.busy(), examples.pods()]),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=300),
    st.sampled_from([0, 1, 7, 10**6, 10**15]),
    st.booleans(),
)
def test_no_input_makes_a_line_too_wide_or_unsafe(
    base: Snapshot, text: str, scale: int, unicode: bool
) -> None:
    for line in report_lines(examples.hostile(text, scale, base), Style(unicode=unicode)):
        assert cell_width(line) <= 80
        assert cell_len(line) <= 80
        assert not any(unicodedata.category(character)[0] == "C" for character in line)
        assert unicode or line.isascii()


def test_very_long_names_are_cut_not_wrapped_over_the_screen() -> None:
    lines = report_lines(examples.hostile("n" * 100_000))
    assert max(map(cell_width, lines)) == 80
    assert len(lines) < 400


def test_not_measured_and_zero_look_different() -> None:
    idle = report_lines(examples.idle())
    blind = report_lines(examples.blind())
    assert "  No DNS query was seen in 3.00 s." in idle
    assert "  Not measured: cgroup_skb programs may not be attached here" in blind
    assert "  Throttled         not measured" in blind
    assert not any("not measured" in line.lower() for line in idle)


def test_top_lists_say_how_many_rows_they_leave_out() -> None:
    busy = examples.busy()
    assert busy.cpu_usage is not None
    many = dataclasses.replace(busy, cpu_usage=busy.cpu_usage[:1] * 20)
    assert "  … and 12 more" in report_lines(many)
    assert "  ... and 12 more" in report_lines(many, ASCII)


def test_peer_in_a_narrow_column_keeps_its_whole_address() -> None:
    tcp = report_lines(examples.busy())
    peers = [line for line in tcp if line.startswith("  10.0.0.7:443")]
    assert len(peers) == 4


def test_name_of_a_peer_stands_in_the_table_or_below_it() -> None:
    below = "  10.0.0.7:443 is service shop/api; 10.0.0.5:5432 is pod shop/db-0"
    assert below in report_lines(examples.pod())
    wide = report_lines(examples.pod(), Style(width=120))
    assert below not in wide
    assert sum("10.0.0.5:5432 (pod shop/db-0)" in line for line in wide) == 2


def test_pods_of_several_namespaces_are_named_in_full() -> None:
    snapshot = examples.pods()
    target = dataclasses.replace(snapshot.target, namespace=None)
    lines = report_lines(dataclasses.replace(snapshot, target=target))
    assert any(line.startswith("  shop/web-7d4b9c6f5d-x2x9k  ") for line in lines)


def test_table_of_pods_leaves_out_what_did_not_happen() -> None:
    lines = report_lines(examples.pods())
    (heading,) = [line for line in lines if line.startswith("  trouble in pod ")]
    assert "restarts" in heading
    assert "OOM" not in heading
    assert not any(
        "8qpl4" in line for line in lines[lines.index(heading) : lines.index("DNS Statistics")]
    )


def containers_of_pods(*pods: str) -> Snapshot:
    """Return a report with two containers in each pod."""
    snapshot = examples.pods()
    assert snapshot.cpu_usage is not None
    use = snapshot.cpu_usage[0]
    rows = (
        dataclasses.replace(use, pod=pod, container=container)
        for pod in pods
        for container in ("app", "log-shipper")
    )
    return dataclasses.replace(snapshot, cpu_usage=tuple(rows))


@pytest.mark.parametrize("style", [Style(), ASCII], ids=["utf8", "ascii"])
def test_process_keeps_its_container_and_the_end_of_its_pod(style: Style) -> None:
    snapshot = containers_of_pods(
        "orders-of-the-shop-568f7c9b4d-abcde", "orders-of-the-shop-568f7c9b4d-fghij"
    )
    lines = [line for line in report_lines(snapshot, style) if "burner  " in line]
    ends = ["abcde/app ", "abcde/log-shipper ", "fghij/app ", "fghij/log-shipper "]
    assert [end in line for end, line in zip(ends, lines, strict=True)] == [True] * 4
    assert all("  order" in line and style.ellipsis in line for line in lines[::2])


def test_pods_with_the_same_last_part_keep_what_tells_them_apart() -> None:
    snapshot = containers_of_pods(f"a{'-long' * 9}-web-0", f"a{'-long' * 9}-db-0")
    lines = "\n".join(report_lines(snapshot))
    assert "web-0/log-shipper" in lines
    assert "db-0/log-shipper" in lines


def timeline_of(*buckets: tuple[float, int]) -> list[str]:
    """Return the lines of the timeline of buckets of a second, by seconds and events."""
    snapshot = examples.busy()
    first = snapshot.timeline.buckets[0]
    rows = tuple(
        dataclasses.replace(
            first, seconds=seconds, events=events, events_per_second=events / seconds
        )
        for seconds, events in buckets
    )
    section = dataclasses.replace(snapshot.timeline, bucket_seconds=1, buckets=rows)
    lines = report_lines(dataclasses.replace(snapshot, timeline=section))
    start = lines.index("Activity Timeline") + 2
    return lines[start : start + len(rows) + 2]


def test_short_last_bucket_does_not_set_the_scale_of_the_timeline() -> None:
    told, _, one, two, short = timeline_of((1.0, 40), (0.6, 30), (0.00128, 4))
    assert told.endswith("the longest bar is 50.0/s.")
    assert [line.count("█") for line in (one, two, short)] == [26, 32, 3]
    assert short.endswith("only 1.28 ms")


def test_short_bucket_alone_has_its_rate() -> None:
    told, _, only = timeline_of((0.1, 4))
    assert told.endswith("the longest bar is 40.0/s.")
    assert only.count("█") == 32


def test_plain_stream_gets_no_escape_sequence() -> None:
    stream = io.StringIO()
    write_text(examples.busy(), stream)
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().splitlines() == report_lines(examples.busy())


def test_terminal_gets_colour_over_the_very_same_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    write_text(examples.busy(), stream)
    assert "\x1b[1;31mCRITICAL\x1b[0m" in stream.getvalue()
    assert Text.from_ansi(stream.getvalue()).plain.splitlines() == report_lines(examples.busy())


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminal_without_colour_is_respected(environment: dict[str, str]) -> None:
    assert not style_for(Terminal(), environment).colour
    assert style_for(Terminal(), {"TERM": "xterm"}).colour


def test_output_that_is_not_utf8_gets_ascii() -> None:
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert not style_for(latin, {}).unicode
    write_text(examples.busy(), latin)
    assert style_for(io.TextIOWrapper(io.BytesIO(), encoding="UTF-8"), {}).unicode


def test_connects_of_which_no_end_was_seen_are_told_and_none_are_not_mentioned() -> None:
    busy = examples.busy()
    assert busy.connections is not None
    torn = dataclasses.replace(busy.connections, outcome_unknown=9)
    told = report_lines(dataclasses.replace(busy, connections=torn))
    assert "  Outcome unknown   9: the kernel told of no end" in told
    assert not any("Outcome unknown" in line for line in report_lines(busy))


def test_column_of_what_was_asked_is_there_where_an_answer_is_missing() -> None:
    busy = examples.busy()
    assert busy.dns is not None
    first, *others = busy.dns.targets
    targets = (dataclasses.replace(first, queries=first.count + 2), *others)
    dns = dataclasses.replace(busy.dns, targets=targets, pending=2)
    told = report_lines(dataclasses.replace(busy, dns=dns))
    assert "  Still pending     2 (asked, but no answer yet)" in told
    [row] = [line.split() for line in told if line.startswith("  db.shop.example ")]
    assert row[1:3] == ["32", "30"]
    assert not any("asked" in line.split() for line in report_lines(busy))
