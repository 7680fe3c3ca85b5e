"""The launcher as it is set up on a machine, and the users that it is for or not for.

Users are numbers without an account. The group is one that the setup makes, and its undoing
removes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel.tracing import ROOT
from workload.stage import HERE

SETUP = ROOT / "scripts" / "setup-capabilities.sh"
SYSTEM_PYTHON = "/usr/bin/python3"
MEMBER, OUTSIDER = 54321, 54322
_PACKAGES = ("click", "markdown_it", "mdurl", "pygments", "rich", "yaml")
PATIENCE_SECONDS = 120.0


def set_up(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the setup script, as if nobody had called sudo."""
    environment = {key: value for key, value in os.environ.items() if key != "SUDO_USER"}
    return subprocess.run(
        ["bash", str(SETUP), *map(str, arguments)], env=environment, capture_output=True, text=True
    )


@dataclass(frozen=True)
class Installation:
    """A launcher of its own, below a folder that only root can change."""

    prefix: Path
    group: str

    @classmethod
    def make(cls, name: str) -> Installation:
        """Set it up; skips the test where something for that is missing."""
        made = cls(
            Path("/opt") / f"podtrace-{name}-{os.getpid()}", f"podtrace-{name}-{os.getpid()}"
        )
        done = made.run("install")
        if done.returncode and "is missing" in done.stderr:
            pytest.skip(done.stderr.splitlines()[0])
        assert done.returncode == 0, done.stderr
        return made

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the setup script for this prefix and group."""
        return set_up(*arguments, "--prefix", self.prefix, "--group", self.group)

    @property
    def launcher(self) -> Path:
        """The program with the capabilities."""
        return self.prefix / "podtrace-tracer"

    @property
    def gid(self) -> int:
        """Number of the group."""
        return self.launcher.stat().st_gid


class User:
    """Somebody with a folder, a readable copy of the plugin, and a Python that can run it."""

    def __init__(self, installation: Installation, uid: int, groups: Sequence[int] = ()) -> None:
        self.installation = installation
        self.uid = uid
        self.groups = list(groups)
        self.folder = Path(tempfile.mkdtemp(prefix="podtrace-user-"))
        self.folder.chmod(0o755)
        os.chown(self.folder, uid, uid)
        self._path = self.folder / "path"

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)

    def start(self, argv: Sequence[object], **options: Any) -> subprocess.Popen[bytes]:
        """Start a program as this user, without any right of root's."""
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.folder,
            "start_new_session": True,
            **options,
        }
        return subprocess.Popen(
            list(map(str, argv)),
            user=self.uid,
            group=self.uid,
            extra_groups=self.groups,
            **settings,
        )

    def run(self, argv: Sequence[object], **options: Any) -> subprocess.CompletedProcess[str]:
        """Do the same and wait."""
        process = self.start(argv, **options)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess(
            process.args, process.returncode, (out or b"").decode(), (err or b"").decode()
        )

    def launch(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the launcher itself."""
        return self.run([self.installation.launcher, *arguments], **options)

    def plugin(self) -> list[str]:
        """Return how a command line begins that runs podtrace as this user, started by root."""
        return [
            *("setpriv", "--reuid", str(self.uid), "--regid", str(self.uid)),
            *("--groups", ",".join(map(str, [self.uid, *self.groups]))),
            # What setpriv keeps of root's rights is gone with one more program.
            *("env", self._python(), "-m", "podtrace"),
        ]

    def environment(self) -> dict[str, str]:
        """Return what that needs beside the environment of the tests."""
        if not self._path.exists():
            for name in _PACKAGES:
                spec = importlib.util.find_spec(name)
                assert spec is not None and spec.origin is not None
                self._copy(Path(spec.origin).parent, self._path / name)
            self._copy(ROOT / "plugin" / "podtrace", self._path / "podtrace")
            self._copy(ROOT / "scripts", self.folder / "scripts")
            (self._path / "podtrace" / "_tracer").mkdir()
            for part in ("podtracer", "bpf", "podtrace"):
                self._copy(ROOT / "tracer-image" / part, self._path / "podtrace" / "_tracer" / part)
            for source in (SETUP, ROOT / "launcher" / "launcher.c"):
                shutil.copy(source, self._path / "podtrace" / "_tracer")
        return {
            "PYTHONPATH": str(self._path),
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
            "PODTRACE_LAUNCHER": str(self.installation.launcher),
        }

    def workload(self) -> Path:
        """Return a folder with the workloads that this user can read."""
        target = self.folder / "workload"
        if not target.exists():
            self._copy(HERE, target)
        return target

    def empty_file(self, name: str) -> Path:
        """Make a file that this user can write."""
        path = self.folder / name
        path.touch()
        os.chown(path, self.uid, self.uid)
        return path

    def _copy(self, source: Path, target: Path) -> None:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))

    def _python(self) -> str:
        wanted = "import sys; sys.exit(sys.version_info < (3, 11))"
        for python in (sys.executable, SYSTEM_PYTHON):
            try:
                if self.run([python, "-c", wanted]).returncode == 0:
                    return python
            except PermissionError:
                continue
        pytest.skip("no Python from 3.11 on may be executed by other users")


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return the code with which the launcher refused."""
    assert done.returncode == 126, done
    [line] = done.stdout.splitlines()
    error = json.loads(line)
    assert error["kind"] == "error"
    code: str = error["code"]
    return code
