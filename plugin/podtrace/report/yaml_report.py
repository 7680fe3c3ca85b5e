"""The report as YAML: the same tree as the JSON report, loaded back to the same values."""

import json
from typing import Any, TextIO

from podtrace.model.snapshot import Snapshot
from podtrace.report.json_report import json_text


def yaml_text(snapshot: Snapshot) -> str:
    """Return the tree as YAML in ASCII, its keys in order.

    The tree takes the way through JSON, so that both reports have one set of values: an unpaired
    surrogate, which YAML cannot carry, becomes a question mark.
    """
    import yaml

    tree = json.loads(json_text(snapshot))
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        _paired(tree), Dumper=dumper, sort_keys=False, allow_unicode=False, width=100
    )
    return text


def write_yaml(snapshot: Snapshot, stream: TextIO) -> None:
    """Write the tree as YAML."""
    stream.write(yaml_text(snapshot))
    stream.flush()


def _paired(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not value.isascii() else value
    if isinstance(value, list):
        return [_paired(item) for item in value]
    if isinstance(value, dict):
        return {_paired(key): _paired(item) for key, item in value.items()}
    return value
