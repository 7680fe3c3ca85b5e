"""The API server goes away while a trace runs: for a moment, and for longer than tracers wait."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from e2e.conftest import Images
from e2e.kubectl import Kubectl
from e2e.leavings import tracers_of, wait_for_none, wait_for_tracer
from e2e.outages import Outages
from e2e.runs import Run, apply_work
from e2e.scraping import get, port_of, wait_for_status
from kernel.neighbours import Neighbours

UNHEARD_SECONDS = 30.0
SLACK_SECONDS = 10.0


@pytest.fixture
def shop(namespace: Kubectl, images: Images) -> Kubectl:
    """Return kubectl for a namespace with a pod web-0 that reads files."""
    apply_work(namespace, images.workload)
    return namespace


def test_a_restart_of_the_api_server_loses_no_line(
    shop: Kubectl, outages: Outages, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json")
    run.until("health", 3)
    with outages.outage():
        time.sleep(5)
    run.until("health", run.count("health") + 5)
    # The tracer is asked for its last lines by its kubelet.
    outages.wait_for_nodes()
    run.process.send_signal(signal.SIGINT)
    code, said = run.rest()
    assert code == 0, said
    assert run.missing == 0
    outages.recover()
    wait_for_none(shop)


@pytest.mark.timeout(900)
def test_an_api_server_that_stays_away_ends_the_tracer_and_the_run_and_leaves_nothing(
    shop: Kubectl, outages: Outages, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json")
    uid = shop.get("pod", wait_for_tracer(shop))["metadata"]["uid"]
    run.until("health", 3)
    assert tracers_of(uid)
    with outages.outage():
        # Nobody has to be there for that; the objects go when the server is back.
        neighbours, begin = Neighbours(), time.monotonic()
        while tracers_of(uid):
            limit = neighbours.limit(UNHEARD_SECONDS + SLACK_SECONDS)
            assert time.monotonic() - begin < limit, "the tracer runs on"
            time.sleep(0.2)
    code, said = run.rest()
    # All that the tracer said before it gave its reader up is in.
    assert code == 1
    assert "its log was not read for 30 s" in said
    assert run.lines[-1]["reason"] == "unheard"
    assert run.missing == 0
    outages.recover()
    wait_for_none(shop)


def test_metrics_say_that_the_api_server_is_away_and_come_again(
    shop: Kubectl, outages: Outages, start: Callable[..., Run]
) -> None:
    run = start(shop, "web-0", "-o", "json", "--metrics", "--metrics-port", "0")
    port = port_of(run)
    with outages.outage():
        said = wait_for_status(port, 502)
        assert "cannot be reached" in said
        time.sleep(3)
        assert get(port)[0] == 502
    wait_for_status(port, 200)
    run.until("health", run.count("health") + 3)
    outages.wait_for_nodes()
    run.process.send_signal(signal.SIGINT)
    code, told = run.rest()
    assert code == 0, told
