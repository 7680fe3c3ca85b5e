"""The program with all parts of Kubernetes, built once for each version, outside the tree."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from e2e.machine.cache import CACHE

_SOURCE = Path(__file__).resolve().parent.parent / "kubernetes"
_BUILD_SECONDS = 35 * 60


def kubernetes() -> Path:
    """Return the program; its first argument, or its own name, picks the part.

    Raises:
        RuntimeError: it could not be built.
    """
    environment = {**os.environ, "CGO_ENABLED": "0", "GOOS": "linux", "GOWORK": "off"}
    try:
        compiler = subprocess.run(
            ["go", "env", "GOVERSION", "GOARCH"],
            check=True, capture_output=True, text=True, cwd=_SOURCE, env=environment,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"building Kubernetes needs Go, https://go.dev/dl/: {error}") from error
    sources = sorted(path for path in _SOURCE.iterdir() if path.is_file())
    digest = hashlib.sha256(compiler.encode())
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    directory = CACHE.folder / f"kubernetes-{digest.hexdigest()[:16]}"
    program = directory / "kubernetes"
    with CACHE.locked():
        if not program.exists():
            directory.mkdir(exist_ok=True)
            _build(program, environment)
        kubectl = directory / "kubectl"
        if not kubectl.exists():
            kubectl.hardlink_to(program)
    return program


def _build(program: Path, environment: dict[str, str]) -> None:
    found = re.search(r"k8s\.io/kubernetes v(1)\.(\d+)\.\S+", (_SOURCE / "go.mod").read_text())
    if found is None:
        raise RuntimeError("go.mod does not name a version of k8s.io/kubernetes")
    version = found[0].split()[1]
    settings = {
        "k8s.io/component-base/version.gitVersion": version,
        "k8s.io/component-base/version.gitMajor": found[1],
        "k8s.io/component-base/version.gitMinor": found[2],
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }
    flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in settings.items())])
    with tempfile.TemporaryDirectory(dir=program.parent) as directory:
        new = Path(directory) / program.name
        done = subprocess.run(
            ["go", "build", "-buildvcs=false", "-trimpath", "-ldflags", flags, "-o", new, "."],
            cwd=_SOURCE, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"Kubernetes could not be built:\n{done.stderr[-4000:]}")
        new.rename(program)
