"""What documents say of kernels is what `make kernels` has seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kernels.page import BEGIN, END, PAGE

ROOT = Path(__file__).parents[2]
_VERSION = re.compile(r"\b(?:Linux|kernels?|and|,|to) (\d+\.\d+)\b")


def seen() -> set[str]:
    """Return major and minor versions of the page's kernels."""
    results = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    return set(
        re.findall(r"^\| (\d+\.\d+)[^ ]* \| \w+ \| (?:version|hybrid)", results, re.MULTILINE)
    )


@pytest.mark.parametrize("document", ["README.md"])
def test_only_kernels_are_named_that_were_seen_to_count(document: str) -> None:
    text = (ROOT / document).read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    [paragraph] = [part for part in re.split(r"\n(?=- |\n)", prose) if "docs/kernels.md" in part]
    named = set(_VERSION.findall(" ".join(paragraph.split())))
    assert named
    assert named <= seen()
