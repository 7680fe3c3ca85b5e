"""A trace of pods, as far as what is decided before the cluster is asked for anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_cluster import FakeApi, node, pod
from podtrace import cli
from podtrace.cluster.api import Api
from podtrace.errors import EXIT_ERROR


def test_recording_that_exists_is_refused_before_anything_is_created(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(namespace="shop")
    api.add(node("node-1"), pod("web-0", namespace="shop", node="node-1"))
    monkeypatch.setattr(Api, "connect", lambda access: api)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    kept = tmp_path / "run.jsonl"
    kept.write_bytes(b"evidence")
    line = ["web-0", "--diagnose", "9s", "--tracer-image", "x/y:1", "--record", str(kept)]
    assert cli.main(line) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert (out, kept.read_bytes()) == ("", b"evidence")
    assert err.splitlines() == [
        f"error: {kept} exists and is not empty: it is left as it is",
        "hint: give --record another name, or remove the file first",
    ]
    assert api.asked("GET")
    assert not api.asked("POST")
