from __future__ import annotations

import pytest

from kernel_memory import (
    NO_FILE,
    MemoryMap,
    dns_pending_value,
    file_key,
    file_value,
    peer_value,
    process_value,
)
from podtracer import records
from podtracer.records import U32, U64
from podtracer.tables import (
    DNS_TIMEOUT_NS,
    DnsPending,
    FileGain,
    FileTable,
    LabelTable,
    Process,
    ProcessTable,
    TimedOut,
)


class Processes:
    """A process table with the kernel's side of it, ticked as a tracer does."""

    def __init__(self) -> None:
        self.map = MemoryMap(4, records.PROCESS_VALUE.size)
        self.table = ProcessTable(self.map)

    def put(self, number: int, value: bytes) -> None:
        self.map.update(U32.pack(number), value)

    def tick(self) -> tuple[list[Process], list[int]]:
        """Return what changed and what was forgotten."""
        changed = self.table.changes()
        forgotten: list[int] = []
        self.table.expire(forgotten.append)
        return changed, forgotten

    def __contains__(self, number: int) -> bool:
        return U32.pack(number) in self.map.items


@pytest.fixture
def processes() -> Processes:
    return Processes()


def test_a_new_process_is_told_once_with_all_its_fields(processes: Processes) -> None:
    value = process_value(
        b"nginx", start_ns=5, container_cgroup=77, parent=40, pid=3, target=2, entered=True
    )
    processes.put(4321, value)
    assert processes.table.changes() == [
        Process(4321, 5, 0, 77, 40, 3, 0, 2, True, "nginx"),
    ]
    assert processes.table.changes() == []


def test_a_process_is_told_again_when_it_is_renamed_and_when_it_ends(processes: Processes) -> None:
    processes.put(100, process_value(b"sh"))
    processes.put(101, process_value(b"other"))
    processes.tick()
    processes.put(100, process_value(b"app"))
    assert [(p.number, p.name, p.exit_ns) for p in processes.tick()[0]] == [(100, "app", 0)]
    processes.put(100, process_value(b"app", exit_ns=9))
    assert [(p.number, p.name, p.exit_ns) for p in processes.tick()[0]] == [(100, "app", 9)]


def test_running_processes_are_those_without_an_end(processes: Processes) -> None:
    for number, exit_ns in ((1, 0), (2, 50), (3, 0)):
        processes.put(number, process_value(exit_ns=exit_ns))
    processes.tick()
    assert processes.table.running == 2


@pytest.mark.parametrize(
    ("status", "exit_ns", "code"),
    [
        (0, 0, None),
        (0, 1, 0),
        (3 << 8, 1, 3),
        (255 << 8, 1, 255),
        (9, 1, -9),
        (15, 1, -15),
        (11 | 0x80, 1, -11),
    ],
)
def test_exit_code_is_of_the_program_or_of_the_signal(
    processes: Processes, status: int, exit_ns: int, code: int | None
) -> None:
    processes.put(100, process_value(exit_status=status, exit_ns=exit_ns))
    assert processes.table.changes()[0].exit_code == code


def test_an_ended_process_is_forgotten_two_ticks_later(processes: Processes) -> None:
    processes.put(100, process_value(exit_ns=9))
    processes.put(101, process_value())
    assert [processes.tick()[1] for _ in range(4)] == [[], [], [100], []]
    assert 100 not in processes
    assert 101 in processes


def test_a_number_that_is_used_again_is_another_process(processes: Processes) -> None:
    processes.put(100, process_value(b"old", exit_ns=9))
    processes.tick()
    processes.put(100, process_value(b"new", start_ns=10))
    changed, forgotten = processes.tick()
    assert [(p.name, p.start_ns) for p in changed] == [("new", 10)]
    assert [forgotten, *(processes.tick()[1] for _ in range(4))] == [[]] * 5
    assert 100 in processes
    processes.put(100, process_value(b"new", start_ns=10, exit_ns=20))
    assert [processes.tick()[1] for _ in range(3)] == [[], [], [100]]


def test_a_number_that_is_used_again_at_the_last_moment_is_kept(processes: Processes) -> None:
    processes.put(100, process_value(b"old", exit_ns=9))
    processes.tick()
    processes.tick()
    processes.table.changes()
    processes.put(100, process_value(b"new", start_ns=10))
    forgotten: list[int] = []
    processes.table.expire(forgotten.append)
    assert (forgotten, 100 in processes) == ([], True)
    assert [p.name for p in processes.tick()[0]] == ["new"]


def test_counters_of_a_process_that_is_not_in_the_table_expire_too(processes: Processes) -> None:
    processes.put(100, process_value())
    processes.tick()
    processes.table.expire_strangers([100, 200, 0, -1])
    assert [processes.tick()[1] for _ in range(4)] == [[], [], [200], []]
    assert 100 in processes


def test_a_process_that_is_counted_before_it_is_in_the_table_is_kept(processes: Processes) -> None:
    processes.table.expire_strangers([100])
    processes.put(100, process_value(b"new"))
    assert [[p.name for p in processes.tick()[0]], *(processes.tick()[1] for _ in range(3))] == [
        ["new"], [], [], []
    ]  # fmt: skip
    assert 100 in processes


def test_a_process_that_comes_when_its_number_expires_is_kept(processes: Processes) -> None:
    processes.table.expire_strangers([100])
    processes.tick()
    processes.tick()
    processes.table.changes()
    processes.put(100, process_value(b"new"))
    forgotten: list[int] = []
    processes.table.expire(forgotten.append)
    assert (forgotten, 100 in processes) == ([], True)


def test_names_are_known_until_a_process_is_forgotten(processes: Processes) -> None:
    processes.put(100, process_value(b"app", exit_ns=9))
    processes.tick()
    assert (processes.table.name(100), processes.table.name(101)) == ("app", "")
    processes.tick()
    processes.tick()
    assert processes.table.name(100) == ""


def test_labels_are_looked_up_once() -> None:
    labels = MemoryMap(8, records.LABEL_VALUE.size)
    labels.update(U64.pack(2**63), peer_value("10.0.0.1", 80))
    table = LabelTable(labels)
    assert [table.text(2**63), table.text(2**63)] == ["10.0.0.1:80"] * 2
    assert labels.lookups == 1


def test_label_of_a_full_table_is_no_entry_of_it() -> None:
    labels = MemoryMap(8, records.LABEL_VALUE.size)
    assert LabelTable(labels).text(1) == "(overflow)"
    assert labels.lookups == 0


@pytest.fixture
def files() -> MemoryMap:
    return MemoryMap(records.FILE_KEY.size, records.FILE_VALUE.size)


def test_files_tell_what_they_gained(files: MemoryMap) -> None:
    table = FileTable(files)
    files.update(file_key(5, target=3), file_value(b"data", b"a", operations=2, size=10, max_ns=7))
    files.update(file_key(6), file_value(b"data", b"b", operations=1, size=1, max_ns=1))
    assert list(table.gains()) == [
        FileGain(3, "/data/a", 2, 10, 7),
        FileGain(1, "/data/b", 1, 1, 1),
    ]
    files.update(file_key(5, target=3), file_value(b"data", b"a", operations=6, size=14, max_ns=9))
    assert list(table.gains()) == [FileGain(3, "/data/a", 4, 4, 9)]
    assert list(table.gains()) == []


def test_an_inode_number_that_is_used_again_is_another_file(files: MemoryMap) -> None:
    table = FileTable(files)
    files.update(file_key(5, generation=1), file_value(b"old", operations=3))
    assert [(gain.path, gain.operations) for gain in table.gains()] == [("/old", 3)]
    files.update(file_key(5, generation=2), file_value(b"new", operations=1))
    assert [(gain.path, gain.operations) for gain in table.gains()] == [("/new", 1)]


def test_a_file_that_was_only_opened_gained_nothing_but_has_a_path(files: MemoryMap) -> None:
    table = FileTable(files)
    files.update(file_key(5), file_value(b"etc", b"passwd", operations=0))
    assert list(table.gains()) == []
    assert table.path(file_key(5)) == "/etc/passwd"


def test_path_of_no_file_and_of_an_unknown_one_is_none(files: MemoryMap) -> None:
    table = FileTable(files)
    assert table.path(NO_FILE) is None
    assert files.lookups == 0
    assert table.path(file_key(5)) is None


@pytest.fixture
def pending() -> MemoryMap:
    return MemoryMap(records.DNS_KEY_BYTES, records.DNS_VALUE.size)


def query(number: int) -> bytes:
    return number.to_bytes(records.DNS_KEY_BYTES, "little")


def test_queries_without_an_answer_time_out_after_five_seconds(pending: MemoryMap) -> None:
    dns = DnsPending(pending, records.DNS_KEY_BYTES)
    pending.update(query(1), dns_pending_value(1_000, label=70, process=100, target=2))
    pending.update(query(2), dns_pending_value(1_001, label=71))
    pending.update(query(3), dns_pending_value(9_000, label=72))
    now = 1_001 + DNS_TIMEOUT_NS
    assert dns.timeouts(now) == [TimedOut(target=2, process=100, label=70, start_ns=1_000)]
    assert list(pending.items) == [query(2), query(3)]
    assert dns.pending == 2
    assert [gone.label for gone in dns.timeouts(now + 1)] == [71]


def test_an_answer_that_is_faster_than_the_timeout_wins() -> None:
    class Answered(MemoryMap):
        def delete(self, key: bytes) -> bool:
            self.items.pop(key)
            return super().delete(key)

    late = Answered(records.DNS_KEY_BYTES, records.DNS_VALUE.size)
    late.update(query(1), dns_pending_value(1_000, label=70))
    assert DnsPending(late, records.DNS_KEY_BYTES).timeouts(2_000 + DNS_TIMEOUT_NS) == []


def test_end_of_a_containers_first_process_is_remembered(processes: Processes) -> None:
    processes.put(100, process_value(b"app", container_cgroup=7, pid=1))
    processes.put(101, process_value(b"side", container_cgroup=7, pid=2, exit_ns=9))
    processes.tick()
    assert processes.table.exit_code_of(7) is None
    ended = process_value(b"app", container_cgroup=7, pid=1, exit_ns=9, exit_status=3 << 8)
    processes.put(100, ended)
    for _ in range(5):
        processes.tick()
    assert processes.table.exit_code_of(7) == 3
    assert list(processes.table.rows()) == []


def test_rows_of_what_runs_and_of_what_ended_lately_can_be_asked_for(processes: Processes) -> None:
    processes.put(100, process_value(b"app", container_cgroup=7))
    processes.put(101, process_value(b"gone", exit_ns=9))
    processes.tick()
    assert [process.number for process in processes.table.rows()] == [100, 101]
    processes.tick()
    assert [process.number for process in processes.table.rows()] == [100, 101]
    processes.tick()
    assert [process.number for process in processes.table.rows()] == [100]
