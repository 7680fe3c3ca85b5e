"""JSON and YAML carry one tree, and nothing in it acts on a terminal."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from podtrace.model.snapshot import TOP_KEYS, Snapshot, to_tree
from podtrace.report.json_report import json_text, write_json
from podtrace.report.yaml_report import write_yaml, yaml_text
from unit.report import examples

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "report.schema.json").read_text())


@pytest.mark.parametrize("example", examples.ORDINARY)
def test_json_is_the_tree_and_valid_by_the_schema(example: Callable[[], Snapshot]) -> None:
    tree = json.loads(json_text(example()))
    jsonschema.validate(tree, SCHEMA)
    assert tree == to_tree(example())
    assert tuple(tree) == TOP_KEYS


@pytest.mark.parametrize("render", [json_text, yaml_text])
def test_hostile_text_is_ascii_without_control_characters(
    render: Callable[[Snapshot], str],
) -> None:
    text = render(examples.hostile(examples.EVIL + "\x7f\x9b\u2028: #&*!|>'\"%@`"))
    assert text.isascii()
    assert all(line.isprintable() for line in text.split("\n"))


def test_yaml_loads_back_to_the_json_tree_in_the_same_order() -> None:
    snapshot = examples.hostile("yes: \x1b[2J\u202e- {1e3} null ~ 2026-11-22\n\ttab")
    tree = yaml.safe_load(yaml_text(snapshot))
    assert tree == json.loads(json_text(snapshot))
    assert tuple(tree) == TOP_KEYS


@pytest.mark.parametrize(
    "word", ["null", "yes", "1e3", "0x1f", "2026-11-22", "- a", "~", "", " x "]
)
def test_yaml_keeps_names_that_look_like_other_types(word: str) -> None:
    tree = yaml.safe_load(yaml_text(examples.hostile(word)))
    assert tree["cpu_usage"][0]["process"] == word


def test_figure_that_is_no_number_is_refused() -> None:
    summary = dataclasses.replace(examples.busy().summary, events_per_second=float("nan"))
    with pytest.raises(ValueError, match="nan"):
        json_text(dataclasses.replace(examples.busy(), summary=summary))


def test_both_end_with_one_newline() -> None:
    for write in (write_json, write_yaml):
        stream = io.StringIO()
        write(examples.busy(), stream)
        assert stream.getvalue().endswith("\n")
        assert not stream.getvalue().endswith("\n\n")
