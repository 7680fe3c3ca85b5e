"""The images of the cluster: made here, loaded from files, since there is no registry.

They are kept as archives, named for what they were made of, in the cache outside the tree.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cache import digest
from e2e.machine.archive import write_image
from e2e.machine.cache import CACHE
from e2e.machine.emulation import emulated

PAUSE_IMAGE = "docker.io/podtrace/pause:e2e"
WORKLOAD_IMAGE = "docker.io/podtrace/workload:e2e"
TRACER_IMAGE = "docker.io/podtrace/podtrace-tracer:e2e"
_STORAGE_BYTES = 12 * 10**9
_BASE_IMAGE = "docker.io/library/debian:bookworm-slim"
_HERE = Path(__file__).resolve().parent
_BASE = _HERE / "debian-image.sh"
_FOREIGN_TRACER_IMAGE = "docker.io/podtrace/podtrace-tracer-arm64:e2e"
_FOREIGN_BASE = "docker.io/podtrace/debian-arm64:bookworm-slim"
_CHECKOUT = _HERE.parent.parent.parent
_BUILD = _CHECKOUT / "scripts" / "build-image.sh"
_WORKLOAD = _CHECKOUT / "tests" / "workload"
_TRACER = (_CHECKOUT / "tracer-image", _CHECKOUT / "bpf", _CHECKOUT / "plugin/podtrace/wire")


def pause_archive() -> Path:
    """Return an archive of the image that holds a pod's namespaces."""
    source = _HERE / "pause.c"

    def make(archive: Path) -> None:
        program = archive.with_name("pause")
        _run("cc", "-static", "-Os", "-s", "-o", program, source)
        architecture = _run("dpkg", "--print-architecture").strip()
        write_image(archive, PAUSE_IMAGE, program, architecture)

    return _kept("pause", [source], make)


def tracer_archive() -> Path:
    """Return an archive of the tracer's image, made of this checkout as `make image` does."""

    def build(wanted: Mapping[str, str]) -> None:
        _run(_BUILD, environment=_with_base() | wanted | {"BASE": _BASE_IMAGE})

    return _tracer_archive("tracer", TRACER_IMAGE, build)


def write_tracer(image: str, file: Path) -> str:
    """Write the tracer's image to a file, as `make image` does; return what that prints."""
    wanted = {"IMAGE": image, "OUTPUT": str(file), "BUILDER": "buildah", "BASE": _BASE_IMAGE}
    with CACHE.locked():
        return _run(_BUILD, environment=_with_base() | wanted)


def foreign_tracer_archive() -> Path:
    """Return an archive of the same for arm64, on a machine of another architecture."""

    def build(wanted: Mapping[str, str]) -> None:
        foreign = {"PLATFORM": "linux/arm64", "BASE": _FOREIGN_BASE}
        environment = _storage() | wanted | foreign
        _run(*emulated(str(_BASE), "bookworm", "arm64"), environment=environment)
        _run(*emulated(str(_BUILD)), environment=environment)

    return _tracer_archive("arm64-tracer", _FOREIGN_TRACER_IMAGE, build)


def _tracer_archive(name: str, image: str, build: Callable[[Mapping[str, str]], None]) -> Path:
    sources = [
        path
        for directory in _TRACER
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]

    def make(archive: Path) -> None:
        build({"IMAGE": image, "OUTPUT": str(archive), "BUILDER": "buildah"})

    return _kept(name, [_BASE, _BUILD, *sources], make)


def workload_archive() -> Path:
    """Return an archive of the image with Python and the tests' workloads."""
    sources = [_BASE, _WORKLOAD / "Dockerfile", *sorted(_WORKLOAD.glob("*.py"))]

    def make(archive: Path) -> None:
        environment = _with_base()
        build = ("build", "--quiet", "--layers", f"--tag={WORKLOAD_IMAGE}", _WORKLOAD)
        _run("buildah", *build, environment=environment)
        place = f"docker-archive:{archive}:{WORKLOAD_IMAGE}"
        _run("buildah", "push", "--quiet", WORKLOAD_IMAGE, place, environment=environment)

    return _kept("workload", sources, make)


def _with_base() -> dict[str, str]:
    """Return an environment in which buildah finds the base image, kept in the cache."""
    environment = _storage()
    _run(_BASE, environment=environment)
    return environment


def _storage() -> dict[str, str]:
    """Return an environment in which buildah keeps its images in the cache."""
    settings = CACHE.folder / "storage.conf"
    # An overlay on an overlay is refused; whole copies are slower, and work everywhere.
    kind = _run("stat", "--file-system", "--format=%T", CACHE.folder).strip()
    driver = "vfs" if kind == "overlayfs" else "overlay"
    images = CACHE.folder / f"images-{driver}"
    settings.write_text(
        f'[storage]\ndriver = "{driver}"\ngraphroot = "{images}"\nrunroot = "{images}-run"\n'
    )
    environment = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(settings),
        "STORAGE_DRIVER": driver,
        "BUILDAH_ISOLATION": "chroot",
    }
    # The layers of old sources are never used again.
    if _bytes_below(images) > _STORAGE_BYTES:
        _run("buildah", "rmi", "--all", "--force", environment=environment)
    return environment


def _bytes_below(directory: Path) -> int:
    if not directory.exists():
        return 0
    return int(_run("du", "--summarize", "--bytes", directory).split()[0])


def _kept(name: str, sources: Iterable[Path], make: Callable[[Path], None]) -> Path:
    archive = CACHE.folder / f"{name}-{digest(sources)}.tar"
    with CACHE.locked():
        if not archive.exists():
            for old in CACHE.folder.glob(f"{name}-*.tar"):
                old.unlink()
            with tempfile.TemporaryDirectory(dir=CACHE.folder) as directory:
                new = Path(directory) / archive.name
                make(new)
                new.rename(archive)
    return archive


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        output = (done.stdout + done.stderr)[-4000:]
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{output}")
    return done.stdout
