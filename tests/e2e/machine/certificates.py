"""A certificate authority for one cluster, and the kubeconfigs of those it vouches for."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256")
_DAYS = ("-days", "30")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pair = Pair(directory / "ca.crt", directory / "ca.key")
        self._settings = directory / "openssl.cnf"

    def create(self) -> None:
        """Make the authority's own certificate, and the key that signs service account tokens."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        # The system's configuration would add extensions of its own.
        self._settings.write_text("[req]\ndistinguished_name = names\n[names]\n")
        _openssl(
            "req", "-x509", "-config", self._settings, *_KEY, *_DAYS, "-subj", "/CN=podtrace-e2e",
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
            "-keyout", self.pair.key, "-out", self.pair.certificate,
        )  # fmt: skip
        _openssl("genrsa", "-out", self.tokens_key, "2048")
        _openssl("rsa", "-in", self.tokens_key, "-pubout", "-out", self.tokens_public_key)

    @property
    def tokens_key(self) -> Path:
        """Return the key that signs the tokens of service accounts."""
        return self.directory / "tokens.key"

    @property
    def tokens_public_key(self) -> Path:
        """Return the key that proves the tokens of service accounts."""
        return self.directory / "tokens.pub"

    def issue(
        self,
        name: str,
        user: str,
        group: str = "",
        *,
        addresses: Sequence[str] = (),
        names: Sequence[str] = (),
    ) -> Pair:
        """Issue a certificate for a client, and for a server too when it has addresses or names."""
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        if pair.certificate.exists():
            return pair
        subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
        alternatives = [f"IP:{address}" for address in addresses] + [
            f"DNS:{host}" for host in names
        ]
        purposes = "clientAuth,serverAuth" if alternatives else "clientAuth"
        extensions = ["-addext", f"extendedKeyUsage={purposes}"]
        if alternatives:
            extensions += ["-addext", f"subjectAltName={','.join(alternatives)}"]
        _openssl(
            "req", "-x509", "-config", self._settings, *_KEY, *_DAYS,
            "-CA", self.pair.certificate, "-CAkey", self.pair.key, "-subj", subject,
            "-addext", "basicConstraints=critical,CA:FALSE", *extensions,
            "-keyout", pair.key, "-out", pair.certificate,
        )  # fmt: skip
        return pair

    def kubeconfig(self, path: Path, server: str, user: str, credentials: Pair | str) -> Path:
        """Write a kubeconfig that stands for itself; credentials are a certificate or a token."""
        if isinstance(credentials, str):
            who = {"token": credentials}
        else:
            who = {
                "client-certificate-data": _text(credentials.certificate),
                "client-key-data": _text(credentials.key),
            }
        authority = _text(self.pair.certificate)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "podtrace-e2e",
                    "cluster": {"server": server, "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": user, "user": who}],
            "contexts": [
                {"name": "podtrace-e2e", "context": {"cluster": "podtrace-e2e", "user": user}}
            ],
            "current-context": "podtrace-e2e",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=1))
        return path


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")


def _text(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
