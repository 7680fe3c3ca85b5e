"""Processes: one row a life, whatever the PIDs do, and a bounded table."""

from __future__ import annotations

from factories import process, series
from podtrace.model.processes import UNNAMED, ProcessTable


def test_reused_pid_is_another_process() -> None:
    table = ProcessTable()
    table.update(process(7, "first", start_ns=None))
    table.current(7).add(series("read", count=3, process=7))
    table.update(process(7, "first", exit_ns=5, exit_code=0))
    table.update(process(7, "second", start_ns=6))
    table.current(7).add(series("read", count=4, process=7))
    assert [(item.name, item.total_events) for item in table] == [("first", 3), ("second", 4)]
    assert table.seen == 2


def test_exec_renames_the_same_process() -> None:
    table = ProcessTable()
    table.update(process(7, "sh", start_ns=3))
    table.update(process(7, "nginx", start_ns=3))
    assert [item.name for item in table] == ["nginx"]
    assert table.seen == 1


def test_line_without_start_does_not_make_a_new_process() -> None:
    table = ProcessTable()
    table.update(process(7, "sh", start_ns=3))
    table.update(process(7, "sh", start_ns=None, exit_ns=9, exit_code=0))
    assert [item.exit_ns for item in table] == [9]


def test_name_may_come_after_the_work() -> None:
    table = ProcessTable()
    table.current(7).add(series("read", count=2, process=7))
    assert [item.name for item in table] == [UNNAMED]
    table.update(process(7, "late", start_ns=3))
    assert [(item.name, item.total_events) for item in table] == [("late", 2)]


def test_crash_is_counted_once_by_name_and_signal() -> None:
    table = ProcessTable()
    table.update(process(7, "app", start_ns=1, exit_ns=5, exit_code=-11))
    table.update(process(7, "app", start_ns=1, exit_ns=5, exit_code=-11))
    table.update(process(8, "app", start_ns=1, exit_ns=5, exit_code=3))
    assert table.crashes == {("app", 11): 1}


def test_errors_of_a_process() -> None:
    table = ProcessTable()
    table.current(7).add(series("connect", count=2, errors={"ECONNREFUSED": 3}))
    table.current(7).add(series("dns", count=4, errors={"NXDOMAIN": 1}))
    table.current(7).add(series("dns_timeout", count=2))
    assert table.current(7).errors == 3 + 1 + 2
    assert table.current(7).events == {"connections": 5, "dns": 6}


def test_thousands_of_short_processes_are_bounded_and_their_work_is_kept() -> None:
    table = ProcessTable(kept=50)
    table.update(process(1, "main"))
    for number in range(2, 5000):
        table.current(1).add(series("read", count=1, process=1))
        table.update(process(number, "job", start_ns=number))
        table.current(number).add(series("read", count=1, process=number))
        table.current(number).add(series("cpu", count=0, sum_ns=10, process=number))
        table.update(process(number, "job", start_ns=number, exit_ns=number + 1, exit_code=0))
    assert len(list(table)) <= 102
    assert table.seen == 4999
    assert sum(item.total_events for item in table) == 2 * 4998
    assert sum(item.cpu_ns for item in table) == 10 * 4998
    assert table.current(1).total_events == 4998
