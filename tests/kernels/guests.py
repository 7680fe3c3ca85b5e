"""The guests of a test session, booted in the background, two at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from kernels.cases import Case
from kernels.guest.boot import Outcome, boot
from kernels.guest.kernel import kernel
from kernels.guest.root import root

AT_ONCE = 2
GUEST_SECONDS = 1200
_CHECKOUT = Path(__file__).resolve().parents[2]


class Guests:
    """Boots the guests of some cases. A context manager."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._outcomes: dict[Case, Future[Outcome]] = {
            case: self._pool.submit(_run, case, self._ended) for case in cases
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._pool.shutdown(cancel_futures=True)

    def outcome(self, case: Case) -> Outcome:
        """Wait for a guest. Raises GuestError when it did not come to its end."""
        return self._outcomes[case].result()


def _run(case: Case, ended: threading.Event) -> Outcome:
    return boot(
        kernel(case.kernel), root(), _CHECKOUT, case.order,
        seconds=GUEST_SECONDS, parameters=case.parameters, ended=ended.is_set,
    )  # fmt: skip
