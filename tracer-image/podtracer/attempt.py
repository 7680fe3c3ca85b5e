"""A probe on its way down the list of its hooks, and what each refusal was."""

from __future__ import annotations

from collections import deque

from podtracer.hooks import Hook
from podtracer.probes import Probe


class Attempt:
    """Which hook comes next; `fd` is the program that was loaded for it, -1 until then."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self._hooks = deque(probe.hooks)
        self.refusals: list[tuple[Hook, str]] = []
        self.errors: list[OSError] = []
        self.fd = -1

    @property
    def hook(self) -> Hook | None:
        """The hook to try, None when all were refused."""
        return self._hooks[0] if self._hooks else None

    def refuse(self, reason: str, error: OSError | None = None) -> None:
        """Go on to the next hook."""
        self.refusals.append((self._hooks.popleft(), reason))
        if error is not None:
            self.errors.append(error)

    def told(self) -> str | None:
        """Why the hooks so far were refused, each reason once; None where none was."""
        reasons: dict[str, str] = {}
        for hook, reason in self.refusals:
            reasons.setdefault(reason, hook.described)
        if self.hook is not None:
            return "; ".join(f"not {hook}: {why}" for why, hook in reasons.items()) or None
        first = next(iter(reasons), None)
        return "; ".join(why if why == first else f"{hook}: {why}" for why, hook in reasons.items())
