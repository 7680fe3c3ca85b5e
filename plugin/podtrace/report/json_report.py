"""The report as JSON: the snapshot's tree, in the order and with the keys of its JSON Schema."""

import json
from typing import TextIO

from podtrace.model.snapshot import Snapshot, to_tree


def json_text(snapshot: Snapshot) -> str:
    """Return the tree as indented JSON in ASCII, so that no text in it can act on a terminal.

    Raises:
        ValueError: a figure is not a finite number, which JSON cannot say.
    """
    return json.dumps(to_tree(snapshot), ensure_ascii=True, indent=2, allow_nan=False)


def write_json(snapshot: Snapshot, stream: TextIO) -> None:
    """Write the tree as JSON with a final newline."""
    stream.write(json_text(snapshot) + "\n")
    stream.flush()
