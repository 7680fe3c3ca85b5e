"""An image in an archive: what it says of itself, its layers, and its files."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class UnpackedImage:
    """An image whose layers are unpacked one over the other in `root`."""

    config: dict[str, Any]
    layers: tuple[Path, ...]
    root: Path

    @classmethod
    def of(cls, archive: Path, folder: Path) -> UnpackedImage:
        """Unpack an archive as docker writes them into an empty folder."""
        _unpack(archive, folder)
        [manifest] = json.loads((folder / "manifest.json").read_text())
        layers = tuple(folder / name for name in manifest["Layers"])
        root = folder / "root"
        root.mkdir()
        for layer in layers:
            _unpack(layer, root)
        return cls(json.loads((folder / manifest["Config"]).read_text()), layers, root)

    @property
    def labels(self) -> dict[str, str]:
        """Return its labels."""
        labels: dict[str, str] = self.config["config"]["Labels"]
        return labels

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """Return the command line that stands before a container's arguments."""
        return tuple(self.config["config"]["Entrypoint"])

    def entries(self) -> Iterator[tarfile.TarInfo]:
        """Yield what the layers say of each file and directory."""
        for layer in self.layers:
            with tarfile.open(layer) as tar:
                yield from tar

    def compressed_bytes(self) -> int:
        """Return how many bytes a node has to pull."""
        return sum(map(_compressed_bytes, self.layers))


def _compressed_bytes(layer: Path) -> int:
    with layer.open("rb") as file:
        return len(subprocess.check_output(["gzip", "-n"], stdin=file))


def _unpack(archive: Path, folder: Path) -> None:
    subprocess.run(["tar", "-x", "-p", "-f", archive, "-C", folder], check=True)
