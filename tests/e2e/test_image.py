"""The tracer's image: what is in it, what is not, and that it traces, under containerd alone."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.machine.containerd import Containerd
from e2e.machine.emulation import obstacle
from e2e.machine.images import TRACER_IMAGE, foreign_tracer_archive, tracer_archive
from e2e.unpacked import UnpackedImage
from kernel.exact_checks import ExactChecks, ExactRun
from kernel.pod_tracing import Kubelet, PodTracer, finish, writer
from kernel.servers import start_servers
from kernel.tracing import PATIENCE_SECONDS, Report, command
from podtrace.cluster.manifest import BTF_PATH
from podtrace.wire.version import VERSION
from workload.stage import Stage

# The first time, Debian is installed by emulated programs for the image of arm64.
pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

LARGEST_BYTES = 90 * 10**6
NEIGHBOUR_TIMES = 4
AS_THE_POD = (
    "--privileged",
    "--read-only",
    f"--with-ns=pid:/proc/{os.getpid()}/ns/pid",
    f"--memory-limit={256 * 2**20}",
    f"--mount=type=bind,src={BTF_PATH},dst={BTF_PATH},options=rbind:ro",
    "--mount=type=tmpfs,src=tmpfs,dst=/tmp,options=size=32m",
)
"""What a kubelet makes of the tracer pod, as far as it matters to the tracer."""


@pytest.fixture(scope="module")
def own_image(tmp_path_factory: pytest.TempPathFactory) -> UnpackedImage:
    return UnpackedImage.of(tracer_archive(), tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def arm64_image(tmp_path_factory: pytest.TempPathFactory) -> UnpackedImage:
    reason = obstacle()
    if reason is not None:
        pytest.skip(reason)
    return UnpackedImage.of(foreign_tracer_archive(), tmp_path_factory.mktemp("image"))


@pytest.fixture(params=["own_image", "arm64_image"])
def image(request: pytest.FixtureRequest) -> UnpackedImage:
    image: UnpackedImage = request.getfixturevalue(request.param)
    return image


def test_a_node_pulls_no_more_than_90_megabytes(image: UnpackedImage) -> None:
    assert 0 < image.compressed_bytes() <= LARGEST_BYTES


def test_the_only_program_is_python(image: UnpackedImage) -> None:
    programs = {
        entry.name
        for entry in image.entries()
        if entry.isfile() and entry.mode & 0o111 and ".so" not in Path(entry.name).name
    }
    assert programs == {"usr/bin/python3"}
    names = {Path(entry.name).name for entry in image.entries() if not entry.isdir()}
    assert names.isdisjoint({"sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "pip"})


def test_no_file_gives_rights_or_lets_others_write(image: UnpackedImage) -> None:
    rights = {entry.name for entry in image.entries() if entry.isfile() and entry.mode & 0o6000}
    assert rights == set()
    writable = {entry.name for entry in image.entries() if not entry.issym() and entry.mode & 0o002}
    assert writable <= {"tmp"}


def test_times_of_files_make_no_layer_another_one(image: UnpackedImage) -> None:
    assert {entry.mtime for entry in image.entries()} == {0}


def test_image_says_what_it_is_and_of_which_files(image: UnpackedImage) -> None:
    prefix = "org.opencontainers.image."
    labels = {
        key.removeprefix(prefix): value
        for key, value in image.labels.items()
        if key.startswith(prefix)
    }
    assert labels["title"] == "podtrace-tracer"
    assert labels["version"] == VERSION
    assert labels["licenses"] == "Apache-2.0"
    assert labels["description"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["revision"])
    created = datetime.datetime.fromisoformat(labels["created"])
    assert created <= datetime.datetime.now(datetime.UTC)


def test_scanners_find_the_packages_of_the_files_and_readers_their_licences(
    image: UnpackedImage,
) -> None:
    versions = {}
    for status in (image.root / "var/lib/dpkg/status.d").iterdir():
        fields = dict(
            line.split(": ", 1) for line in status.read_text().splitlines() if ": " in line[1:]
        )
        versions[fields["Package"]] = fields["Version"]
    assert {"base-files", "libc6", "python3-bpfcc", "python3.11-minimal"} <= versions.keys()
    assert any(name.startswith("libllvm") for name in versions)
    assert all(versions.values())
    documents = image.root / "usr/share/doc"
    assert {name for name in versions if not (documents / name / "copyright").is_file()} == set()
    assert (image.root / "etc/os-release").read_text().startswith("PRETTY_NAME=")


@pytest.fixture(scope="module")
def containerd() -> Iterator[Containerd]:
    # Pytest's folders may be on an overlay, of which no overlay can be made.
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp", prefix="podtrace-containerd-") as folder,
        Containerd(Path(folder)) as containerd,
    ):
        containerd.ctr("images", "import", str(tracer_archive()))
        yield containerd


@pytest.fixture(scope="module")
def traced(
    containerd: Containerd, own_image: UnpackedImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ExactRun, PodTracer]]:
    folder = tmp_path_factory.mktemp("traced")
    program = containerd.run(TRACER_IMAGE, *AS_THE_POD, program=own_image.entrypoint)
    with Stage() as stage:
        kubelet = Kubelet(stage)
        web, beside = kubelet.pod("web-0"), kubelet.pod("web-1")
        data = stage.folder / "exact.data"
        arguments = start_servers(stage).exact_arguments(data)
        target = stage.start("exact.py", *arguments, cgroups=[web.run("app")])
        more = ("--times", NEIGHBOUR_TIMES)
        neighbour = stage.start("exact.py", *arguments, *more, cgroups=[beside.run("app")])
        with PodTracer(folder, [web.asked(1)], "--limit", 300, program=program) as tracer:
            for each in (target, neighbour):
                each.go()
            for each in (target, neighbour):
                each.wait_done()
            tracer.wait_ticks(2)
            tracer.stop()
        replay = command("replay", tracer.output, "-o", "json")
        report = subprocess.run(replay, check=True, capture_output=True, text=True).stdout
        run = ExactRun(Report(json.loads(report)), target.truth(), data)
        run.neighbour = neighbour.truth()
        yield run, tracer


class TestUnderContainerd(ExactChecks):
    @pytest.fixture
    def run(self, traced: tuple[ExactRun, PodTracer]) -> ExactRun:
        return traced[0]

    def test_neighbour_did_more_and_is_not_in_it(self, run: ExactRun) -> None:
        assert run.neighbour is not None
        assert run.neighbour["reads"] == NEIGHBOUR_TIMES * run.truth["reads"]
        assert {entry["host_pid"] for entry in run.report["cpu_usage"]} == {run.truth["pid"]}

    def test_every_section_is_full_and_nothing_is_said_beside_the_stream(
        self, traced: tuple[ExactRun, PodTracer]
    ) -> None:
        _, tracer = traced
        assert {each["state"] for each in tracer.hello["sections"].values()} == {"full"}
        assert tracer.errors.read_text() == ""
        assert tracer.process.returncode == 0


def test_counts_are_served_to_prometheus(
    containerd: Containerd, own_image: UnpackedImage, tmp_path: Path
) -> None:
    program = containerd.run(TRACER_IMAGE, *AS_THE_POD, "--net-host", program=own_image.entrypoint)
    options = ("--limit", 300, "--metrics", "127.0.0.1:0")
    with Stage() as stage:
        web = Kubelet(stage).pod("web-0")
        work = writer(stage, web.run("app"), 37)
        with PodTracer(tmp_path, [web.asked(1)], *options, program=program) as tracer:
            finish(work)
            tracer.wait_ticks(2)
            address = f"http://{tracer.hello['metrics']}/metrics"
            with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
                page = answer.read().decode()
            tracer.stop()
    writes = r'^podtrace_operations_total\{[^}]*type="write"[^}]*\} (\S+)$'
    assert re.findall(writes, page, re.MULTILINE) == ["37.0"]


def test_nothing_can_be_written_in_it_but_tmp(
    containerd: Containerd, own_image: UnpackedImage
) -> None:
    python, *_ = own_image.entrypoint
    script = """
import os
for folder, below, _ in os.walk("/"):
    below[:] = {*below} - ({"proc", "sys", "dev"} if folder == "/" else set())
    if os.access(folder, os.W_OK):
        print(folder)
"""
    line = containerd.run(TRACER_IMAGE, *AS_THE_POD, program=(python, "-I", "-c", script))
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    # ctr adds the latter, a kubelet does not.
    assert {*done.stdout.split()} == {"/tmp", "/run"}
