"""kill -9 in the middle of the checks: how long until the bot answers again, and whether all goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from bench.figure import Figure
from tests.fix_demo import Demo, running_demo, until

RITA = "U0RITA0001"
TIMES = 3


def measure(folder: Path) -> list[Figure]:
    """Kill it several times; the longest recovery counts."""
    with running_demo(folder / "data") as demo:
        demo.stage.command("Rita", "/release start v4.8.0")
        took = []
        for _ in range(TIMES):
            demo.stage.command("Rita", "/release check all")
            until(lambda: demo.rows("SELECT FROM check_runs WHERE state = 'running'"), "a check to run")
            took.append(_kill_and_wait(demo))
        until(lambda: not demo.rows("SELECT FROM check_runs WHERE state <> 'idle'"), "the checks to end", 120)
        until(lambda: not demo.rows("SELECT FROM undos WHERE settled_at IS NULL"), "all to be put back")
        posts = demo.rows("SELECT count(*) AS owed, count(ts) AS there FROM posts")[0]
    print("kill -9 to the next answer: " + ", ".join(f"{seconds:.2f} s" for seconds in took))
    return [
        Figure("kill -9 until a command is answered again", max(took), 5.0, "s"),
        Figure("messages that are owed and not in Slack", posts["owed"] - posts["there"], 0, ""),
    ]


def _kill_and_wait(demo: Demo) -> float:
    """Seconds until a command is stored and answered by the successor, which the demo starts within half a second."""
    before = demo.rows("SELECT count(*) AS n FROM replies WHERE sent_at IS NOT NULL")[0]["n"]
    os.kill(demo.bot_pid(), signal.SIGKILL)
    killed_at = time.monotonic()

    until(lambda: demo.order("command", user=RITA, text="/release status")["ok"], "a command to be taken")
    answer_query = "SELECT count(*) AS n FROM replies WHERE sent_at IS NOT NULL"
    until(lambda: demo.rows(answer_query)[0]["n"] > before, "its answer")
    return time.monotonic() - killed_at
