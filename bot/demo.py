"""Demo: the real bot, pointed at a sandbox. Starts both as processes, writes the configuration, plays a release if asked."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import yaml

from bot.errors import BotError, ConfigError
from bot.store.embedded import EmbeddedPostgres

logger = logging.getLogger(__name__)

PLAYS = ("tour", "rollback", "regression", "blocked")
PLAY_WATCH_MINUTES = 0.1  # the watch of a play: six seconds instead of fifteen minutes
POLL_SECONDS = 5.0
PLAY_POLL_SECONDS = 1.0
START = 60.0  # seconds for a part to be ready
STOP = 15.0  # seconds for a part to end
REALLY_RUNS = {"testbed/exec": "true"}  # annotation with which the sandbox's cluster starts a real process
REPOSITORY = Path(__file__).parent.parent
MANIFEST = REPOSITORY / "manifest.yml"
MANIFESTS_FOLDER = REPOSITORY / "deploy" / "kubernetes"
FROM_ENVIRONMENT = ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_CHANNEL_ID", "RELEASE_MANAGER_IDS")


class DemoPartError(BotError):
    """A part of the demo did not start."""


@dataclass(frozen=True)
class DemoOptions:
    """What the command line asks for."""

    data_dir: Path
    slack_from_environment: bool = False
    play: str | None = None
    as_json: bool = False
    port: int = 0
    kubeconfig: Path | None = None
    watch_minutes: float | None = None


class DemoPart:
    """A child process that prints one line of JSON when it is ready, and ends when we do."""

    def __init__(self, name: str, arguments: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self.log = name, log
        with log.open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,  # its end tells the child that we are gone, however we went
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(env or {})},
                text=True,
                start_new_session=True,  # Ctrl-C is for us; we stop the parts in order
            )

    def ready(self) -> dict[str, Any]:
        """Wait until the process is ready, and return its line of JSON. Raises DemoPartError with the tail of its log."""
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.append(_stdout(self._process).readline()), daemon=True)
        reader.start()
        reader.join(START)
        if not lines or not lines[0]:
            tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
            raise DemoPartError(f"The {self.name} did not start. The end of {self.log}:\n{tail}")
        return dict(json.loads(lines[0]))

    def wait(self) -> int:
        """Wait for the end of the process, and return its exit code."""
        return self._process.wait()

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def stop(self) -> None:
        """Ask the process to end, and kill it if it does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self.running:
            self._process.terminate()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            logger.warning("the %s did not end by itself", self.name)
            self._process.kill()
            self._process.wait()
        _stdout(self._process).close()


def _stdout(process: subprocess.Popen[str]) -> TextIO:
    if process.stdout is None:
        raise DemoPartError("a part was started without an output to read")
    return process.stdout  # type: ignore[return-value]


def run(options: DemoOptions) -> int:
    """Start everything, play a release or wait for a signal, stop everything, and return the exit code. Raises ConfigError."""
    if options.slack_from_environment:
        if missing_names := [name for name in FROM_ENVIRONMENT if not os.environ.get(name)]:
            raise ConfigError(
                f"{', '.join(missing_names)} must be set for --slack env.",
                hint="README, 'Try it in your own workspace'.",
            )
        if options.play:
            raise ConfigError("--play acts as three people of the sandbox's workspace.", hint="Leave out --slack env.")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    folder = options.data_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _tell(options, "Starting PostgreSQL, the workspace and the staging environment …")
    with EmbeddedPostgres(folder / "staging-postgres") as postgres_url:
        sandbox = _start_sandbox(options, folder, postgres_url)
        try:
            facts = sandbox.ready()
            _tell(options, "Starting the bot …")
            config = _write_config(options, folder, facts)
            return _with_bot(options, folder, config, facts, stopping)
        finally:
            sandbox.stop()


def _start_sandbox(options: DemoOptions, folder: Path, postgres_url: str) -> DemoPart:
    arguments = ["sandbox", "--data-dir", str(folder / "sandbox"), "--postgres-url", postgres_url]
    arguments += ["--manifest", str(MANIFEST), "--kubernetes-manifests", str(MANIFESTS_FOLDER)]
    arguments += ["--port", str(options.port), "--exit-with-stdin"]
    if options.kubeconfig is not None:
        arguments += ["--kubeconfig", str(options.kubeconfig)]
    return DemoPart("sandbox", arguments, folder / "sandbox.log")


def _with_bot(
    options: DemoOptions, folder: Path, config: Path, facts: dict[str, Any], stopping: threading.Event
) -> int:
    bot = _start_bot(options, folder, config, facts)
    health = bot.ready()["health"]
    try:
        if options.as_json:
            paths = {"config": str(config), "data_dir": str(folder)}
            _print(json.dumps({**facts, "health": health, **paths, "bot_pid": bot.pid}))
        elif options.slack_from_environment:
            _tell(options, f"Ready. Type /release start v4.8.0 in your channel. Break things at {facts['page']}")
        else:
            _tell(
                options,
                f"Ready. Open {facts['page']} and type: /release start v4.8.0\nCtrl-C ends it; the next start goes on.",
            )
        if options.play:
            return _play(options.play, facts)
        while not stopping.wait(0.5):
            if not bot.running:
                logger.warning("the bot has ended: starting it again")
                _tell(options, "The bot has ended; starting it again. What was under way goes on.")
                bot.stop()
                bot = _start_bot(options, folder, config, facts)
                bot.ready()
        return 0
    finally:
        bot.stop()


def _start_bot(options: DemoOptions, folder: Path, config: Path, facts: dict[str, Any]) -> DemoPart:
    no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
    # What a production bot's environment may have at hand: the demo speaks Socket Mode and keeps its own database.
    unset = dict.fromkeys(("SLACK_SIGNING_SECRET", "DATABASE_URL"), "")
    env = {"RELEASE_BOT_CONFIG": str(config), "NO_PROXY": no_proxy, **unset}
    if not options.slack_from_environment:
        env |= {
            "SLACK_BOT_TOKEN": facts["bot_token"],
            "SLACK_APP_TOKEN": facts["app_token"],
            "SLACK_API_URL": facts["slack_api_url"],
        }
        env |= {"SLACK_CHANNEL_ID": "", "RELEASE_MANAGER_IDS": "", "QA_IDS": "", "PRODUCT_IDS": ""}
    return DemoPart("bot", ["bot", "serve", "--json", "--exit-with-stdin"], folder / "bot.log", env)


def _play(name: str, facts: dict[str, Any]) -> int:
    arguments = ["-m", "sandbox.play", name, "--page", facts["page"]]
    return subprocess.run([sys.executable, *arguments], check=False).returncode


def _tell(options: DemoOptions, line: str) -> None:
    if not options.as_json:
        _print(line)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write_config(options: DemoOptions, folder: Path, facts: dict[str, Any]) -> Path:
    """Write the configuration that points the bot at the sandbox: the same file that a team would write by hand."""
    minutes = options.watch_minutes or (PLAY_WATCH_MINUTES if options.play else 15.0)
    body = {**configuration(facts), "watch": _watch(minutes), "data_dir": str(folder / "bot")}
    if options.slack_from_environment:
        del body["slack"]["shared_channel"]  # a real channel: the rule is that of every team
    path = folder / "release-bot.yml"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        yaml.safe_dump(body, file, sort_keys=False)
    return path


def configuration(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a configuration for the sandbox of these facts, without watch and data_dir."""
    people = facts["people"]
    backup = {**facts["backup"], **facts["s3"]}
    live = {"url": facts["stripe"]["url"], "api_key": facts["stripe"]["live_api_key"]}
    return {
        "slack": {
            "channel": facts["channel_id"],
            "shared_channel": "warn",  # somebody of another company is in the sandbox's, to be seen refused
            "roles": {
                "release_manager": [people["release_manager"], people["release_manager_2"]],
                "qa": [people["qa"]],
                "product": [people["product"]],
            },
        },
        "targets": {
            "staging": {
                **_target(facts, "staging"),
                "mutable": True,
                "restore_database_url": facts["staging"]["database_admin_url"],
                "restore_pod": {"secret": facts["staging"]["restore_secret"], "annotations": REALLY_RUNS},
                "backup": backup,
            },
            "production": {
                **_target(facts, "production"),
                "migrate_database_url": facts["production"]["database_owner_url"],
                "backup": {**backup, "namespace": facts["production"]["namespace"]},
                "stripe": live,
            },
        },
        "sentry": facts["sentry"],
        "grafana": {"url": facts["grafana"]["url"], "token": facts["grafana"]["token"]},
        "stripe": {key: facts["stripe"][key] for key in ("url", "api_key", "webhook_secret")},
        "github": {**facts["github"], "web_url": "https://github.com/"},  # as its answers say
        "registry": {"url": facts["registry"]["url"], "image": facts["registry"]["image"]},
        "vercel": facts["vercel"],
        "http": {"port": 0},
        "log_format": "text",
    }


def _watch(minutes: float) -> dict[str, float]:
    """Return the section of the watch; a short one polls often and does not wait long for late events."""
    if minutes > 1:
        return {"minutes": minutes, "poll_seconds": POLL_SECONDS}
    return {"minutes": minutes, "poll_seconds": PLAY_POLL_SECONDS, "settle_seconds": PLAY_POLL_SECONDS}


def _target(facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = facts[name]
    return {
        "database_url": part["database_url"],
        "kubernetes": {
            "kubeconfig": facts["bot_kubeconfig"],
            "namespace": part["namespace"],
            "deployment": part["deployment"],
            "container": part["container"],
        },
        "api_url": part["api_url"],
        "frontend_url": part["frontend_url"],
        "tenant": {"id": part["tenant_id"], "stripe_customer_id": part["stripe_customer_id"]},
        "login": {"email": part["login_email"], "password": part["login_password"]},
    }
