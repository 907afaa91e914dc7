"""`release-bot check` as a process: exit codes, JSON, Ctrl-C, kill -9; with the shipped checklist of a plain web service."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from bot.store.pool import Store
from tests.checks.replies import Replies, Reply, Request
from tests.fix_kube import eventually

PLUGIN = Path(__file__).parents[1] / "plugin"
PAUSE = """\
id: ours
title: Ours
sections:
  - id: go
    title: Go
    gate: true
    checks:
      - {id: go.pause, title: The queue can be paused, kind: queue_pause, params: {seconds: SECONDS}}
      - {id: go.drain, title: The queue becomes empty, kind: queue_drain, timeout: 0.1}
deploy: [{id: deploy.it, title: Deploy, action: {do: attest}}]
rollback: [{id: rollback.it, title: Back, action: {do: attest}}]
"""


class Service:
    """A web service with a health page, a closed API and a queue that can be paused, and its configuration."""

    def __init__(self, folder: Path, server: Replies) -> None:
        self.folder, self.server = folder, server
        self.paused = False
        server.routes |= {
            "GET /health": Reply(200, {"status": "ok"}),
            "GET /": Reply(200, "<h1>Welcome</h1>"),
            "GET /api/me": Reply(401, {"detail": "log in first"}),
            "GET /api/queue": lambda _: Reply(200, {"waiting": 1, "paused": self.paused}),
            "PUT /api/queue": self._pause,
        }

    def _pause(self, request: Request) -> Reply:
        self.paused = request.json()["paused"]
        return Reply(200, {"paused": self.paused})

    def command(self, *arguments: str, checklist: str = "web-service", database: str = "") -> subprocess.Popen[str]:
        """Start `release-bot check` with these arguments."""
        target = {"mutable": True, "api_url": self.server.url, "frontend_url": self.server.url}
        apart = self.server.url.replace("127.0.0.1", "localhost")  # one address for both is refused
        config: dict[str, Any] = {
            "checklist": checklist,
            "targets": {"staging": target, "production": target | {"mutable": False, "api_url": apart}},
            "data_dir": str(self.folder / "data"),
        }
        if database:
            config["database_url"] = database
        (self.folder / "release-bot.yml").write_text(yaml.safe_dump(config))
        return subprocess.Popen(
            [sys.executable, "-m", "bot", "--config", str(self.folder / "release-bot.yml"), "check", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PLUGIN)},
        )

    def run(self, *arguments: str, **options: str) -> tuple[int, str, str]:
        """Run the command; returns exit code, standard output and standard error."""
        process = self.command(*arguments, **options)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def pausing(self, store: Store, seconds: float, *others: str) -> subprocess.Popen[str]:
        """Start a check that pauses the queue for some seconds, with ``others`` beside it, and wait for the pause."""
        file = self.folder / "ours.yml"
        file.write_text(PAUSE.replace("SECONDS", str(seconds)))
        process = self.command("go.pause", *others, checklist=str(file), database=store.url)
        eventually("the queue to be paused", lambda: self.paused)
        return process


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The running service."""
    with Replies({}) as server:
        yield Service(tmp_path, server)


def open_undos(store: Store) -> list[str]:
    """The open undo records in the bot's database."""
    with psycopg.connect(store.url) as connection:
        return [row[0] for row in connection.execute("SELECT what FROM undos WHERE settled_at IS NULL")]


def test_a_plain_web_service_is_checked_without_slack_and_database(service: Service) -> None:
    """The whole shipped checklist ends with 0, and with 1 once a line fails."""
    code, out, err = service.run("--all")
    assert (code, err) == (0, "")
    assert sorted(line.split()[2] for line in out.splitlines() if line.startswith("✓ PASS")) == [
        "closeout.health", "go.closed", "go.health", "go.pages",
    ]  # fmt: skip
    assert "4 PASS in" in out
    assert "Not counted: 4 more, which a release answers by people or by its announcement." in out
    assert not (service.folder / "data").exists()

    service.server.routes["GET /api/me"] = Reply(200, {"email": "anybody"})
    code, out, _ = service.run("go")
    assert code == 1
    assert "✗ FAIL  go.closed  The API is closed to strangers" in out
    assert "  /api/me answers 200, not 401" in out
    assert "  asked     GET http://" in out
    assert "1 FAIL" in out


def test_an_unknown_outcome_ends_with_2(service: Service) -> None:
    """An ERROR and a check for a person end with 2; programs get JSON."""
    service.server.routes["GET /health"] = Reply(200, "<html>")
    code, out, err = service.run("go.health", "go.boots", "--json")
    assert code == 2
    health, boots = json.loads(out)["checks"]
    assert (health["check"], health["outcome"], health["kind"]) == ("go.health", "ERROR", "http_json")
    assert health["asked"].startswith("http_json on staging")
    assert boots["outcome"] == "INCONCLUSIVE"
    assert sorted(line.split()[1] for line in err.splitlines()) == ["ERROR", "INCONCLUSIVE"]


def test_an_interrupted_check_is_undone(service: Service, store: Store) -> None:
    """After Ctrl-C the change is undone, no undo record stays open, and the exit code is 130."""
    process = service.pausing(store, seconds=50)
    assert open_undos(store) == ["the pause of the work queue"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert not service.paused
    assert open_undos(store) == []
    assert process.returncode == 130
    assert "ERROR  go.pause" in out
    assert err == "Stopping once every change is put back. Press Ctrl-C again to leave that to the bot.\n"


def test_a_killed_check_is_undone_by_the_next_run(service: Service, store: Store) -> None:
    """After SIGKILL the next run settles the undo record first. A check that never ends is abandoned, and the process
    ends with 2.
    """
    process = service.pausing(store, seconds=50)
    process.kill()
    process.communicate()
    assert service.paused
    service.server.requests.clear()
    again = service.pausing(store, 0, "go.drain")
    out, _ = again.communicate(timeout=30)
    assert again.returncode == 2
    assert [line.split()[1:3] for line in out.splitlines()[:2]] == [["PASS", "go.pause"], ["ERROR", "go.drain"]]
    assert "didn't finish within 0 s" in out
    puts = [request.json()["paused"] for request in service.server.requests if request.method == "PUT"]
    assert puts == [False, True, False]
    assert open_undos(store) == []
