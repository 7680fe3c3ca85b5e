"""The plugin works with the oldest and with the newest packages that it says it takes."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from release.platforms import ROOT
from ship.artefacts import Artefacts
from ship.tools import RELEASE_BIN

UV = RELEASE_BIN / "uv"
TESTS = ["tests/unit/cluster/test_api.py", "tests/unit/cluster/test_kubeconfig.py",
         "tests/unit/cluster/test_patch.py", "tests/unit/report", "tests/unit/test_cli.py",
         "tests/unit/test_completion.py", "tests/unit/test_config.py"]  # fmt: skip
RANGES = re.findall(
    r'^    "([a-z-]+)>=([\d.]+)",', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
)
DIRECT = {"click", "kubernetes", "pysocks", "pyyaml", "rich", "websocket-client"}


@pytest.mark.parametrize("end", ["lowest-direct", "highest"])
def test_plugin_works_at_this_end_of_the_ranges(end: str, dist: Artefacts, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run("venv", "--quiet", str(venv))
    environment = {**os.environ, "VIRTUAL_ENV": str(venv)}
    # Options for these tests, not for those that are run by another pytest.
    environment.pop("PYTEST_ADDOPTS", None)
    # Of a wheel alone, the requirements are not direct ones.
    run("pip", "install", "--quiet", "--resolution", end, "--requirements", "pyproject.toml",
        env=environment)  # fmt: skip
    run("pip", "install", "--quiet", "--no-deps", str(dist.wheel), env=environment)
    if end == "lowest-direct":
        listed = run("pip", "freeze", "--quiet", env=environment).lower()
        direct = [(name, least) for name, least in RANGES if name in DIRECT]
        assert {name for name, _ in direct} == DIRECT
        for name, least in direct:
            (got,) = re.findall(rf"^{name}==(\S+)$", listed, re.MULTILINE)
            # kubernetes itself asks for newer ones of these.
            assert name in ("pyyaml", "websocket-client") or re.fullmatch(
                rf"{re.escape(least)}(\.0)*", got
            ), listed
    # What the tests themselves need does not change what the plugin needs.
    run("pip", "install", "--quiet", "--constraints", str(constraints(venv, environment)),
        "pytest", "pytest-timeout", "hypothesis", "jsonschema", env=environment)  # fmt: skip
    done = subprocess.run(
        [venv / "bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]


def constraints(venv: Path, environment: dict[str, str]) -> Path:
    path = venv / "constraints.txt"
    frozen = run("pip", "freeze", "--quiet", "--exclude", "podtrace", env=environment)
    path.write_text(frozen)
    return path


def run(*words: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([UV, *words], env=env, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout
