"""Names of the addresses that connections go to, as the cluster gave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from podtrace.model.labels import split_peer

_MAPPED = "::ffff:"


class PeerNames:
    """Looks names up in a mapping that may go on changing while it is read.

    Its keys are addresses, `10.0.0.1` or `fd00::1`, or addresses with a port where the name is of
    that port alone: `10.0.0.1:80`, `[fd00::1]:80`.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names: Mapping[str, str] = {} if names is None else names

    def of(self, peer: str) -> str | None:
        """Return the name behind `10.0.0.1:80` or `10.0.0.1`, None where there is none."""
        if not self._names:
            return None
        address, whole = _keys(peer)
        return self._names.get(whole) or self._names.get(address) or None

    def those_of(self, peers: Iterable[str]) -> dict[str, str]:
        """Return a mapping, to be used in place of the whole one, that names just these peers."""
        return {_keys(peer)[1]: name for peer in peers if (name := self.of(peer)) is not None}

    def with_name(self, peer: str) -> str:
        """Return the peer, and behind it the name if there is one: `10.0.0.1:80 (service a/b)`."""
        name = self.of(peer)
        return peer if name is None else f"{peer} ({name})"


def _keys(peer: str) -> tuple[str, str]:
    """Return the address, and the address with the port where there is one."""
    address, port = split_peer(peer)
    if address.startswith(_MAPPED) and "." in address:
        address = address[len(_MAPPED) :]
    host = f"[{address}]" if ":" in address else address
    return address, address if port is None else f"{host}:{port}"
