"""What the archive is packed from may be full of links; the archive has none."""

from __future__ import annotations

import tarfile
from pathlib import Path

from release.archive import pack


def test_links_to_files_and_folders_become_what_they_lead_to(tmp_path: Path) -> None:
    # As PyInstaller leaves a framework of macOS.
    frozen = tmp_path / "frozen"
    versions = frozen / "lib/Python.framework/Versions"
    (versions / "3.13/Resources").mkdir(parents=True)
    (versions / "3.13/Resources/Info.plist").write_text("about")
    (versions / "3.13/Python").write_text("library")
    (versions / "Current").symlink_to("3.13")
    (frozen / "lib/Python.framework/Resources").symlink_to("Versions/Current/Resources")
    (frozen / "lib/Python").symlink_to("Python.framework/Versions/Current/Python")
    pack(frozen, tmp_path / "made.tar.gz", 1)
    with tarfile.open(tmp_path / "made.tar.gz") as archive:
        members = archive.getmembers()
        assert all(member.isreg() for member in members)
        content = {
            member.name.removeprefix("lib/"): archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in members
        }
    assert list(content) == sorted(content)
    assert content == {
        "Python": b"library",
        "Python.framework/Resources/Info.plist": b"about",
        "Python.framework/Versions/3.13/Python": b"library",
        "Python.framework/Versions/3.13/Resources/Info.plist": b"about",
        "Python.framework/Versions/Current/Python": b"library",
        "Python.framework/Versions/Current/Resources/Info.plist": b"about",
    }
