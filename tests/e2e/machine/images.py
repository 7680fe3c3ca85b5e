"""The images of the cluster: made here, loaded from files, since there is no registry."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from e2e.machine.binaries import cache

PAUSE_IMAGE = "docker.io/podtrace/pause:e2e"
_HERE = Path(__file__).resolve().parent


def pause_archive() -> Path:
    """Return an OCI archive of the image that holds a pod's namespaces."""
    source = _HERE / "pause.c"
    archive = cache() / f"pause-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=cache()) as directory:
            program = Path(directory) / "pause"
            subprocess.run(["cc", "-static", "-Os", "-s", "-o", program, source], check=True)
            new = Path(directory) / archive.name
            _write_image(new, PAUSE_IMAGE, program, _architecture())
            new.rename(archive)
    return archive


def _architecture() -> str:
    done = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True)
    return done.stdout.decode().strip()


def _write_image(archive: Path, name: str, program: Path, architecture: str) -> None:
    """Write an image of one file, by the OCI image layout."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as files:
        entry = tarfile.TarInfo(program.name)
        entry.mode = 0o755
        content = program.read_bytes()
        entry.size = len(content)
        files.addfile(entry, io.BytesIO(content))
    blobs: list[bytes] = []

    def blob(content: bytes, kind: str) -> dict[str, Any]:
        blobs.append(content)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "size": len(content),
        }

    layers = [blob(layer.getvalue(), "layer.v1.tar")]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": layers,
    }
    described = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    described["annotations"] = {"io.containerd.image.name": name}
    index = {"schemaVersion": 2, "manifests": [described]}
    with tarfile.open(archive, mode="w") as files:
        parts = {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps(index).encode(),
            **{f"blobs/sha256/{hashlib.sha256(content).hexdigest()}": content for content in blobs},
        }
        for path, content in parts.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            files.addfile(entry, io.BytesIO(content))
