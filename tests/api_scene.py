"""An Api and the servers it talks to, for one test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from podtrace.cluster.access import Access
from podtrace.cluster.api import Api
from scripted_server import Answer, ScriptedServer


def kubeconfig(folder: Path, server: str, user: Any = None, **cluster: Any) -> Path:
    path = folder / "config"
    context = {"cluster": "c", "user": "u", "namespace": "shop"}
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "x",
                "contexts": [{"name": "x", "context": context}],
                "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
                "users": [{"name": "u", "user": user or {}}],
            }
        )
    )
    return path


class Scene:
    """Servers and the Api that talks to them; all is closed at the end of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.timeout_seconds = 30.0
        self.closing: list[Any] = []

    def server(self, answer: Answer, **kwargs: Any) -> ScriptedServer:
        server = ScriptedServer(answer, **kwargs)
        self.closing.append(server)
        return server

    def api(self, server: str, user: Any = None, **cluster: Any) -> Api:
        config = kubeconfig(self.folder, server, user, **cluster)
        return self.connect(
            Access(kubeconfig=str(config), request_timeout_seconds=self.timeout_seconds)
        )

    def connect(self, access: Access) -> Api:
        api = Api.connect(access)
        self.closing.append(api)
        return api

    def answering(self, *answers: bytes | None) -> tuple[Api, ScriptedServer]:
        """Return an Api whose requests get these answers in turn, the last one for ever."""
        left = list(answers)
        server = self.server(lambda _: left.pop(0) if len(left) > 1 else left[0])
        return self.api(server.url), server

    def close(self) -> None:
        for each in reversed(self.closing):
            each.close()
