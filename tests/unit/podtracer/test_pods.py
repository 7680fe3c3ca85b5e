from __future__ import annotations

import json
from typing import Any

import pytest

from podtracer.pods import MOST_PODS, Pod, parse

UID = "6c6b1d2e-aa00-4ef0-bd8c-000000000001"
ASKED: dict[str, Any] = {"id": 1, "namespace": "shop", "pod": "web-0", "uid": UID}


def test_pods_are_read_with_their_containers() -> None:
    text = json.dumps([{**ASKED, "containers": {"ab": "web"}, "only": ["web"]}, {**ASKED, "id": 2}])
    assert parse(text) == [
        Pod(1, "shop", "web-0", UID, {"ab": "web"}, ("web",)),
        Pod(2, "shop", "web-0", UID, {}, ()),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Expecting value"),
        ("{}", "not a list"),
        ("[]", "not a list"),
        ("[7]", "not a pod"),
        ('[{"id": 1}]', "not a pod"),
        (json.dumps([{**ASKED, "containers": ["web"]}]), "not a pod"),
        (json.dumps([{**ASKED, "id": 0}]), "from 1 to 255"),
        (json.dumps([{**ASKED, "id": MOST_PODS + 1}]), "from 1 to 255"),
        (json.dumps([{**ASKED, "id": True}]), "from 1 to 255"),
        (json.dumps([{**ASKED, "uid": "../x"}]), "not a pod's uid"),
        (json.dumps([{**ASKED, "uid": ""}]), "not a pod's uid"),
        (json.dumps([ASKED, ASKED]), "same id"),
    ],
)
def test_what_is_no_list_of_pods(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)


def test_all_containers_are_wanted_unless_some_are_named() -> None:
    pod = Pod(1, "shop", "web-0", UID)
    assert pod.wants("web")
    assert pod.wants(None)
    choosy = Pod(1, "shop", "web-0", UID, only=("web",))
    assert choosy.wants("web")
    assert not choosy.wants("side")
    assert not choosy.wants(None)
