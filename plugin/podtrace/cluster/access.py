"""How the user wants to reach the cluster: kubectl's own options, as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Access:
    """What kubectl's options say; None or empty leaves it to the kubeconfig.

    `kubeconfig` None means the files of $KUBECONFIG, then ~/.kube/config, then the service account
    of the pod that this runs in, as kubectl has it.
    """

    kubeconfig: str | None = None
    context: str | None = None
    cluster: str | None = None
    user: str | None = None
    server: str | None = None
    token: str | None = None
    namespace: str | None = None
    as_user: str | None = None
    as_uid: str | None = None
    as_groups: tuple[str, ...] = ()
    certificate_authority: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    insecure_skip_tls_verify: bool = False
    tls_server_name: str | None = None
    request_timeout_seconds: float | None = None
