from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podtrace.cluster.patch import Patch, read_patch
from podtrace.errors import UsageError

DOCUMENT = {"a": {"b": [1, 2, 3], "c/d": "x", "m~n": 1}, "list": [{"name": "one"}]}


def patched(*operations: dict[str, Any]) -> dict[str, Any]:
    return Patch(list(operations)).apply(DOCUMENT)


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        ({"op": "add", "path": "/a/new", "value": 1}, ("a", "new"), 1),
        ({"op": "add", "path": "/a/b/0", "value": 0}, ("a", "b"), [0, 1, 2, 3]),
        ({"op": "add", "path": "/a/b/-", "value": 4}, ("a", "b"), [1, 2, 3, 4]),
        ({"op": "add", "path": "/a/b/3", "value": 4}, ("a", "b"), [1, 2, 3, 4]),
        ({"op": "remove", "path": "/a/b/1"}, ("a", "b"), [1, 3]),
        ({"op": "replace", "path": "/a/c~1d", "value": None}, ("a", "c/d"), None),
        ({"op": "replace", "path": "/a/m~0n", "value": 2}, ("a", "m~n"), 2),
        ({"op": "replace", "path": "/a/b/2", "value": 9}, ("a", "b"), [1, 2, 9]),
        ({"op": "move", "from": "/a/b/0", "path": "/a/b/2"}, ("a", "b"), [2, 3, 1]),
        ({"op": "copy", "from": "/list/0", "path": "/a/x"}, ("a", "x"), {"name": "one"}),
        ({"op": "test", "path": "/a/b", "value": [1, 2, 3]}, ("a", "b"), [1, 2, 3]),
    ],
)
def test_each_operation_of_a_json_patch(
    operation: dict[str, Any], path: tuple[str, ...], expected: object
) -> None:
    found: Any = patched(operation)
    for key in path:
        found = found[key]
    assert found == expected


def test_the_document_itself_is_left_alone() -> None:
    before = repr(DOCUMENT)
    patched({"op": "add", "path": "/a/b/-", "value": 4}, {"op": "remove", "path": "/list"})
    Patch({"a": {"b": None}}).apply(DOCUMENT)
    assert repr(DOCUMENT) == before


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "remove", "path": "/a/z"}, "there is no /a/z"),
        ({"op": "replace", "path": "/a/z", "value": 1}, "there is no /a/z"),
        ({"op": "add", "path": "/a/b/4", "value": 1}, "the list has"),
        ({"op": "add", "path": "/a/b/01", "value": 1}, "is no number"),
        ({"op": "remove", "path": "/a/b/-"}, "is no number"),
        ({"op": "add", "path": "/q/r", "value": 1}, "there is no /q"),
        ({"op": "add", "path": "/a/c~1d/x", "value": 1}, "neither keys nor a list"),
        ({"op": "test", "path": "/a/b/0", "value": 7}, "the value is 1"),
        ({"op": "move", "from": "/a", "path": "/a/b/0"}, "into itself"),
    ],
)
def test_an_operation_that_does_not_fit_is_named(operation: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        patched({"op": "test", "path": "", "value": DOCUMENT}, operation)
    message = caught.value.message
    assert f"operation 2 ({operation['op']} {operation['path']})" in message
    assert why in message


def test_a_merge_patch_adds_replaces_and_removes() -> None:
    patch = Patch({"a": {"b": [9], "c/d": None, "deep": {"x": {"y": None, "z": 1}}}})
    assert patch.apply(DOCUMENT) == {
        "a": {"b": [9], "m~n": 1, "deep": {"x": {"z": 1}}},
        "list": [{"name": "one"}],
    }


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('{"spec": {"a": 1}}', {"spec": {"a": 1}}),
        ("spec:\n  a: 1\n", {"spec": {"a": 1}}),
        ("- op: remove\n  path: /spec/a\n", [{"op": "remove", "path": "/spec/a"}]),
    ],
)
def test_json_and_yaml_are_read(text: str, content: object, tmp_path: Path) -> None:
    assert read_patch(text).content == content
    file = tmp_path / "patch"
    file.write_text(text)
    assert read_patch(f"@{file}").content == content


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "neither a list"),
        ("{}", "neither a list"),
        ("high", "neither a list"),
        ("{a: [}", "neither JSON nor YAML"),
        ("[1]", "operation 1 is no object"),
        ('[{"op": "alter", "path": "/a"}]', "op is 'alter'"),
        ('[{"op": "add", "path": "/a"}]', "lacks 'value'"),
        ('[{"op": "move", "path": "/a"}]', "lacks 'from'"),
        ('[{"op": "remove", "path": "a"}]', "does not begin with /"),
        ("{since: 2024-01-01}", "what JSON cannot"),
        ("{x: .inf}", "what JSON cannot"),
        ("@/nonexistent/patch", "No such file"),
        ("[" * 3000, "--patch"),
    ],
)
def test_what_is_no_patch_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_patch(text)
    assert why in caught.value.message
