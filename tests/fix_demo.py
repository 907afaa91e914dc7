"""Fixture `demo`: `release-bot demo` as a process, with its people (the Stage of the plays) and a look into its tables."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from bot.store.embedded import EmbeddedPostgres
from sandbox.play import Stage

START = 90.0  # seconds for everything to be ready on a busy machine
END = 40.0


class Demo:
    """A running demo. ``facts`` is its line of JSON."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        arguments = ["demo", "--json", "--data-dir", str(data_dir), *options]
        with (data_dir.parent / f"{data_dir.name}.err").open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bot", *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        lines: list[str] = []
        assert self._process.stdout is not None
        reader = threading.Thread(target=lambda out=self._process.stdout: lines.append(out.readline()), daemon=True)
        reader.start()
        reader.join(START)
        if not lines or not lines[0]:
            self._process.kill()
            raise RuntimeError(f"the demo did not start: {Path(errors.name).read_text(encoding='utf-8')[-2000:]}")
        self.facts: dict[str, Any] = json.loads(lines[0])
        self.stage = Stage(self.facts["page"])
        self._http = httpx.Client(base_url=self.facts["control_url"], trust_env=False)

    @property
    def log(self) -> str:
        """What the bot has logged."""
        return (self.data_dir / "bot.log").read_text(encoding="utf-8")

    def bot_pid(self) -> int:
        """The process number of the bot as it is now; it changes when the bot is killed."""
        pids = children(self._process.pid)
        return next(pid for pid in pids if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))

    def kill_bot(self) -> None:
        """Kill the bot with SIGKILL; the demo starts it again."""
        old_pid = self.bot_pid()
        os.kill(old_pid, signal.SIGKILL)

        def is_replaced() -> bool:
            try:
                return self.bot_pid() != old_pid and bool(self.control("state", user="U0RITA0001")["bot_online"])
            except (StopIteration, FileNotFoundError):
                return False

        until(is_replaced, "the bot to be back")

    def control(self, path: str, **params: str) -> Any:
        """GET of the sandbox's control API."""
        answer = self._http.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    def order(self, path: str, **body: object) -> dict[str, Any]:
        """POST to the sandbox's control API, which returns what Slack says to it without waiting for the bot."""
        answer = self._http.post(path, json={"channel": self.facts["channel_id"], **body})
        answer.raise_for_status()
        return dict(answer.json())

    def click_raw(self, user: str, action: str, message: dict[str, Any]) -> dict[str, Any]:
        """Press a button of a message, even one that has been removed by now, as a person does whose screen still shows
        it.
        """
        button = next(
            element
            for block in message["blocks"]
            for element in block.get("elements", [])
            if element.get("action_id") == action
        )
        return self.order("click", user=user, ts=message["ts"], action_id=action, value=button["value"], forged=True)

    def rows(self, sql: str, *values: object) -> list[DictRow]:
        """The rows of a query in the database of the bot."""
        with (
            EmbeddedPostgres(self.data_dir / "bot" / "postgres") as url,
            psycopg.connect(url, row_factory=dict_row) as tx,
        ):
            return tx.execute(sql, values).fetchall()

    def stop(self) -> int:
        """End it as Ctrl-C does and return its exit code."""
        self.stage.close()
        self._http.close()
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(END)
        finally:
            if self._process.poll() is None:
                self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()


def children(pid: int) -> list[int]:
    """The child processes of a process (Linux)."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def until(look: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := look():
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


@contextlib.contextmanager
def running_demo(data_dir: Path, *options: str) -> Iterator[Demo]:
    """A demo that is stopped at the end, however the test ends."""
    running = Demo(data_dir, *options)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for the tests of a module, with a short watch."""
    with running_demo(tmp_path_factory.mktemp("demo") / "data", "--watch-minutes", "0.1") as running:
        yield running
