"""Programs in Go that tests need, each built once for each version, outside the tree.

Every one is a module beside this package, which pins what it is made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from e2e.machine.cache import CACHE

_MODULES = Path(__file__).resolve().parent.parent
_ENVIRONMENT = {"CGO_ENABLED": "0", "GOOS": "linux", "GOWORK": "off"}
_BUILD_SECONDS = 35 * 60
_PROMETHEUS = "github.com/prometheus/prometheus/cmd/prometheus"


def kubernetes() -> Path:
    """Return all parts of Kubernetes; the first argument, or its own name, picks the part.

    Raises:
        RuntimeError: it could not be built.
    """
    found = re.search(
        r"k8s\.io/kubernetes v(1)\.(\d+)\.\S+", (_MODULES / "kubernetes/go.mod").read_text()
    )
    if found is None:
        raise RuntimeError("go.mod does not name a version of k8s.io/kubernetes")
    version = found[0].split()[1]
    settings = {
        "k8s.io/component-base/version.gitVersion": version,
        "k8s.io/component-base/version.gitMajor": found[1],
        "k8s.io/component-base/version.gitMinor": found[2],
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }
    program = _built("kubernetes", flags=[f"-X {name}={value}" for name, value in settings.items()])
    with CACHE.locked():
        kubectl = program.with_name("kubectl")
        if not kubectl.exists():
            kubectl.hardlink_to(program)
    return program


def prometheus() -> Path:
    """Return a Prometheus that discovers pods.

    Raises:
        RuntimeError: it could not be built.
    """
    # Every other discovery brings the libraries of a cloud along.
    return _built("prometheus", _PROMETHEUS, tags="remove_all_sd,enable_kubernetes_sd")


def dashboard() -> Path:
    """Return the reader of Grafana's dashboards.

    Raises:
        RuntimeError: it could not be built.
    """
    return _built("dashboard")


def operator_definitions() -> Path:
    """Return the folder with the Prometheus Operator's definitions of its resources.

    Raises:
        RuntimeError: they could not be had.
    """
    command = [
        "go",
        "mod",
        "download",
        "-json",
        "github.com/prometheus-operator/prometheus-operator",
    ]
    done = subprocess.run(
        command, cwd=_MODULES / "operator", env={**os.environ, **_ENVIRONMENT},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the Prometheus Operator's module: {done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"]) / "example/prometheus-operator-crd"


def _built(name: str, package: str = ".", tags: str = "", flags: Sequence[str] = ()) -> Path:
    source = _MODULES / name
    environment = {**os.environ, **_ENVIRONMENT}
    try:
        compiler = subprocess.run(
            ["go", "env", "GOVERSION", "GOARCH"],
            check=True, capture_output=True, text=True, cwd=source, env=environment,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"building {name} needs Go, https://go.dev/dl/: {error}") from error
    digest = hashlib.sha256(compiler.encode())
    for path in sorted(path for path in source.iterdir() if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    program = CACHE.folder / f"{name}-{digest.hexdigest()[:16]}" / name
    with CACHE.locked():
        if program.exists():
            return program
        program.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as directory:
            new = Path(directory) / name
            linker = " ".join(["-s", "-w", *flags])
            options = ["-buildvcs=false", "-trimpath", "-tags", tags, "-ldflags", linker]
            done = subprocess.run(
                ["go", "build", *options, "-o", new, package],
                cwd=source, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{name} could not be built:\n{done.stderr[-4000:]}")
            new.rename(program)
    return program
