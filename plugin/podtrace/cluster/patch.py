"""--patch: the user's changes to the tracer pod, as a JSON patch or a JSON merge patch.

A list is a JSON patch (RFC 6902), an object a merge patch (RFC 7386); both may be written in YAML,
and @FILE names a file. What fails is named by its operation.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podtrace.errors import UsageError

_FIELDS = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("from", "path"),
    "copy": ("from", "path"),
    "test": ("path", "value"),
}


class _Misfit(Exception):
    """An operation does not fit the document; the text says why."""


@dataclass(frozen=True)
class Patch:
    """A patch that was read: `content` is a list of operations or an object to be merged."""

    content: list[Any] | dict[str, Any]

    def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the patched copy of a document.

        Raises:
            UsageError: an operation does not fit; it is named.
        """
        if isinstance(self.content, dict):
            merged: dict[str, Any] = _merge(document, self.content)
            return merged
        patched: Any = copy.deepcopy(document)
        for number, operation in enumerate(self.content, 1):
            try:
                patched = _operate(patched, operation)
            except _Misfit as misfit:
                raise UsageError(
                    f"--patch: operation {number} ({operation['op']} {operation['path']}): "
                    f"{misfit}",
                    "see what it is applied to: --dry-run=client -o yaml without --patch",
                ) from misfit
        if not isinstance(patched, dict):
            raise UsageError("--patch: what comes out is no object", _FORMS)
        return patched


_FORMS = (
    'write a JSON patch, a list such as \'[{"op": "add", "path": "/spec/priorityClassName", '
    '"value": "high"}]\', or a merge patch, an object such as '
    '\'{"spec": {"priorityClassName": "high"}}\'; @FILE reads a file'
)


def read_patch(text: str) -> Patch:
    """Return the patch of --patch: JSON or YAML, itself or as @FILE.

    Raises:
        UsageError: there is no such file, or it holds no patch.
    """
    import yaml  # costs 20 ms, and few commands need it

    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"--patch {text}: cannot read the file: {why}") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        why = getattr(error, "problem", None) or "it cannot be parsed"
        raise UsageError(f"--patch is neither JSON nor YAML{line}: {why}", _FORMS) from error
    except RecursionError as error:
        raise UsageError("--patch is nested too deeply", _FORMS) from error
    if not isinstance(content, dict | list) or not content:
        raise UsageError("--patch is neither a list of operations nor an object", _FORMS)
    try:
        content = json.loads(json.dumps(content, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"--patch holds what JSON cannot: {error}", "put dates and the like into quotes"
        ) from error
    for number, operation in enumerate(content if isinstance(content, list) else (), 1):
        _check(number, operation)
    return Patch(content)


def _check(number: int, operation: Any) -> None:
    what = f"--patch: operation {number}"
    if not isinstance(operation, dict):
        raise UsageError(f"{what} is no object", _FORMS)
    name = operation.get("op")
    if not isinstance(name, str) or name not in _FIELDS:
        raise UsageError(f"{what}: op is {name!r}, not one of {', '.join(_FIELDS)}", _FORMS)
    for key in _FIELDS[name]:
        if key not in operation:
            raise UsageError(f"{what} ({name}) lacks {key!r}", _FORMS)
        value = operation[key]
        if key != "value" and (not isinstance(value, str) or value[:1] not in ("", "/")):
            raise UsageError(f"{what} ({name}): {key} {value!r} does not begin with /", _FORMS)


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation["path"])
    name = operation["op"]
    if name == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if name == "remove":
        return _remove(document, path)
    if name == "replace":
        _find(document, path)
        return _put(document, path, copy.deepcopy(operation["value"]))
    if name == "test":
        found = _find(document, path)
        if found != operation["value"]:
            raise _Misfit(f"the value is {found!r}")
        return document
    source = _pointer(operation["from"])
    value = copy.deepcopy(_find(document, source))
    if name == "move":
        if path[: len(source)] == source and path != source:
            raise _Misfit("a value cannot be moved into itself")
        document = _remove(document, source)
    return _add(document, path, value)


def _pointer(text: str) -> list[str]:
    """Return the keys of a JSON pointer (RFC 6901)."""
    return [key.replace("~1", "/").replace("~0", "~") for key in text.split("/")[1:]]


def _find(document: Any, path: Sequence[str]) -> Any:
    for depth, key in enumerate(path):
        where = "/" + "/".join(path[: depth + 1])
        if isinstance(document, dict):
            if key not in document:
                raise _Misfit(f"there is no {where}")
            document = document[key]
        elif isinstance(document, list):
            document = document[_index(key, len(document) - 1, where)]
        else:
            raise _Misfit(f"there is no {where}")
    return document


def _index(key: str, last: int, where: str) -> int:
    if not (key.isascii() and key.isdigit()) or (key[0] == "0" and key != "0"):
        raise _Misfit(f"{where} stands in a list and is no number")
    if int(key) > last:
        raise _Misfit(f"there is no {where}: the list has {last + 1} entries")
    return int(key)


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, key = _find(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        end = len(parent)
        where = "/" + "/".join(path)
        parent.insert(end if key == "-" else _index(key, end, where), value)
        return document
    return _put(document, path, value)


def _put(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, key = _find(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[key] = value
    elif isinstance(parent, list):
        parent[int(key)] = value
    else:
        raise _Misfit(f"/{'/'.join(path[:-1])} holds neither keys nor a list")
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        return None
    _find(document, path)
    parent, key = _find(document, path[:-1]), path[-1]
    del parent[int(key) if isinstance(parent, list) else key]
    return document
