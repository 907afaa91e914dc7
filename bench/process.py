"""The process itself: from its start to ready on an existing database, its memory and its CPU when nothing happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.figure import Figure
from tests.fix_demo import Demo, running_demo

STARTS = 3
CALM = 8.0  # seconds until what is done in the background after the start is over
WATCH_SECONDS = 30.0  # seconds


def measure(folder: Path) -> list[Figure]:
    """Start a second replica on the demo's database some times, and watch the last one doing nothing."""
    with running_demo(folder / "data") as demo:
        start_times: list[float] = []
        memory = cpu = 0.0
        for number in range(STARTS):
            start = time.monotonic()
            with _replica(demo) as process:
                assert process.stdout is not None
                assert json.loads(process.stdout.readline())["health"]
                start_times.append(time.monotonic() - start)
                if number == STARTS - 1:
                    time.sleep(CALM)
                    memory = _memory(process.pid)
                    before = _cpu(process.pid)
                    time.sleep(WATCH_SECONDS)
                    cpu = (_cpu(process.pid) - before) / WATCH_SECONDS * 100
                assert process.stdin is not None
                process.stdin.close()
                process.wait(20)
    print("start to ready: " + ", ".join(f"{seconds:.2f} s" for seconds in start_times))
    return [
        Figure("start of `release-bot serve` to ready (best)", min(start_times), 2.0, "s"),
        Figure("idle memory", memory, 110.0, "MiB"),
        Figure("idle CPU of one core", cpu, 1.0, "%"),
    ]


def _replica(demo: Demo) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "RELEASE_BOT_CONFIG": demo.facts["config"],
        "SLACK_BOT_TOKEN": demo.facts["bot_token"],
        "SLACK_APP_TOKEN": demo.facts["app_token"],
        "SLACK_API_URL": demo.facts["slack_api_url"],
        "NO_PROXY": "127.0.0.1,localhost",
    }
    log = (demo.data_dir.parent / "replica.log").open("a", encoding="utf-8")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "bot", "serve", "--json", "--exit-with-stdin"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True,
        )  # fmt: skip


def _memory(pid: int) -> float:
    """Resident memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def _cpu(pid: int) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
