"""Boots a guest with QEMU, passes on what it prints, and brings back what it left."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import selectors
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernels.guest import initrd, payload
from kernels.guest.accelerator import accelerator
from kernels.guest.debian import CACHE
from kernels.guest.kernel import Kernel
from kernels.guest.root import Root

_QEMU = "qemu-system-x86_64"
_MEMORY_MIB = 1024
_RESULT_BYTES = 64 * 2**20
_GLANCE_SECONDS = 0.5
_KEPT_SECONDS = 7 * 24 * 3600
_COMMAND_LINE = (
    # Mitigations of what an emulated processor does not have cost it half its speed.
    "console=ttyS0 panic=-1 mitigations=off random.trust_cpu=on net.ifnames=0"
)


class GuestError(Exception):
    """A guest did not come to the end of its command. `console` is its kernel's log."""

    def __init__(self, message: str, console: Path) -> None:
        super().__init__(f"{message}; its console is in {console}\n{_tail(console)}")
        self.console = console


@dataclass(frozen=True)
class Outcome:
    """What a command in a guest came to."""

    code: int
    folder: Path
    """Has `output`, what the command printed, `console`, the kernel's log, and `results`."""
    boot_seconds: float
    seconds: float


def boot(
    kernel: Kernel,
    root: Root,
    source: Path,
    order: payload.Order,
    *,
    seconds: float,
    parameters: Sequence[str] = (),
    passed: Callable[[bytes], None] = lambda _: None,
    ended: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Boot a guest, run the command of `order` with the checkout in `source`, and wait for both.

    Args:
        kernel: what is booted
        root: its root file system
        source: the checkout, which the guest has in /podtrace
        order: what to run, and the machine's cgroups
        seconds: when to give up
        parameters: more of the kernel's command line
        passed: is given the command's output as it comes
        ended: tells that the guest is not wanted any more

    Raises:
        GuestError: the guest panicked, hung, came to no end in time, or is not wanted any more.
    """
    if platform.machine() != "x86_64":
        raise OSError(f"guests are made for x86_64 only, this machine is {platform.machine()}")
    folder = _new_folder(f"{kernel.name}-{order.cgroups}")
    console, output = folder / "console", folder / "output"
    console.touch()
    initrd.write(folder / "initrd", kernel, root.busybox)
    payload.write(folder / "code", source, order)
    with (folder / "result").open("wb") as disk:
        disk.truncate(_RESULT_BYTES)
    command = [
        *(_QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-nic", "none", "-m", f"{_MEMORY_MIB}M", "-smp", "2", *accelerator(kernel.image)),
        *("-kernel", kernel.image, "-initrd", folder / "initrd"),
        *("-append", " ".join([_COMMAND_LINE, *parameters])),
        *("-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"),
        *("-chardev", "stdio,id=output,signal=off", "-serial", "chardev:output"),
        *_disk(root.disk, "snapshot=on"),
        *_disk(folder / "code", "readonly=on"),
        *_disk(folder / "result", "cache=unsafe"),
    ]
    began = time.monotonic()
    code = _run([str(part) for part in command], output, began + seconds, passed, ended)
    for name in ("initrd", "code"):
        (folder / name).unlink()
    name = f"the guest with kernel {kernel.name} and cgroups {order.cgroups}"
    if code is None:
        raise GuestError(f"{name} was ended after {time.monotonic() - began:.0f} s", console)
    if code:
        raise GuestError(f"{_QEMU} failed with {code}: {_tail(output)}", console)
    with tarfile.open(folder / "result") as archive:
        archive.extractall(folder, [entry for entry in archive if entry.isfile()], filter="data")
    (folder / "result").unlink()
    try:
        result = json.loads((folder / "result.json").read_text())
    except FileNotFoundError as error:
        raise GuestError(f"{name} came to no result", console) from error
    spent = time.monotonic() - began
    return Outcome(result["code"], folder, result["ready_seconds"], spent)


def _disk(path: Path, option: str) -> tuple[str, str]:
    return "-drive", f"if=virtio,format=raw,file={path},{option}"


def _run(
    command: Sequence[str],
    output: Path,
    deadline: float,
    passed: Callable[[bytes], None],
    ended: Callable[[], bool],
) -> int | None:
    """Return the exit code, or None when time was up or the guest not wanted any more."""
    with (
        output.open("wb", buffering=0) as file,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        selector.register(descriptor, selectors.EVENT_READ)
        try:
            while time.monotonic() < deadline and not ended():
                if not selector.select(_GLANCE_SECONDS):
                    continue
                data = os.read(descriptor, 65536)
                if not data:
                    return process.wait()
                file.write(data)
                passed(data)
            return None
        finally:
            process.kill()


def _new_folder(name: str) -> Path:
    logs = CACHE.folder / "guests"
    logs.mkdir(exist_ok=True)
    for old in logs.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(old)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=logs))


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-25:])
