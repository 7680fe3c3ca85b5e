"""Draws docs/pictures: the demo's shop is traced, a Prometheus scrapes it, a browser shows that.

usage: pictures.py      as root; takes Prometheus and Chromium, and three minutes
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "plugin")]

from demo.run import start_shop  # noqa: E402
from kernel.tracing import Trace  # noqa: E402
from prometheus import Prometheus, local_job  # noqa: E402
from workload.stage import Stage  # noqa: E402

TARGET = ROOT / "docs/pictures"
DRAWN_SECONDS = 150
SIZE = "1100,960"
DRAWING_MS = 20_000
PAGES = {
    "operations": "sum by (process_name, type) (rate(podtrace_operations_total[20s]))",
    "latency": "histogram_quantile(0.99, sum by (type, le) "
    "(rate(podtrace_fs_latency_seconds_histogram_bucket[20s])))",
    "failures": "sum by (error) (rate(podtrace_connect_failures_total[20s]))",
}
"""The expression of each picture."""


def draw(address: str, name: str, expression: str, profile: Path) -> None:
    """Let Chromium draw Prometheus' own page for an expression."""
    words = {"g0.expr": expression, "g0.tab": 0, "g0.range_input": f"{DRAWN_SECONDS - 20}s"}
    page = f"http://{address}/graph?{urllib.parse.urlencode(words)}"
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        f"--window-size={SIZE}",
        f"--virtual-time-budget={DRAWING_MS}",
        f"--screenshot={TARGET / name}.png",
    ]
    subprocess.run(["chromium", *options, page], check=True, capture_output=True, timeout=120)


def main() -> None:
    """Trace the shop for a while and draw what Prometheus has of it."""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, Stage() as stage:
        folder = Path(temporary)
        cgroup = start_shop(stage)
        options = ("--metrics", "--metrics-port", 0)
        with Trace(folder, "--cgroup", cgroup, options=options) as trace:
            # As docs/prometheus/scrape.yaml has it, for a trace of an hour; here are two minutes.
            job = {**local_job(trace.hello["metrics"]), "scrape_interval": "2s"}
            with Prometheus(folder / "prometheus", [job]) as prometheus:
                time.sleep(DRAWN_SECONDS)
                for name, expression in PAGES.items():
                    draw(prometheus.address, name, expression, folder / "chromium")


if __name__ == "__main__":
    main()
