"""A Debian on which nothing of podtrace is: a root directory that is entered for each command.

It is made once and kept outside the tree; what a test does to it goes to a layer of its own. All
mounts are in a namespace that ends with the command, so that nothing stays mounted.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cache import Cache, digest

CACHE = Cache("podtrace-ship")
_SCRIPT = Path(__file__).with_name("fresh-debian.sh")
_PATH = (
    "/root/.local/bin:/root/.krew/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)
_ENTER = """\
set -eu
base=$1 layer=$2 shared=$3
shift 3
root=$layer/root
mount -t overlay overlay -o "lowerdir=$base,upperdir=$layer/upper,workdir=$layer/work" "$root"
for folder in /proc /sys /dev; do
    mount --rbind "$folder" "$root$folder"
done
for file in /etc/resolv.conf /etc/hosts; do
    [ ! -e "$file" ] || { touch "$root$file" && mount --bind "$file" "$root$file"; }
done
mkdir -p "$root/var/cache/shared"
mount --bind "$shared" "$root/var/cache/shared"
# What this machine trusts, its mirrors may need.
mount --bind /etc/ssl/certs "$root/etc/ssl/certs"
mount -t tmpfs tmpfs "$root/tmp"
exec chroot "$root" "$@"
"""
# How this machine reaches package indexes.
_PASSED = ("PIP_", "UV_", "SSL_", "REQUESTS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Debian:
    """What a fresh machine begins with."""

    suite: str
    packages: tuple[str, ...] = ()


ORDINARY = Debian(
    "bookworm", ("ca-certificates", "git", "make", "pipx", "python3-bpfcc", "python3-venv")
)
OLDEST = Debian("bullseye", ("ca-certificates",))
"""Its glibc is the oldest that the archive is to start with."""


def base(debian: Debian) -> Path:
    """Return the root directory of machines with that Debian.

    Raises:
        RuntimeError: it could not be made.
    """
    wanted = hashlib.sha256(repr(debian).encode()).hexdigest()[:8]
    folder = CACHE.folder / f"debian-{digest([_SCRIPT])}-{wanted}"
    with CACHE.locked():
        if not folder.exists():
            new = folder.with_suffix(".new")
            subprocess.run(["rm", "-rf", "--one-file-system", new], check=True)
            done = subprocess.run(
                [_SCRIPT, new, debian.suite, *debian.packages], capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError(f"no Debian could be made:\n{done.stderr[-4000:]}")
            new.rename(folder)
    return folder


class FreshMachine:
    """A machine of its own for one test.

    Args:
        layer: a folder for what the test changes.
        debian: what is there before.
    """

    def __init__(self, layer: Path, debian: Debian = ORDINARY) -> None:
        self._layer = layer
        self._base = base(debian)
        for name in ("root", "upper", "work"):
            (layer / name).mkdir(parents=True)
        self._shared = CACHE.folder / "downloads"
        self._shared.mkdir(exist_ok=True)

    def path(self, place: str) -> Path:
        """Return where this machine keeps what is at `/...` there, if it is not from the base."""
        return self._layer / "upper" / place.lstrip("/")

    def put(self, source: Path, place: str) -> None:
        """Copy a file or folder to a place on the machine, which is `/...`."""
        target = self.path(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "--dereference", source, target], check=True)

    def run(
        self, script: str, environment: Mapping[str, str] | None = None, folder: str = "/root"
    ) -> subprocess.CompletedProcess[str]:
        """Run a script as root in a login's plain environment, and return what it said."""
        passed = {
            name: value for name, value in os.environ.items() if name.upper().startswith(_PASSED)
        }
        passed.pop("PIP_FIND_LINKS", None)
        plain = {
            **passed,
            "HOME": "/root",
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            "PIP_CACHE_DIR": "/var/cache/shared/pip",
            "UV_CACHE_DIR": "/var/cache/shared/uv",
            "UV_LINK_MODE": "copy",
            **(environment or {}),
        }
        line = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "enter",
                str(self._base), str(self._layer), str(self._shared),
                "bash", "-euc", f"cd {folder}\n{script}"]  # fmt: skip
        return subprocess.run(
            line,
            env={**plain, "PATH": f"{_PATH}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=600,
        )

    def must(self, script: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a script that has to succeed, and return what it printed."""
        done = self.run(script, environment)
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout
