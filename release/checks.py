"""What has to be true of a tree before a release is made of it: `python -m release.checks`."""

from __future__ import annotations

import re
import subprocess
import sys

from release.platforms import ROOT, version


def main() -> int:
    """Say what is in the way, and return whether anything is."""
    found = obstacles()
    if "--partial" not in sys.argv and "--with-address" not in sys.argv:
        found.append("nothing says where the release will be fetched: make release RELEASE_URL=...")
    for obstacle in found:
        print(f"error: {obstacle}", file=sys.stderr)
    if found:
        print("hint: make dist makes the same files of any tree, for tests", file=sys.stderr)
    return 1 if found else 0


def obstacles() -> list[str]:
    """Return why no release can be made of this tree."""
    found = []
    if changed := _git("status", "--porcelain", "--untracked-files=normal"):
        found.append(f"the tree has changes that no commit has:\n{changed}")
    tag = f"v{version()}"
    tags = _git("tag", "--points-at", "HEAD").split()
    if tag not in tags:
        has = f", it has {', '.join(tags)}" if tags else ""
        found.append(f"this commit does not have the tag {tag} of its version{has}")
    if not re.search(rf"^## {re.escape(version())} ", (ROOT / "CHANGELOG.md").read_text(), re.M):
        found.append(f"CHANGELOG.md has no section `## {version()} (DATE)`")
    return found


def _git(*words: str) -> str:
    line = ["git", "-C", str(ROOT), *words]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.rstrip()


if __name__ == "__main__":
    sys.exit(main())
