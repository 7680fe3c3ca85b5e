"""The header of the probes against the Python that reads what they write.

The header's enumerations, constants and structures are compiled for this machine as they stand, so
that the compiler says what they are worth and how they are laid out.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
from typing import Any

import pytest

from bpf_sources import DEFINITIONS, HEADER, compiled, needs_compiler
from podtrace.wire import schema
from podtrace.wire.histogram import SLOTS
from podtracer import bpf, hooks, loading, maps, plan, records

LAYOUTS = {
    "series_key": (records.SERIES_KEY, "label process slot metric target"),
    "series_value": (records.SERIES_VALUE, "count sum_ns max_ns bytes wait_ns"),
    "process_value": (
        records.PROCESS_VALUE,
        "start_ns exit_ns container_cgroup parent pid exit_status target entered name",
    ),
    "file_key": (records.FILE_KEY, "inode device generation target"),
    "file_value": (records.FILE_VALUE, "operations bytes max_ns path_bytes path_complete path"),
    "label_value": (records.LABEL_VALUE, "kind family bytes cut data"),
    "socket_value": (
        records.SOCKET_VALUE,
        "start_ns established_ns label rack_mstamp retransmit_mstamp process target established",
    ),
    "dns_value": (records.DNS_VALUE, "start_ns label server process target"),
    "event": (
        records.EVENT,
        "time_ns duration_ns label bytes file process code type target call reason",
    ),
}
"""C structure -> its twin, and the C members that the twin's fields are, in order."""

THREAD_PARTS = {"THREAD_ON_CPU": "on_cpu_ns process target", "THREAD_EXECUTED": "executed_ns"}
"""What is read of struct thread, which has no twin as a whole."""


def enumerators(name: str) -> list[str]:
    body = re.search(rf"^enum {name} \{{(.*?)\}};", HEADER, re.M | re.S)
    assert body is not None
    return re.findall(r"\b([A-Z][A-Z0-9_]+)\b", re.sub(r"//.*", "", body[1]))


def members(structure: str) -> list[str]:
    body = re.search(rf"^struct {structure} \{{(.*?)^\}};", HEADER, re.M | re.S)
    assert body is not None
    return re.findall(r"(\w+)(?:\[[^\]]*\])?;", re.sub(r"//.*", "", body[1]))


STRUCTURES = re.findall(r"^struct (\w+) \{", HEADER, re.M)
ENUMS = re.findall(r"^enum (\w+) \{", HEADER, re.M)
CONSTANTS = re.findall(r"^#define (\w+) +(?:0x[0-9a-f]+|\d+|[A-Z_]+)$", HEADER, re.M)


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the compiler makes of the header: `values` and `layouts`."""
    names = [*CONSTANTS, *(name for enum in ENUMS for name in enumerators(enum))]
    prints = [f'printf("\\"{name}\\": %lld,", (long long){name});' for name in names]
    prints.append('printf("\\"end\\": 0}, \\"layouts\\": {");')
    for structure in STRUCTURES:
        prints.append(f'printf("\\"{structure}\\": {{");')
        for member in members(structure):
            field = f"((struct {structure} *)0)->{member}"
            prints.append(
                f'printf("\\"{member}\\": [%zu, %zu, %d],", offsetof(struct {structure}, {member}),'
                f" sizeof({field}), SIGNED({field}));"
            )
        prints.append(f'printf("\\"sizeof\\": %zu}},", sizeof(struct {structure}));')
    source = "#include <stdio.h>\n#include <stddef.h>\n" + DEFINITIONS
    source += "#define SIGNED(x) _Generic((x), s32: 1, s64: 1, default: 0)\n"
    source += 'int main(void) { printf("{\\"values\\": {");\n' + "\n".join(prints)
    source += '\nprintf("\\"end\\": {}}}"); return 0; }\n'
    program = compiled(source, tmp_path_factory.mktemp("header") / "header")
    output = subprocess.run([str(program)], check=True, capture_output=True).stdout
    read: dict[str, Any] = json.loads(output)
    return read


def named(enum: str, prefix: str, header: dict[str, Any]) -> dict[int, str]:
    """Return number -> name in lower case, without the prefix."""
    return {header["values"][name]: name.removeprefix(prefix).lower() for name in enumerators(enum)}


@needs_compiler
def test_metrics_have_the_numbers_of_the_header(header: dict[str, Any]) -> None:
    metrics = named("metric", "METRIC_", header)
    assert metrics.pop(len(records.METRICS)) == "metrics"
    assert metrics == {n: name for n, name in enumerate(records.METRICS) if name}


@needs_compiler
def test_losses_have_the_numbers_of_the_header(header: dict[str, Any]) -> None:
    losses = named("loss", "LOST_", header)
    assert losses.pop(len(records.LOSSES)) == "places"
    assert losses == dict(enumerate(records.LOSSES))


@needs_compiler
def test_events_have_the_numbers_of_the_header(header: dict[str, Any]) -> None:
    assert named("event_type", "EVENT_", header) == dict(enumerate(records.EVENTS[1:], 1))


@needs_compiler
def test_block_reasons_have_the_numbers_of_the_header(header: dict[str, Any]) -> None:
    assert named("block_reason", "REASON_", header) == dict(enumerate(records.REASONS[1:], 1))


@needs_compiler
def test_kinds_of_system_calls_have_the_numbers_of_the_header(header: dict[str, Any]) -> None:
    values = header["values"]
    assert {name: values[name] for name in enumerators("syscall_kind")} == {
        name: number for number, name in enumerate(plan.CALL_KINDS)
    }
    operations = named("syscall_kind", "CALL_", header)
    assert {number: operations[number] for number in records.OPERATIONS} == records.OPERATIONS


@needs_compiler
def test_constants_are_those_of_the_header(header: dict[str, Any]) -> None:
    values = header["values"]
    expected = {
        "ASPECT_ERROR": records.ASPECT_ERROR,
        "ASPECT_AGAIN": records.ASPECT_AGAIN,
        "ASPECT_SLOW": records.ASPECT_SLOW,
        "GIVEN_UP": records.GIVEN_UP,
        "SLOTS": SLOTS,
        "EVENTS_PER_SECOND": schema.MAX_EVENTS_PER_SECOND,
        "LABEL_PEER": 1,
        "OVERFLOW_LABEL": 1,
    }
    assert {name: values[name] for name in expected} == expected


@needs_compiler
def test_metrics_leave_the_bits_of_their_aspects_free(header: dict[str, Any]) -> None:
    values = header["values"]
    aspects = [values[name] for name in ("ASPECT_ERROR", "ASPECT_AGAIN", "ASPECT_SLOW")]
    assert values["METRICS"] < min(aspects)
    assert {aspect & records.ASPECT_MASK for aspect in aspects} == set(aspects)
    assert values["METRICS"] & records.ASPECT_MASK == 0


def fields(twin: struct.Struct) -> list[tuple[int, int, bool]]:
    """Return (offset, size, signed) of each field of a format, padding left out."""
    offset, found = 0, []
    for count, code in re.findall(r"(\d*)([a-zA-Z])", twin.format):
        size = struct.calcsize(f"={code}")
        if code in "xs":
            if code == "s":
                found.append((offset, int(count or 1), False))
            offset += int(count or 1)
            continue
        for _ in range(int(count or 1)):
            found.append((offset, size, code.islower()))
            offset += size
    assert offset == twin.size
    return found


@needs_compiler
@pytest.mark.parametrize("structure", LAYOUTS)
def test_structure_is_laid_out_as_its_twin(structure: str, header: dict[str, Any]) -> None:
    twin, names = LAYOUTS[structure]
    layout = header["layouts"][structure]
    assert layout["sizeof"] == twin.size
    assert [
        (offset, size, bool(signed)) for offset, size, signed in map(layout.get, names.split())
    ] == fields(twin)


@needs_compiler
def test_sizes_of_what_is_not_unpacked(header: dict[str, Any]) -> None:
    layouts = header["layouts"]
    assert layouts["thread"]["sizeof"] == records.THREAD_VALUE_BYTES
    assert layouts["dns_key"]["sizeof"] == records.DNS_KEY_BYTES


@needs_compiler
@pytest.mark.parametrize("part", THREAD_PARTS)
def test_parts_of_a_thread_are_read_where_the_header_has_them(
    part: str, header: dict[str, Any]
) -> None:
    thread = header["layouts"]["thread"]
    twin = getattr(records, part)
    assert twin.size <= thread["sizeof"]
    assert fields(twin) == [
        (offset, size, bool(signed))
        for offset, size, signed in map(thread.get, THREAD_PARTS[part].split())
    ]


PROGRAMS = re.findall(r"^BPF_PROG_ARRAY\((\w+), CONTINUATIONS\);", HEADER, re.M)


@needs_compiler
def test_programs_to_go_on_with_stand_where_the_header_says(header: dict[str, Any]) -> None:
    places = named("continuation", "AFTER_", header)
    assert places.pop(len(hooks.CONTINUATIONS)) == "continuations"
    assert [f"sys_exit/{place}" for _, place in sorted(places.items())] == [*hooks.CONTINUATIONS]


def declared_maps() -> dict[str, tuple[str, str]]:
    """Return map -> (type of its keys, type of its values)."""
    found = {}
    for kind, arguments in re.findall(r"^(BPF_(?:HASH|ARRAY))\((.*?)\);", HEADER, re.M | re.S):
        words = [word.strip() for word in arguments.split(",")]
        found[words[0]] = (words[1], words[2]) if kind == "BPF_HASH" else ("u32", words[1])
    return found


@needs_compiler
def test_maps_are_opened_with_the_sizes_of_their_declarations(
    header: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = {}
    names = {number: name for number, name in enumerate(loading.MAPS)}

    class Noted(bpf.Map):
        def __init__(self, fd: int, key_bytes: int, value_bytes: int, entries: int) -> None:
            opened[names[fd]] = key_bytes, value_bytes

    monkeypatch.setattr(bpf, "Map", Noted)
    open_maps = maps.OpenMaps({name: fd for fd, name in names.items()}, plan.Plan())
    open_maps.tables(lambda cgroup: None, 0)

    def size(kind: str) -> int:
        if kind.startswith("struct "):
            return int(header["layouts"][kind.removeprefix("struct ")]["sizeof"])
        return int(kind[1:]) // 8

    declared = {name: (size(k), size(v)) for name, (k, v) in declared_maps().items()}
    assert opened == {name: declared[name] for name in opened}
    # The ring buffer is mapped, not opened; the loader alone fills the kinds of system calls and
    # the programs to go on with.
    assert set(opened) == set(loading.MAPS) - {"events", "syscall_kinds", *PROGRAMS}


def test_every_map_that_is_handed_over_is_declared() -> None:
    assert set(loading.MAPS) - set(declared_maps()) == {"events", *PROGRAMS}
    assert [array for _, array in hooks.TAILS.values()] == PROGRAMS
    assert "BPF_RINGBUF_OUTPUT(events," in HEADER
