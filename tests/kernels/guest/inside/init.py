"""The first process of a guest: makes the machine that was ordered, runs one command, reports.

What to do stands in /guest/order.json. The command's output goes to the second serial line, its
exit code and the files that it left in /guest/results onto the third disk, as a tar archive.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import subprocess
import sys
import tarfile
import termios
import time
import tty
from pathlib import Path
from typing import Any

_ORDER = Path("/guest/order.json")
_RESULTS = Path("/guest/results")
_OUTPUT = "/dev/ttyS1"
_RESULT_DISK = "/dev/vdc"
_RESTART = 0x01234567
"""LINUX_REBOOT_CMD_RESTART: QEMU ends at it, sooner than at a power-off."""
_IMAGE = Path("/image")
_CGROUPS = Path("/sys/fs/cgroup")


def main() -> None:
    """Run the command and restart the machine, whatever happens."""
    began = time.monotonic()
    result: dict[str, Any] = {"code": None}
    try:
        order = json.loads(_ORDER.read_text())
        _make_machine(order)
        result["ready_seconds"] = time.clock_gettime(time.CLOCK_BOOTTIME)
        result["code"] = _run(order["command"], order["environment"])
        result["seconds"] = time.monotonic() - began
        _report(result)
    except BaseException as error:
        print(f"guest: {error!r}", file=sys.stderr)
        raise
    finally:
        os.sync()
        ctypes.CDLL(None).reboot(_RESTART)


def _make_machine(order: dict[str, Any]) -> None:
    for kind, where in (
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("securityfs", "/sys/kernel/security"),
        ("tracefs", "/sys/kernel/tracing"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/dev/shm"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/run"),
    ):
        _mount(kind, where)
    for place in (Path("/var/log/containers"), _RESULTS):
        place.mkdir(parents=True, exist_ok=True)
    _mount_cgroups(order["cgroups"])
    if order["hide_btf"]:
        _mount("tmpfs", "/sys/kernel/btf")
    for where in ("/proc", "/sys", "/dev", "/podtrace"):
        subprocess.run(["mount", "--rbind", where, f"{_IMAGE}{where}"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _mount_cgroups(mode: str) -> None:
    """Mount version 2, version 1, or version 1 with an empty version 2 beside it."""
    if mode == "v2":
        _mount("cgroup2", _CGROUPS)
        available = (_CGROUPS / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{name}" for name in available)
        (_CGROUPS / "cgroup.subtree_control").write_text(wanted)
        return
    _mount("tmpfs", _CGROUPS)
    lines = Path("/proc/cgroups").read_text().splitlines()[1:]
    enabled = [line.split()[0] for line in lines if line.split()[3] == "1"]
    # As systemd mounts them.
    together = {"cpuacct": "cpu,cpuacct", "cpu": "cpu,cpuacct"}
    together |= {"net_cls": "net_cls,net_prio", "net_prio": "net_cls,net_prio"}
    for names in sorted({together.get(name, name) for name in enabled}):
        present = ",".join(name for name in names.split(",") if name in enabled)
        try:
            _mount("cgroup", _CGROUPS / present, present)
        except subprocess.CalledProcessError:
            # Newer kernels list controllers that they have for version 2 only.
            (_CGROUPS / present).rmdir()
    if mode == "hybrid":
        _mount("cgroup2", _CGROUPS / "unified")


def _mount(kind: str, place: str | Path, options: str = "") -> None:
    Path(place).mkdir(parents=True, exist_ok=True)
    extra = ["-o", options] if options else []
    subprocess.run(["mount", "-t", kind, *extra, kind, str(place)], check=True)


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Run the command to its end, and bury whatever process dies meanwhile."""
    output = os.open(_OUTPUT, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(output)
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            cwd="/podtrace", env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        os.write(output, f"{command[0]}: {error.strerror}\n".encode())
        return 127
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            termios.tcdrain(output)
            return child.returncode


def _report(result: dict[str, Any]) -> None:
    with tarfile.open(_RESULT_DISK, "w|") as archive:
        content = json.dumps(result).encode()
        entry = tarfile.TarInfo("result.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        archive.add(_RESULTS, "results")


main()
