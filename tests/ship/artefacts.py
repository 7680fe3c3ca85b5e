"""The files of a release by what they are."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

from release.platforms import archive_name, this_platform, version


@dataclass(frozen=True)
class Artefacts:
    """A folder that `make dist` filled."""

    folder: Path

    @property
    def wheel(self) -> Path:
        return self.folder / f"podtrace-{version()}-py3-none-any.whl"

    @property
    def sdist(self) -> Path:
        return self.folder / f"podtrace-{version()}.tar.gz"

    @property
    def archive(self) -> Path:
        return self.folder / archive_name(*this_platform())

    @property
    def manifest(self) -> Path:
        return self.folder / "podtrace.yaml"

    @property
    def bill(self) -> Path:
        return self.folder / f"podtrace-{version()}.cdx.json"

    @property
    def sums(self) -> Path:
        return self.folder / "SHA256SUMS"

    def all(self) -> list[Path]:
        return [self.wheel, self.sdist, self.archive, self.manifest, self.bill, self.sums]

    def unpack_archive(self, folder: Path) -> Path:
        with tarfile.open(self.archive) as archive:
            archive.extractall(folder, filter="data")
        return folder
