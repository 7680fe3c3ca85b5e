"""The README's picture: the report of a recording, as a terminal shows it, in SVG.

usage: report_picture.py      docs/pictures/shop.jsonl.gz -> docs/pictures/report.svg

The recording is of `web-0` of pods.py:
kubectl podtrace -n shop web-0 --diagnose 20s --record docs/pictures/shop.jsonl.gz
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).resolve().parents[2] / "docs/pictures"
RECORDING = PICTURES / "shop.jsonl.gz"
PICTURE = PICTURES / "report.svg"
COMMAND = "kubectl podtrace -n shop web-0 --diagnose 20s"
SECTIONS = ("DNS Statistics", "Connection Statistics", "Potential Issues")
"""Those of the report that fit into a picture; the others are left out where they stand."""
LEFT_OUT = "⋮"
WIDTH = 80

if __name__ == "__main__":
    sys.path.insert(0, str(PICTURES.parents[1] / "plugin"))


def report() -> list[str]:
    """Return the lines of the recording's report."""
    program = PICTURES.parents[1] / "kubectl-podtrace"
    done = subprocess.run(
        [program, "replay", RECORDING], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.splitlines()


def shown(lines: list[str]) -> list[str]:
    """Return what stands above the sections and those that are in the picture."""
    from podtrace.report.text import HEADINGS

    kept: list[str] = []
    wanted = True
    for line in lines:
        if line in HEADINGS:
            if wanted and line not in SECTIONS:
                kept += [LEFT_OUT, ""]
            wanted = line in SECTIONS
        if wanted:
            kept.append(line)
    return kept


def draw(lines: list[str]) -> str:
    """Return the picture of coloured lines."""
    from podtrace.report.paint import write_report

    coloured = io.StringIO()
    write_report(lines, coloured)
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for line in coloured.getvalue().splitlines():
        console.print(Text.from_ansi(line), highlight=False, soft_wrap=True)
    picture = console.export_svg(title=COMMAND, unique_id="podtrace")
    # Whoever looks at it should not have to ask another server for a font.
    return re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)


def main() -> int:
    """Draw it."""
    PICTURE.write_text(draw(shown(report())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
