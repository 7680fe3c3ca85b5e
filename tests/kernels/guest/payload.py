"""What a guest finds on its second disk: a checkout, and the order what to do with it."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

PLACE = "podtrace"
"""Where the checkout is in every guest, below the root."""
_INSIDE = Path(__file__).resolve().parent / "inside"
_LEFT_OUT = {"build", "dist", "__pycache__"}
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PYTHONPATH": f"/{PLACE}/plugin:/{PLACE}/tests",
    "PODTRACE_REQUIRE_KERNEL": "1",
    # An emulated processor is about twenty times slower, and two guests share this machine.
    "PODTRACE_TEST_SLOWNESS": "8",
}
IMAGE_PYTHON = {"PODTRACE_PYTHON": "/guest/image-python"}
"""With these variables the tracer runs in the file system of its image."""


@dataclass(frozen=True)
class Order:
    """What to run in a guest, and the machine to run it in."""

    command: list[str]
    cgroups: str = "v2"
    hide_btf: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def write(path: Path, source: Path, order: Order) -> None:
    """Write the disk: the order, what the guest runs it with, and the checkout in `source`."""
    settings = asdict(order) | {"environment": _ENVIRONMENT | order.environment}
    content = json.dumps(settings).encode()
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("guest/order.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        for name in ("init.py", "image-python"):
            archive.add(_INSIDE / name, f"guest/{name}")
        archive.add(source, PLACE, filter=_code)


def _code(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what is not code; hidden files of a checkout are tools' caches."""
    name = Path(entry.name).name
    if name in _LEFT_OUT or name.startswith("."):
        return None
    entry.uid = entry.gid = 0
    return entry
