"""Makes the archive of this platform: `python -m release.archive FOLDER`.

PyInstaller freezes the programs with the Python that runs this. Two archives of the same commit,
made with the same Python and packages, are the same bytes: times are the commit's, files are in
order and belong to root.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from release.libc import needed_glibc
from release.notices import notices
from release.platforms import ROOT, archive_name, this_platform

NOTICES = "THIRD-PARTY-NOTICES"
PROGRAMS = ("kubectl-podtrace", "kubectl_complete-podtrace")


def main() -> int:
    """Make the archive in the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    system, machine = this_platform()
    with tempfile.TemporaryDirectory(prefix="podtrace-archive-") as work:
        frozen = freeze(Path(work))
        shutil.copy(ROOT / "LICENSE", frozen)
        (frozen / NOTICES).write_text(notices())
        path = folder / archive_name(system, machine)
        pack(frozen, path, int(os.environ["SOURCE_DATE_EPOCH"]))
        glibc = f", for glibc {needed_glibc(frozen)} and newer" if system == "linux" else ""
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB{glibc}")
    return 0


def freeze(work: Path) -> Path:
    """Return the folder with the programs and all that they need.

    Raises:
        SystemExit: PyInstaller failed; it has said why.
    """
    line = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN",
            "--distpath", str(work / "dist"), "--workpath", str(work / "build"),
            str(ROOT / "release/podtrace.spec")]  # fmt: skip
    # The order of sets shows in the programs.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if subprocess.run(line, env=environment, cwd=work).returncode:
        raise SystemExit("error: PyInstaller could not freeze the programs, see above")
    return work / "dist/podtrace"


def pack(folder: Path, path: Path, time: int) -> None:
    """Write what a folder holds, without the folder itself, into a compressed archive.

    Args:
        folder: regular files and folders only: krew unpacks no links.
        path: the file to write.
        time: of all files, in seconds since 1970.
    """
    partial = path.with_suffix(".partial")
    with (
        partial.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for file in _files(folder):
            entry = archive.gettarinfo(file, str(file.relative_to(folder)))
            entry.mode = 0o755 if file.name in PROGRAMS else 0o644
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.mtime = time
            with file.open("rb") as content:
                archive.addfile(entry, content)
    partial.replace(path)


def _files(folder: Path) -> Iterator[Path]:
    # PyInstaller links names of libraries, on macOS folders too; a copy does as well.
    for link in [path for path in folder.rglob("*") if path.is_symlink()]:
        target = link.resolve()
        link.unlink()
        if target.is_dir():
            shutil.copytree(target, link)
        else:
            shutil.copy(target, link)
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
