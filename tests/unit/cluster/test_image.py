from __future__ import annotations

import pytest

from podtrace.cluster import image
from podtrace.errors import LaunchError
from podtrace.wire.version import VERSION


def test_the_option_comes_before_the_environment() -> None:
    assert image.tracer_image("a/b:1", {"PODTRACE_TRACER_IMAGE": "c/d:2"}) == "a/b:1"
    assert image.tracer_image(None, {"PODTRACE_TRACER_IMAGE": "c/d:2"}) == "c/d:2"


def test_a_release_names_its_own_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "REPOSITORY", "registry.test/team/")
    assert image.tracer_image(None, {}) == f"registry.test/team/podtrace-tracer:{VERSION}"


def test_a_build_from_source_says_how_to_build_load_and_name_an_image() -> None:
    with pytest.raises(LaunchError) as caught:
        image.tracer_image(None, {"PODTRACE_TRACER_IMAGE": ""})
    text = "\n".join(caught.value.details)
    for command in ("make image", "kind load", "minikube image load", "ctr -n k8s.io images"):
        assert command in text
    assert "--tracer-image" in (caught.value.hint or "")
