"""The workflows do what the local commands do: each step is a make target that exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PUBLISHING = 'gh release create "$GITHUB_REF_NAME" '


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def test_there_are_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_step_runs_a_target_of_the_makefile(path: Path) -> None:
    lines = [step["run"] for step in steps(path) if "run" in step]
    called = []
    for line in lines:
        assert "\n" not in line
        if line.startswith(PUBLISHING):
            continue
        found = re.fullmatch(r'(?:sudo env "\w+=\$\w+" )?make ([a-z-]+)(?: [A-Z_]+="\S+")*', line)
        assert found is not None, line
        called.append(found[1])
    assert called
    assert set(called) <= TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_says_that_it_was_not_run(path: Path) -> None:
    assert "Not run yet" in path.read_text().split("name:")[0]


def test_release_makes_all_platforms() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text()
    runners = re.findall(r"runner: ([\w.-]+)", text)
    # The fourth is the one that the release itself is made on.
    assert len(set(runners)) == 3
