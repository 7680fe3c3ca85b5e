from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from factories import encoded, end, hello, stream, tick
from fake_cluster import FakeApi, node, pod
from podtrace import doctor
from podtrace.checkup import OK, SKIPPED, Checkup
from podtrace.cluster.access import Access
from podtrace.cluster.api import Api
from podtrace.cluster.checks import Wish
from podtrace.cluster.interface import Object
from podtrace.cluster.settings import LaunchSettings
from podtrace.cluster.target import Selection
from podtrace.errors import ClusterError, Interrupted, UsageError
from podtrace.podoptions import PodSelection, TracerPodOptions
from podtrace.suboptions import DoctorOptions

SETTINGS = LaunchSettings("registry.test/podtrace-tracer:1", "shop", 1.0)
Script = Iterable[Any]


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi(namespace="shop")
    api.add({"kind": "Namespace", "metadata": {"name": "shop"}})
    for number in (1, 2):
        api.add(node(f"node-{number}"))
        api.add(pod(f"web-{number}", namespace="shop", node=f"node-{number}"))
    return api


def runs_tracers(api: FakeApi, script_of: Callable[[str], Script]) -> None:
    """Let each Job have a pod that runs and writes the script for its node."""

    def create(item: Object) -> None:
        if item["kind"] != "Job":
            return
        name, template = item["metadata"]["name"], item["spec"]["template"]
        made = pod(name, namespace="shop", node=template["spec"]["nodeName"], containers=["tracer"])
        made["metadata"] |= {"labels": template["metadata"]["labels"]}
        made["status"]["startTime"] = "2030-01-01T00:00:00Z"
        api.logs["shop", name] = script_of(template["spec"]["nodeName"])
        api.add(made)

    api.on_create = create


def examine(api: FakeApi, *words: str, starts_tracers: bool = True) -> Checkup:
    wish = Wish(Selection("shop", words), SETTINGS)
    return doctor.examine(api, wish, starts_tracers=starts_tracers, tell=lambda text: None)


def becomes_true(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def jobs_of(api: FakeApi) -> list[str]:
    return [path for path in api.objects if "/jobs/" in path]


def whole(**fields: Any) -> list[bytes]:
    return [encoded(stream(hello(**fields), tick(), end()))]


def test_tracer_runs_on_each_node_for_a_second_and_is_removed(api: FakeApi) -> None:
    runs_tracers(api, lambda name: whole(blank=["dns"] if name == "node-2" else []))
    checkup = examine(api, "web-1", "web-2")
    states = {check.name: check.state for check in checkup.checks[-2:]}
    assert states == {"Trace on node-1": "ok", "Trace on node-2": "warning"}
    assert checkup.sections is not None
    assert checkup.sections["dns"].reason == "on node-2: no probe attached"
    assert checkup.works
    created = [call for call in api.asked("POST", ".*/jobs") if not call.query.get("dryRun")]
    assert len(created) == 2
    for call in created:
        arguments = call.body["spec"]["template"]["spec"]["containers"][0]["args"]
        assert arguments[arguments.index("--for") + 1] == "1"
    assert jobs_of(api) == []


def test_node_whose_tracer_gives_up_does_not_hide_the_other(api: FakeApi) -> None:
    gave_up = b'{"kind":"error","seq":1,"time_ns":1,"code":"no_btf","message":"no BTF here"}\n'
    runs_tracers(api, lambda name: [gave_up] if name == "node-1" else whole())
    checkup = examine(api, "web-1", "web-2")
    found = {check.name: (check.state, check.found) for check in checkup.checks[-2:]}
    assert found["Trace on node-1"] == ("failed", "no BTF here")
    assert found["Trace on node-2"][0] == "ok"
    assert checkup.sections is not None and not checkup.works


@pytest.mark.parametrize(
    "words, starts_tracers, why",
    [
        (("web-1",), False, "because of --dry-run"),
        (("web-1", "nope"), True, "because of what failed above"),
        ((), True, "because no pod is named"),
    ],
)
def test_no_tracer_is_started_without_need(
    api: FakeApi, words: tuple[str, ...], starts_tracers: bool, why: str
) -> None:
    checkup = examine(api, *words, starts_tracers=starts_tracers)
    assert checkup.checks[-1].state == SKIPPED
    assert why in checkup.checks[-1].found
    assert checkup.sections is None
    assert all(call.query.get("dryRun") for call in api.asked("POST", ".*/namespaces/.*"))


def test_interrupt_leaves_nothing_behind(api: FakeApi) -> None:
    lines = stream(hello(), tick(), end())

    def last_line() -> bytes:
        assert becomes_true(lambda: jobs_of(api) == [])
        return encoded(lines[-1:])

    runs_tracers(api, lambda name: [encoded(lines[:-1]), last_line])

    def interrupt() -> None:
        becomes_true(lambda: bool(jobs_of(api)))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted):
        examine(api, "web-1")
    assert jobs_of(api) == []


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch, api: FakeApi) -> DoctorOptions:
    monkeypatch.setattr(Api, "connect", lambda access: api)
    monkeypatch.setenv("PODTRACE_TRACER_IMAGE", "registry.test/podtrace-tracer:1")
    selection, tracer = PodSelection(("web-1",)), TracerPodOptions(dry_run="client")
    return DoctorOptions(Access(), selection, tracer, "json", no_color=True)


def test_exit_code_and_json_say_that_a_trace_would_work(
    options: DoctorOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.run_doctor(options) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["works"] is True
    assert {"name": "Pod web-1", "state": OK, "found": "Running on node-1; container app",
            "fix": None} in tree["checks"]  # fmt: skip


def test_exit_code_says_that_a_trace_would_not_work(
    options: DoctorOptions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PODTRACE_TRACER_IMAGE")
    assert doctor.run_doctor(replace(options, format="text")) == 1
    out = capsys.readouterr().out
    assert out.startswith("A trace would NOT work: see Tracer image.\n")
    assert "--tracer-image" in out


def test_kubeconfig_that_cannot_be_used_is_a_check_that_failed(
    options: DoctorOptions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(access: Access) -> Api:
        raise ClusterError("there is no context nowhere", "kubectl config get-contexts")

    monkeypatch.setattr(Api, "connect", fail)
    assert doctor.run_doctor(options) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [(check["name"], check["state"]) for check in checks] == [("Kubeconfig", "failed")]


def test_patch_that_cannot_be_read_is_wrong_usage(options: DoctorOptions) -> None:
    tracer = replace(options.tracer, patch="{")
    with pytest.raises(UsageError):
        doctor.run_doctor(replace(options, tracer=tracer))
