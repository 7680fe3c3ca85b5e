"""The README's picture is what the recording beside it gives, by the program as it is.

`UPDATE_DOCS=1 make test PYTEST_ARGS=tests/contract` draws it anew.
"""

from __future__ import annotations

import os

from demo import report_picture

MOST_BYTES = 150_000


def test_picture_shows_the_report_of_the_recording() -> None:
    drawn = report_picture.draw(report_picture.shown(report_picture.report()))
    if os.environ.get("UPDATE_DOCS"):
        report_picture.PICTURE.write_text(drawn)
    assert report_picture.PICTURE.read_text() == drawn, (
        "the report changed: UPDATE_DOCS=1 make test PYTEST_ARGS=tests/contract"
    )
    assert len(drawn) < MOST_BYTES
