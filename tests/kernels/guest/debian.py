"""Packages of any Debian suite, found and fetched beside the machine's own package lists.

apt works in directories of its own, so that neither the machine's lists nor its packages change.
What it fetches is verified with Debian's archive keys, as packages of the machine are.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cache import Cache

CACHE = Cache("podtrace-kernels")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_FRESH_SECONDS = 24 * 3600
_UNSTABLE = "sid"
_PRINTED = re.compile(r"^'\S+' ([^_\s]+)_([^_\s]+)_\S+ \d+", re.MULTILINE)
"""A line of apt: the address, the file's name with package and version in it, the size."""


class DebianError(Exception):
    """A package could not be found or fetched."""


@dataclass(frozen=True)
class Package:
    """A version of a package; the archive never has two different ones of that name."""

    name: str
    version: str


def newest(suite: str, wanted: str, needed: re.Pattern[str]) -> list[Package]:
    """Return the newest `wanted` of a suite and those packages of its dependencies that match.

    The archive is asked once a day.

    Raises:
        DebianError: the archive does not answer, cannot be verified, or has no such package.
    """
    answer = CACHE.folder / f"newest-{suite}-{wanted}.json"
    with CACHE.locked(f"lock-{suite}"):
        age = time.time() - answer.stat().st_mtime if answer.exists() else _FRESH_SECONDS
        if not 0 <= age < _FRESH_SECONDS:
            _update(suite)
            printed = _apt(suite, "apt-get", "install", "--print-uris", "--yes", wanted)
            found = [
                Package(name, version.replace("%3a", ":"))
                for name, version in _PRINTED.findall(printed)
            ]
            answer.write_text(json.dumps([asdict(package) for package in found], indent=1))
        packages = [Package(**package) for package in json.loads(answer.read_text())]
    return [package for package in packages if needed.fullmatch(package.name)]


def unpack(suite: str, packages: Sequence[Package], folder: Path) -> None:
    """Fetch packages that `newest` named, and unpack them into one folder.

    Raises:
        DebianError: the archive does not answer, or has newer ones by now.
    """
    with CACHE.locked(f"lock-{suite}"):
        store = folder.with_suffix(".packages")
        store.mkdir()
        names = [f"{package.name}={package.version}" for package in packages]
        _apt(suite, "apt-get", "download", *names, directory=store)
        for archive in store.iterdir():
            subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
            archive.unlink()
        store.rmdir()


def _update(suite: str) -> None:
    state = _state(suite)
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    archive, security = _mirrors()
    entries = [(archive, suite)]
    if suite != _UNSTABLE:
        entries.append((security, f"{suite}-security"))
    (state / "sources.list").write_text(
        "".join(f"deb [signed-by={KEYRING}] {url} {name} main\n" for url, name in entries)
    )
    settings = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
    }
    lines = [f'{name} "{value}";\n' for name, value in settings.items()]
    (state / "apt.conf").write_text("".join(lines))
    _apt(suite, "apt-get", "update", "--error-on=any")


def _mirrors() -> tuple[str, str]:
    """Return the machine's own mirrors of the archive and of the security archive."""
    text = "".join(path.read_text() for path in _SOURCES if path.exists())
    urls = re.findall(r"^(?!#).*?(https?://[^\s\]]+)", text, re.MULTILINE)
    archive = [url for url in urls if url.rstrip("/").endswith("/debian")]
    security = [url for url in urls if "debian-security" in url]
    return (
        [*archive, "http://deb.debian.org/debian"][0],
        [*security, "http://deb.debian.org/debian-security"][0],
    )


def _state(suite: str) -> Path:
    return CACHE.folder / f"apt-{suite}"


def _apt(suite: str, *command: str, directory: Path | None = None) -> str:
    done = subprocess.run(
        ["env", f"APT_CONFIG={_state(suite) / 'apt.conf'}", "DEBIAN_FRONTEND=noninteractive",
         *command],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=directory,
    )  # fmt: skip
    if done.returncode == 0:
        return done.stdout
    if "NO_PUBKEY" in done.stderr:
        raise DebianError(
            f"{KEYRING} lacks the key that Debian {suite} is signed with: "
            f"install a newer debian-archive-keyring\n{done.stderr}"
        )
    raise DebianError(f"{' '.join(command)} failed for Debian {suite}:\n{done.stderr}")
