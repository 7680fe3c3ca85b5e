"""Programs of others that podtrace is installed by: kubectl and krew, built from Go modules."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from e2e.machine.binaries import kubernetes
from release.platforms import ROOT
from ship.fresh_machine import CACHE

KREW = "v0.4.3"
RELEASE_BIN = ROOT / os.environ.get("RELEASE_VENV", "build/release-venv") / "bin"
"""Of the environment that the Makefile makes releases with."""


def kubectl() -> Path:
    """Return kubectl, of the Kubernetes that the tests on a cluster use."""
    return kubernetes().with_name("kubectl")


def krew() -> Path:
    """Return krew, which kubectl calls when it is called kubectl-krew."""
    return _built("krew")


def manifest_checker() -> Path:
    """Return what krew's central index checks manifests with."""
    return _built("validate-krew-manifest")


def _built(name: str) -> Path:
    folder = CACHE.folder / f"krew-{KREW}"
    with CACHE.locked("lock-tools"):
        if not (folder / name).exists():
            environment = {
                **os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-trimpath"
            }  # fmt: skip
            subprocess.run(
                ["go", "install", f"sigs.k8s.io/krew/cmd/{name}@{KREW}"],
                check=True, env=environment, cwd="/",
            )  # fmt: skip
    return folder / name
