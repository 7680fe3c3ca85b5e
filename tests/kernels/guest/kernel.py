"""The kernels that guests boot: a Debian suite's newest, with the modules that a guest needs."""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kernels.guest import debian

SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "newest": "sid"}
"""Which Debian suite has which kernel; sid's changes with every release of Linux."""
_PACKAGE = "linux-image-cloud-amd64"
_PARTS = re.compile(r"linux-(image|binary|modules|base)-\d.*-amd64(-unsigned)?")
_WANTED_MODULES = ("virtio_pci", "virtio_blk", "fuse", "tun")
"""For the disks, and for workloads' slow files and links. Some kernels have some built in."""
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache."""

    name: str
    folder: Path

    @property
    def image(self) -> Path:
        """Return what QEMU boots."""
        return self.folder / "vmlinuz"

    @property
    def release(self) -> str:
        """Return the release, as `uname -r` prints it in the guest."""
        return (self.folder / "release").read_text().strip()

    @property
    def modules(self) -> list[Path]:
        """Return the modules in the order to load them in."""
        return [self.folder / name for name in (self.folder / "order").read_text().split()]


def kernel(name: str) -> Kernel:
    """Return a kernel by a name of SUITES; it is fetched where the cache has none that new.

    Raises:
        DebianError: it cannot be fetched.
    """
    suite = SUITES[name]
    packages = debian.newest(suite, _PACKAGE, _PARTS)
    if not packages:
        raise debian.DebianError(f"Debian {suite} has no {_PACKAGE}")
    made_of = "\n".join([*map(str, packages), *_WANTED_MODULES])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    folder = debian.CACHE.folder / f"kernel-{suite}-{digest}"
    with debian.CACHE.locked(f"lock-kernel-{suite}"):
        if not folder.exists():
            for old in debian.CACHE.folder.glob(f"kernel-{suite}-*"):
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(dir=debian.CACHE.folder) as work:
                unpacked, new = Path(work) / "unpacked", Path(work) / "new"
                debian.unpack(suite, packages, unpacked)
                new.mkdir()
                _keep(unpacked, new)
                new.rename(folder)
    return Kernel(name, folder)


def _keep(unpacked: Path, folder: Path) -> None:
    """Copy what a guest needs. Newer packages have all of it below usr/lib/modules."""
    (modules,) = {path.parent for path in unpacked.glob("**/lib/modules/*/modules.order")}
    (image,) = [path for path in unpacked.rglob("vmlinuz*") if path.is_file()]
    (config,) = [*unpacked.rglob("boot/config-*"), *modules.glob("config")]
    shutil.copy(image, folder / "vmlinuz")
    shutil.copy(config, folder / "config")
    (folder / "release").write_text(modules.name)
    files = {path.name.partition(".ko")[0].replace("-", "_"): path for path in _modules(modules)}
    order: list[str] = []
    for name in _WANTED_MODULES:
        _load(name, files, folder, order)
    (folder / "order").write_text("\n".join(order))


def _modules(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.ko*") if path.suffix in (".ko", ".xz")]


def _load(name: str, files: dict[str, Path], folder: Path, order: list[str]) -> None:
    """Add a module to the order, behind those that it depends on. Built in is good, too."""
    path = files.get(name)
    if path is None or f"{name}.ko" in order:
        return
    content = path.read_bytes()
    if path.suffix == ".xz":
        content = lzma.decompress(content)
    depends = _DEPENDS.search(content)
    for other in depends[1].decode().split(",") if depends else []:
        _load(other.replace("-", "_"), files, folder, order)
    (folder / f"{name}.ko").write_bytes(content)
    order.append(f"{name}.ko")
