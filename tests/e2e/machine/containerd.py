"""A containerd alone: what runs a container of an image where there is no Kubernetes."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

from e2e.machine import control_groups
from e2e.machine.processes import Processes

NAMESPACE = "podtrace"


class Containerd:
    """A containerd of this machine, with everything of its own. A context manager."""

    def __init__(self, folder: Path) -> None:
        """Take a folder on a file system that overlays can be made of."""
        self._folder = folder
        self._processes = Processes(folder)
        self._socket = folder / "containerd.sock"
        self._settings = folder / "containerd.toml"
        self._cgroup = f"/podtrace-containerd-{secrets.token_hex(4)}"
        self._settings.write_text(f"""\
version = 2
root = "{folder / "root"}"
state = "{folder / "state"}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{self._socket}"
""")

    def __enter__(self) -> Containerd:
        control_groups.create(self._cgroup)
        try:
            name = "containerd"
            self._processes.start(name, [name, "--config", self._settings])
            self._processes.wait(self._answers, name, needs=[name])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.end_all(lambda: control_groups.processes(self._cgroup))
        control_groups.remove(self._cgroup)
        # The root of a container whose ctr was killed.
        for place in reversed(self._mounts()):
            subprocess.run(["umount", place], check=True)

    def ctr(self, *arguments: str) -> str:
        """Ask it something, among the images and containers of its only namespace."""
        return subprocess.run(
            self._command(*arguments), check=True, capture_output=True, text=True
        ).stdout

    def run(self, image: str, *options: str, program: Sequence[str]) -> list[str]:
        """Return the command line that runs a program of an image, for `Popen`.

        Its output, the signals that it gets, and its end are those of the program. What is behind
        it are arguments of the program.
        """
        name = f"c{secrets.token_hex(4)}"
        place = f"--cgroup={self._cgroup}/{name}"
        return self._command("run", "--rm", place, *options, image, name, *program)

    def _command(self, *arguments: str) -> list[str]:
        return ["ctr", f"--address={self._socket}", f"--namespace={NAMESPACE}", *arguments]

    def _answers(self) -> bool:
        done = subprocess.run(self._command("version"), capture_output=True)
        return done.returncode == 0

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        places = [line.split()[4] for line in lines]
        return [place for place in places if Path(place).is_relative_to(self._folder)]
