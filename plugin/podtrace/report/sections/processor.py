"""CPU: who runs, who waits to run, and what blocked threads wait for."""

from podtrace.model.snapshot import Cpu, CpuUse, Snapshot
from podtrace.report.measures import TOP, absent, caveat, in_window, known, latency_table
from podtrace.report.prose import facts, more, sentence
from podtrace.report.quantities import count, duration, percent
from podtrace.report.sections.places import Places
from podtrace.report.sections.pods import has_several_pods
from podtrace.report.style import Style
from podtrace.report.table import Cell, name, number, table

_BAR = 30
_REASONS = {"poll": "poll (any event)"}


def cpu(snapshot: Snapshot, style: Style) -> list[str]:
    """Return run-queue waits, blocked time by reason and throttling."""
    section = snapshot.cpu
    if section is None:
        return sentence(absent(snapshot, "cpu"), style)
    lines = caveat(snapshot, style, "cpu")
    blocks = (("run queue", section.run_queue), ("blocked", section.blocked))
    idle = all(block is not None and not block.count for _, block in blocks)
    if idle and not section.on_cpu_seconds and not section.throttled_seconds:
        return lines + sentence(f"No thread of the target ran {in_window(snapshot)}.", style)
    lines += facts(
        (
            ("On CPU", _on_cpu(section, snapshot)),
            ("Waiting for CPU", _run_queue(section)),
            ("Throttled", _throttled(section)),
        ),
        style,
    )
    lines += ["", *latency_table("off CPU", blocks, style)]
    return lines + _reasons(section, style)


def usage(snapshot: Snapshot, style: Style) -> list[str]:
    """Return CPU time by process, exact from context switches."""
    uses = snapshot.cpu_usage
    if uses is None:
        return sentence(absent(snapshot, "cpu_usage", "cpu"), style)
    lines = caveat(snapshot, style, "cpu_usage")
    if not uses:
        return lines + sentence(f"No process of the target ran {in_window(snapshot)}.", style)
    places = Places(uses, has_several_pods(snapshot.target), style)
    columns = [
        number("PID", 5),
        number("host PID"),
        name("process"),
        *places.columns,
        number("CPU time", 8),
        number("of a core"),
        number("waited", 8),
    ]
    rows = [_usage_row(use, places.cells(use)) for use in uses[:TOP]]
    lines += [*table(columns, rows, style), *more(TOP, uses, style)]
    total = sum(use.cpu_seconds for use in uses)
    share = sum(use.cpu_percent for use in uses) / 100
    text = f"All processes: {duration(total)}, {percent(share)} of one core"
    if snapshot.target.cpus:
        nodes = len(snapshot.target.nodes)
        where = "the machine has" if nodes < 2 else f"the {nodes} nodes have"
        text += f" ({where} {count(snapshot.target.cpus)})"
    return [*lines, "", *sentence(f"{text}. waited: ready to run, but without a CPU.", style)]


def _usage_row(use: CpuUse, place: tuple[Cell, ...]) -> tuple[Cell, ...]:
    return (
        str(use.pid) if use.pid is not None else "",
        str(use.host_pid) if use.host_pid is not None else "",
        use.process,
        *place,
        duration(use.cpu_seconds),
        percent(use.cpu_percent / 100),
        duration(use.run_queue_seconds),
    )


def _on_cpu(section: Cpu, snapshot: Snapshot) -> str:
    seconds = section.on_cpu_seconds
    if seconds is None:
        return "not measured"
    measured = snapshot.window.measured_seconds
    share = f" ({percent(seconds / measured)} of one core)" if measured else ""
    return f"{duration(seconds)}{share}"


def _run_queue(section: Cpu) -> str:
    if section.run_queue_seconds is None:
        return "not measured"
    ratio = section.run_queue_ratio
    share = f" ({percent(ratio)} of the time ready or running)" if ratio is not None else ""
    return f"{duration(section.run_queue_seconds)}{share}"


def _throttled(section: Cpu) -> str:
    if section.throttled_seconds is None:
        return "not measured"
    if not section.throttled_seconds and not section.throttled_periods:
        return "none"
    periods = known(count(section.throttled_periods))
    return f"{duration(section.throttled_seconds)} in {periods} periods, by a CPU quota"


def _reasons(section: Cpu, style: Style) -> list[str]:
    if section.blocked_by_reason is None:
        return ["", *sentence("Blocked time by reason: not measured", style)]
    reasons = sorted(section.blocked_by_reason.items(), key=lambda item: -item[1])
    total = sum(seconds for _, seconds in reasons)
    if not total:
        return ["", *sentence("No thread was blocked.", style)]
    rows = [
        (
            _REASONS.get(reason, reason),
            duration(seconds),
            percent(seconds / total),
            style.bar(seconds / total, _BAR),
        )
        for reason, seconds in reasons
    ]
    columns = (
        name("blocked by", flexible=False, least=16),
        number("time", 8),
        number("share", 7),
        name("", flexible=False, limit=_BAR),
    )
    return ["", *table(columns, rows, style)]
