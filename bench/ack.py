"""Acknowledgements: with everything stored first, beside a stock no-op Bolt handler; and two hundred a second."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from bench.figure import Figure, percentile
from tests.fix_demo import Demo, running_demo, until
from tests.fix_sandbox import ROOT

CALM_RATE, CALM_SECONDS = 50, 8
HIGH_RATE, HIGH_SECONDS = 200, 20
SLOW_SHARE = 3  # every third starts something that asks GitHub and the registry
STOCK = """
import sys
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

token, app_token, url = sys.argv[1:]
app = App(client=WebClient(token=token, base_url=url))
app.command("/release")(lambda ack: ack())
SocketModeHandler(app, app_token).start()
"""
Delivery = dict[str, Any]


def measure(folder: Path) -> list[Figure]:
    """The stock handler and the bot in turn, twice, at a calm rate; then the bot alone at a high one."""
    stock: list[float] = []
    ours: list[float] = []
    with running_demo(folder / "data") as demo, _stock(folder) as (stock_control, channel):
        control, ours_channel = demo.facts["control_url"], demo.facts["channel_id"]
        for _ in range(2):
            stock += _seconds(_send(stock_control, channel, CALM_RATE, CALM_SECONDS))
            ours += _seconds(_send(control, ours_channel, CALM_RATE, CALM_SECONDS))
        high = _send(control, ours_channel, HIGH_RATE, HIGH_SECONDS, slow=True)
        lost_count, doubled_count = _count_lost_and_doubled(demo, len(ours) + len(high))
    worst = max(_seconds(high))
    for name, took in (("stock no-op", stock), ("stored first", ours), ("200/s", _seconds(high))):
        percentiles = ", ".join(f"p{share:.0f} {percentile(took, share / 100) * 1000:.1f}" for share in (50, 95, 99))
        print(f"{name:13} {percentiles}, max {max(took) * 1000:.0f} ms of {len(took)}")
    return [
        Figure(
            "p99 of the ack / that of a stock no-op handler", percentile(ours, 0.99) / percentile(stock, 0.99), 0.5, "x"
        ),
        Figure("slowest ack at 200 envelopes/s, a third of them slow work", worst, 1.0, "s"),
        Figure("acknowledged deliveries that are not stored", lost_count, 0, ""),
        Figure("deliveries that are stored twice", doubled_count, 0, ""),
    ]


@contextlib.contextmanager
def _stock(folder: Path) -> Iterator[tuple[str, str]]:
    """A second workspace, to which a stock Bolt app is connected: its control address and its channel."""
    slack = [sys.executable, "-m", "sandbox.slack", "--data-dir", str(folder / "stock")]
    with (folder / "stock.log").open("w", encoding="utf-8") as log:
        workspace = subprocess.Popen(slack, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        assert workspace.stdout is not None
        facts = json.loads(workspace.stdout.readline())
        arguments = [facts["bot_token"], facts["app_token"], facts["slack_api_url"]]
        bolt = subprocess.Popen([sys.executable, "-c", STOCK, *arguments], stdout=log, stderr=log)
    try:
        until(lambda: _post(facts["control_url"], facts["channel_id"], "hello")["ok"], "the stock app to be connected")
        yield facts["control_url"], facts["channel_id"]
    finally:
        bolt.kill()
        bolt.wait()
        workspace.terminate()
        workspace.wait(20)
        workspace.stdout.close()


def _post(control: str, channel: str, text: str) -> Delivery:
    order = {"user": "U0RITA0001", "channel": channel, "text": f"/release {text}"}
    return dict(httpx.post(control + "command", json=order, trust_env=False, timeout=30).json())


def _send(control: str, channel: str, rate: int, seconds: int, *, slow: bool = False) -> list[Delivery]:
    """Deliver ``rate`` commands a second, whatever becomes of them; returns how each was acknowledged."""

    async def send_all() -> list[Delivery]:
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
        async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:

            async def one(number: int) -> Delivery:
                text = f"start v9.0.{number}" if slow and number % SLOW_SHARE == 0 else "help"
                order = {"user": "U0RITA0001", "channel": channel, "text": f"/release {text}"}
                return dict((await client.post(control + "command", json=order)).json())

            start, tasks = time.monotonic(), []
            for number in range(rate * seconds):
                await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
                tasks.append(asyncio.create_task(one(number)))
            return list(await asyncio.gather(*tasks))

    return asyncio.run(send_all())


def _seconds(deliveries: list[Delivery]) -> list[float]:
    """How long each ack took; one that never came counts as Slack's three seconds."""
    return [float(delivery["seconds"] or 3.0) for delivery in deliveries]


def _count_lost_and_doubled(demo: Demo, sent_count: int) -> tuple[int, int]:
    """How many of the acknowledged deliveries are not in the inbox, and how many are there twice; once all are handled."""
    until(lambda: not demo.rows("SELECT FROM inbox WHERE handled_at IS NULL LIMIT 1"), "all to be handled", 300)
    rows = demo.rows("SELECT count(*) AS n, count(DISTINCT delivery) AS once FROM inbox")[0]
    return max(0, sent_count - rows["n"]), rows["n"] - rows["once"]
