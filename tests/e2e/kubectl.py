"""The real kubectl, as a test uses it, with this checkout's plugin on its PATH."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PATIENCE_SECONDS = 300.0
"""For what has to come, whenever it does: nobody waits so long where it works."""


class CommandError(AssertionError):
    """A command that should have worked did not."""


@dataclass(frozen=True)
class Result:
    """What a command said, and how long it took."""

    code: int
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one user, and by default for one namespace."""

    program: Path
    kubeconfig: Path
    namespace: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of every command."""
        path = f"{CHECKOUT}:{self.program.parent}:{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig), **self.variables}

    def within(self, namespace: str) -> Kubectl:
        """Return the same for another namespace."""
        return replace(self, namespace=namespace)

    def as_user(self, kubeconfig: Path) -> Kubectl:
        """Return the same for another user."""
        return replace(self, kubeconfig=kubeconfig)

    def command(self, *arguments: str) -> list[str]:
        """Return what is executed; a plugin's name stays the first argument."""
        where = [f"--namespace={self.namespace}"] if self.namespace else []
        return [str(self.program), arguments[0], *where, *arguments[1:]]

    def run(
        self,
        *arguments: str,
        check: bool = True,
        seconds: float = PATIENCE_SECONDS,
        stdin: str | None = None,
    ) -> Result:
        """Run a command to its end.

        Raises:
            CommandError: `check` and it did not end with 0.
        """
        begin = time.monotonic()
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        result = Result(done.returncode, done.stdout, done.stderr, time.monotonic() - begin)
        if check and result.code:
            raise CommandError(f"kubectl {' '.join(arguments)}: {result}")
        return result

    def podtrace(self, *arguments: str, check: bool = True) -> Result:
        """Run `kubectl podtrace ...` to its end."""
        return self.run("podtrace", *arguments, check=check)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command; the test ends it."""
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **options,
        }
        return subprocess.Popen(self.command(*arguments), env=self.environment, **settings)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or change objects."""
        content = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "--filename=-", stdin=json.dumps(content))

    def get(self, *arguments: str) -> Any:
        """Return an object, or a list of objects, as data."""
        return json.loads(self.run("get", *arguments, "--output=json").stdout)

    def wait(self, condition: str, *names: str) -> None:
        """Wait for a condition of objects: `condition=Ready`, `jsonpath=...`, `delete`."""
        limit = f"--timeout={PATIENCE_SECONDS:.0f}s"
        self.run("wait", f"--for={condition}", limit, *names, seconds=PATIENCE_SECONDS + 30)

    def wait_for_pods(self, *names: str) -> None:
        """Wait until pods are ready."""
        self.wait("condition=Ready", *(f"pod/{name}" for name in names))


def pod(
    name: str, image: str, arguments: Sequence[str] = (), *, node: str = "", **spec: Any
) -> dict[str, Any]:
    """Return a pod of one container `main`; more of its `spec` by keywords."""
    container: dict[str, Any] = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}
    if arguments:
        container |= {"args": list(arguments)}
    placed = {"nodeName": node} if node else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "containers": [container],
            "terminationGracePeriodSeconds": 1,
            "dnsPolicy": "Default",
            **placed,
            **spec,
        },
    }
