"""Each way in that the README names, on a machine that never had podtrace, by its own commands."""

from __future__ import annotations

import functools
import http.server
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import obstacle_to_tracing
from podtrace.wire.version import VERSION
from release.platforms import ROOT
from ship import tools
from ship.artefacts import Artefacts
from ship.fresh_machine import OLDEST, FreshMachine

README = (ROOT / "README.md").read_text()
ROUTES = re.findall(r"<!-- install:([a-z]+) -->\n```sh\n(.*?)```", README, re.DOTALL)
USE = """
kubectl podtrace --version
kubectl podtrace -h >/root/help
kubectl podtrace --local --diagnose 3s -o json -- /bin/sh -c \\
    'for i in 1 2 3 4 5; do cat /etc/passwd; done' >/root/report.json
kubectl_complete-podtrace doc
"""

Fresh = Callable[..., FreshMachine]


def commands(route: str) -> str:
    (found,) = [text for name, text in ROUTES if name == route]
    return str(found)


def with_kubectl(machine: FreshMachine, dist: Artefacts) -> FreshMachine:
    machine.put(tools.kubectl(), "/usr/local/bin/kubectl")
    machine.put(dist.folder, "/root/dist")
    return machine


def used(machine: FreshMachine, install: str, **environment: str) -> None:
    """Install by the README's commands, and use what came of them."""
    out = machine.must(f"{install}\n{USE}", environment)
    assert re.search(rf"^podtrace {re.escape(VERSION)} \(", out, re.MULTILINE), out
    assert "doctor\t" in out
    opened = (
        "import json; print(json.load(open('/root/report.json'))['filesystem']['read']['count'])"
    )
    if obstacle_to_tracing() is None:
        assert int(machine.must(f'/usr/bin/python3 -c "{opened}"')) >= 5


def test_readme_names_the_routes_that_are_tested() -> None:
    assert [name for name, _ in ROUTES] == [
        "krew", "index", "pipx", "uv", "pip", "archive", "checkout"
    ]  # fmt: skip
    for _, text in ROUTES:
        named = re.findall(r"podtrace-v?(\d\S*?)(?:-py3|-linux)", text)
        assert set(named) <= {VERSION}


@pytest.mark.parametrize("route", ["pipx", "pip", "archive"])
def test_route_leads_to_a_plugin_that_traces(route: str, fresh: Fresh, dist: Artefacts) -> None:
    used(with_kubectl(fresh(), dist), commands(route))


def test_archive_starts_on_the_oldest_debian(fresh: Fresh, dist: Artefacts) -> None:
    machine = with_kubectl(fresh(OLDEST), dist)
    assert "GLIBC 2.31" in machine.must("ldd --version")
    out = machine.must(f"{commands('archive')}\nkubectl podtrace --version")
    assert out.startswith(f"podtrace {VERSION} ")


def test_uv_installs_it(fresh: Fresh, dist: Artefacts) -> None:
    machine = with_kubectl(fresh(), dist)
    machine.put(tools.RELEASE_BIN / "uv", "/usr/local/bin/uv")
    used(machine, commands("uv"), UV_PYTHON_DOWNLOADS="never", UV_PYTHON="/usr/bin/python3")


def test_krew_installs_it_from_a_file(fresh: Fresh, dist: Artefacts) -> None:
    machine = with_kubectl(fresh(), dist)
    machine.put(tools.krew(), "/usr/local/bin/kubectl-krew")
    used(machine, f"{commands('krew')}\n{caveats(dist)}")


def test_krew_installs_it_from_an_index(fresh: Fresh, dist: Artefacts) -> None:
    machine = with_kubectl(fresh(), dist)
    machine.put(tools.krew(), "/usr/local/bin/kubectl-krew")
    with served(dist.folder) as address:
        made = Path(machine.must("mktemp -d -p /root").strip())
        text = dist.manifest.read_text()
        offered = re.sub(r"uri: \S+/", f"uri: {address}/", text)
        write = f"cat >{made}/plugins/podtrace.yaml <<'END'\n{offered}END\n"
        machine.must(
            f"git init -q {made}; mkdir {made}/plugins\n{write}cd {made}\n"
            "git add .; git -c user.name=n -c user.email=e@x commit -qm 'An index'"
        )
        used(machine, f"{commands('index')}\n{caveats(dist)}", INDEX=f"file://{made}")
    assert "podtrace/podtrace" in machine.must("kubectl krew list")
    machine.must("kubectl krew uninstall podtrace")
    assert machine.run("kubectl podtrace --version").returncode != 0


def test_checkout_installs_what_it_needs(fresh: Fresh, dist: Artefacts, tmp_path: Path) -> None:
    machine = with_kubectl(fresh(), dist)
    tree = tmp_path / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout  # fmt: skip
    names = b"\0".join(name for name in listed.split(b"\0") if name and name != b".venv")
    tree.mkdir()
    subprocess.run(
        f"tar -c --null -T - | tar -x -C '{tree}'", shell=True, cwd=ROOT, input=names, check=True
    )
    machine.must("mkdir /root/podtrace")
    # Links of the tree stay links.
    subprocess.run(["cp", "-a", f"{tree}/.", machine.path("/root/podtrace")], check=True)
    used(machine, f"cd /root/podtrace\n{commands('checkout')}")


def test_other_plugin_of_the_name_is_in_the_way_and_is_warned_of(
    fresh: Fresh, dist: Artefacts
) -> None:
    machine = with_kubectl(fresh(), dist)
    machine.put(tools.krew(), "/usr/local/bin/kubectl-krew")
    machine.must(commands("krew"))
    # As if it were the central index's: the same name, already installed.
    again = machine.run(commands("krew"))
    assert "already installed" in again.stdout + again.stderr
    machine.must(commands("pipx"))
    said = machine.run("kubectl podtrace --version")
    assert said.stdout.startswith(f"podtrace {VERSION}")
    assert "kubectl krew uninstall podtrace" in said.stderr


def caveats(dist: Artefacts) -> str:
    """Return the command by which krew's users get completion, as the manifest tells them."""
    found = re.search(r"^ +(ln -sf (?:.*\\\n)*.*)$", dist.manifest.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
