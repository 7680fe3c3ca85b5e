"""What the kernel's refusals are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from podtracer.errors import TracerError
from podtracer.refusals import refuse_lockdown


def test_confidentiality_is_refused_with_the_way_out(tmp_path: Path) -> None:
    state = tmp_path / "lockdown"
    state.write_text("none integrity [confidentiality]\n")
    with pytest.raises(TracerError) as raised:
        refuse_lockdown(str(state))
    assert raised.value.code == "lockdown"
    assert "lockdown=integrity" in raised.value.hint


@pytest.mark.parametrize(
    "text", ["[none] integrity confidentiality", "none [integrity] confidentiality"]
)
def test_weaker_lockdown_is_none_of_our_business(tmp_path: Path, text: str) -> None:
    state = tmp_path / "lockdown"
    state.write_text(text)
    refuse_lockdown(str(state))


def test_kernel_without_lockdown_is_fine(tmp_path: Path) -> None:
    refuse_lockdown(str(tmp_path / "absent"))
