"""Every command of the documents is one that the program takes, every option one that it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from contract import pages, report_tree
from podtrace import cli
from podtracer import __main__ as tracer

USERS = [
    document for document in pages.DOCUMENTS if document.parts[-2] in ("docs", pages.ROOT.name)
]
PLACEHOLDERS = re.compile(r"[\[…]|\.\.\.")
FOREIGN = {
    "--grace-period": "kubectl delete",
    "--help": "every program",
}
"""Options of other programs that the documents name."""


def commands(document: Path) -> Iterator[str]:
    text = document.read_text()
    yield from pages.shell_lines(text)
    for span in pages.spans(text):
        # What has a part left open is a form, not a command.
        if not PLACEHOLDERS.search(span) and " " in span and span.count("'") % 2 == 0:
            yield span


def lines() -> list[Any]:
    found: dict[tuple[str, ...], Any] = {}
    for document in pages.DOCUMENTS:
        for line in commands(document):
            words = pages.podtrace_words(line)
            if words is not None:
                label = f"{pages.name_of(document)}: {line}"
                found.setdefault(tuple(words), pytest.param(words, id=label))
    return list(found.values())


@pytest.fixture
def unrun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep what the commands would do from being done, and note which was asked for."""
    asked: list[str] = []
    for place in (
        "trace.run_trace",
        "trace.run_replay",
        "trace.run_cleanup_command",
        "pod_trace.run_pod_trace",
        "pod_trace.run_pod_cleanup",
        "doctor.run_doctor",
    ):

        def note(*_: object, place: str = place) -> int:
            asked.append(place)
            return 0

        monkeypatch.setattr(f"podtrace.{place}", note)
    return asked


@pytest.mark.parametrize("words", lines())
def test_command_is_taken(
    words: list[str], unrun: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(words)
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert unrun or said.out


def test_documents_have_commands() -> None:
    assert len(lines()) > 15


@pytest.mark.parametrize("document", USERS, ids=pages.name_of)
def test_configuration_is_taken(document: Path, unrun: list[str], tmp_path: Path) -> None:
    for body in pages.blocks(document.read_text(), "yaml"):
        if body.startswith("thresholds:"):
            (tmp_path / "config.yaml").write_text(body)
            assert cli.main(["web-0", "--config", str(tmp_path / "config.yaml")]) == 0
            assert unrun


def test_wrong_command_is_not_taken(unrun: list[str]) -> None:
    """What would otherwise let everything pass."""
    assert cli.main(["-n", "shop", "web-0", "--diagnos", "20s"]) == 2
    assert unrun == []


def options() -> set[str]:
    root = cli.root_command()
    own = {
        name
        for command in root.commands.values()
        for param in command.params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    of_tracer = {name for action in tracer._parser()._actions for name in action.option_strings}
    script = (pages.ROOT / "scripts/setup-capabilities.sh").read_text()
    of_setup = set(re.findall(r"^#   (--[a-z-]+)", script, re.MULTILINE))
    assert of_setup
    return own | of_tracer | of_setup


@pytest.mark.parametrize("document", USERS, ids=pages.name_of)
def test_every_option_that_is_named_exists(document: Path) -> None:
    text = document.read_text()
    named = set()
    for code in [*pages.spans(text), *commands(document)]:
        words = pages.podtrace_words(code) if code.count("'") % 2 == 0 else None
        # A command of another program has options of its own.
        if words is not None or code.startswith("-"):
            mine = code.split(" -- ")[0]
            named |= set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", mine))
    assert named - options() - set(FOREIGN) == set()


@pytest.mark.parametrize("document", USERS, ids=pages.name_of)
def test_keys_that_jq_is_asked_for_exist(document: Path) -> None:
    known = report_tree.paths()
    tops = {path for path in known if "." not in path}
    for line in pages.shell_lines(document.read_text()):
        _, found, program = line.partition("| jq")
        if not found or "podtrace" not in line:
            continue
        asked = re.findall(r"(?<![\w\]])\.([a-z_]+(?:\[\])?(?:\.[a-z_0-9]+(?:\[\])?)*)", program)
        assert [key for key in asked if key.split(".")[0].removesuffix("[]") in tops] != []
        assert [
            key
            for key in asked
            if key.split(".")[0].removesuffix("[]") in tops and key not in known
        ] == []
