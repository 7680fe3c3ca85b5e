"""The frozen tree and its JSON Schema say the same."""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from podtrace.model import snapshot
from podtrace.model.session import Session
from podtrace.model.snapshot import TOP_KEYS, Snapshot, to_tree

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/report.schema.json").read_text())
BLOCKS = [
    item
    for item in vars(snapshot).values()
    if isinstance(item, type) and dataclasses.is_dataclass(item) and item is not Snapshot
]


def shape(hint: Any) -> dict[str, Any]:
    """Return the part of a JSON Schema that a type hint implies: types, references, null."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = [item for item in arguments if item is not type(None)]
        found = shape(inner)
        if "type" in found and found["type"] in ("integer", "number", "string", "boolean"):
            return {"type": [found["type"], "null"]}
        return {"anyOf": [found, {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": shape(arguments[0])}
    if origin is collections.abc.Mapping:
        return {"type": "object", "additionalProperties": shape(arguments[1])}
    if origin is typing.Literal:
        return {"type": "string", "enum": list(arguments)}
    if dataclasses.is_dataclass(hint):
        return {"$ref": f"#/$defs/{getattr(hint, '__name__', '')}"}
    names = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
    return {"type": names[hint]}


def without_notes(schema: Any) -> Any:
    if isinstance(schema, dict):
        notes = ("description", "minimum", "format", "minItems", "maxItems")
        return {key: without_notes(item) for key, item in schema.items() if key not in notes}
    return [without_notes(item) for item in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(block.__name__))
def test_dataclass_and_schema_have_the_same_keys_and_types(block: type) -> None:
    hints = typing.get_type_hints(block)
    definition = SCHEMA["$defs"][block.__name__]
    assert definition["required"] == list(definition["properties"])
    assert definition["additionalProperties"] is False
    assert without_notes(definition["properties"]) == {
        name: shape(hint) for name, hint in hints.items()
    }


def test_every_definition_is_a_dataclass() -> None:
    assert sorted(SCHEMA["$defs"]) == sorted(block.__name__ for block in BLOCKS)


def test_top_keys_are_those_of_the_schema_in_its_order() -> None:
    assert tuple(SCHEMA["properties"]) == tuple(SCHEMA["required"]) == TOP_KEYS
    assert {field.name for field in dataclasses.fields(Snapshot)} == set(TOP_KEYS)
    assert tuple(to_tree(Session().snapshot())) == TOP_KEYS


def test_schema_is_valid_and_refuses_what_it_does_not_know() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    tree = to_tree(Session().snapshot())
    jsonschema.validate(tree, SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        jsonschema.validate(tree | {"surprise": 1}, SCHEMA)


def test_units_stand_in_the_names() -> None:
    units = ("seconds", "_per_second", "_ratio", "_percent", "_bytes", "_seconds_estimate")
    pure_numbers = ("ratio_to_typical", "requests_per_connection")
    for block in BLOCKS:
        for name, hint in typing.get_type_hints(block).items():
            if hint in (float, float | None):
                assert name.endswith(units + pure_numbers), f"{block.__name__}.{name}"
