"""The command line: reads arguments, calls the part that does it, turns errors into a message and an exit code."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from bot import demo, logs
from bot.app import Application, load_checklist, read_policy, validate_kinds
from bot.domain.audit import first_break
from bot.errors import BotError, ConfigError
from bot.redact import Redactor
from bot.settings import Settings, load_settings
from bot.slack import checkup
from bot.slack.client import web_client
from bot.store import audit
from bot.store.embedded import EmbeddedPostgres
from bot.store.migrate import migrate
from bot.store.pool import Store
from checks.registry import Registry

EXIT_BAD = 1
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name (default: those of the process) and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except BotError as error:
        _say(f"release-bot: {error.user_message}")
        if error.hint:
            _say(f"  {error.hint}")
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _settings(options: argparse.Namespace) -> tuple[Settings, Redactor]:
    settings = load_settings(options.config)
    redactor = Redactor()
    for secret in settings.secrets():
        redactor.register(secret)
    logs.setup(settings.log_level.upper(), as_json=settings.log_format == "json", redactor=redactor)
    return settings, redactor


def _serve(options: argparse.Namespace) -> int:
    settings, redactor = _settings(options)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if options.exit_with_stdin:
        _at_end_of_stdin(ended.set)
    application = Application(settings, redactor)
    application.start()
    try:
        if options.json:
            _print(json.dumps({"health": application.health_url}))
        ended.wait()
    finally:
        application.stop()
    return 0


def _at_end_of_stdin(call: Callable[[], None]) -> None:
    """Call once nobody can write to standard input any more: the parent has ended."""

    def read() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        call()

    threading.Thread(target=read, name="stdin", daemon=True).start()


def _demo(options: argparse.Namespace) -> int:
    return demo.run(
        demo.DemoOptions(
            data_dir=options.data_dir,
            slack_from_environment=options.slack == "env",
            play=options.play,
            as_json=options.json,
            port=options.port,
            kubeconfig=options.kubeconfig,
            watch_minutes=options.watch_minutes,
        )
    )


def _store(settings: Settings) -> tuple[Store, Callable[[], None]]:
    """The bot's database, with what closes it again."""
    if settings.database_url is not None:
        store = Store(settings.database_url.get_secret_value(), size=2)
        store.open()
        return store, store.close
    postgres = EmbeddedPostgres(Path(settings.data_dir) / "postgres")
    store = Store(postgres.start(), size=2)

    def close() -> None:
        store.close()
        postgres.stop()

    store.open()
    return store, close


def _migrate(options: argparse.Namespace) -> int:
    settings, _ = _settings(options)
    store, close = _store(settings)
    try:
        applied = migrate(store)
    finally:
        close()
    _print("\n".join(f"applied {name}" for name in applied) or "The database is up to date.")
    return 0


def _lint(options: argparse.Namespace) -> int:
    checklist = load_checklist(str(options.file))
    validate_kinds(checklist, Registry.load())
    asked = sum(entry.kind != "attest" for entry in checklist.checks)
    _print(
        f"{options.file}: good. {len(checklist.checks)} checks, {asked} of them asked by the bot; digest {checklist.digest[:12]}."
    )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    settings, _ = _settings(options)
    read_policy(settings)
    validate_kinds(load_checklist(settings.checklist), Registry.load())
    _print("good   configuration, policy and checklist")
    _, close = _store(settings)
    close()
    _print("good   the bot's database")
    if settings.slack.bot_token is None:
        _print("bad    SLACK_BOT_TOKEN is not set. Take it from the app's page (xoxb-…).")
        return EXIT_BAD
    client = web_client(settings.slack.bot_token.get_secret_value(), settings.slack.api_url)
    findings = checkup.examine(client, settings.slack.channel)
    for finding in findings:
        _print(f"{'good' if finding.good else 'bad':6} {finding.what}. {finding.hint}".rstrip())
    return 0 if all(finding.good for finding in findings) else EXIT_BAD


def _verify(options: argparse.Namespace) -> int:
    settings, _ = _settings(options)
    store, close = _store(settings)
    try:
        with store.transaction() as tx:
            events = audit.events(tx)
    finally:
        close()
    broken = first_break(events)
    if broken is not None:
        _print(f"The record is broken at row {broken[0]}: {broken[1]}.")
        return EXIT_BAD
    head = events[-1].hash if events else "none"
    _print(f"The record holds: {len(events)} rows, head {head}.")
    return 0


def _health(options: argparse.Namespace) -> int:
    url = options.url or f"http://127.0.0.1:{load_settings(options.config).http.port}/readyz"
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url} is no http address.")
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  the scheme is checked above
            _print(answer.read().decode())
            return 0
    except urllib.error.HTTPError as error:
        _print(error.read().decode())
    except OSError as error:
        _say(f"release-bot: {url} does not answer: {error}")
    return EXIT_BAD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="release-bot", description="Runs releases by a checklist, from Slack.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: RELEASE_BOT_CONFIG, then release-bot.yml")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the bot")
    serve.add_argument("--json", action="store_true", help="print one line of JSON once everything is ready")
    serve.add_argument(
        "--exit-with-stdin", action="store_true", help="end when standard input ends, as when the parent dies"
    )
    serve.set_defaults(run=_serve)

    show = commands.add_parser("demo", help="run the bot with a simulated workspace and staging environment")
    show.add_argument(
        "--data-dir", type=Path, default=Path(".demo"), metavar="DIR", help="where the state lives (default: .demo)"
    )
    show.add_argument(
        "--slack", choices=("sandbox", "env"), default="sandbox", help="env: take Slack from the environment"
    )
    show.add_argument("--play", choices=demo.PLAYS, help="play a release with no browser, print it, and exit")
    show.add_argument(
        "--port", type=int, default=0, help="of the page (default: the one of the last time, or a free one)"
    )
    show.add_argument("--kubeconfig", type=Path, metavar="FILE", help="a real cluster instead of the simulated one")
    show.add_argument(
        "--watch-minutes", type=float, metavar="M", help="how long the watch lasts (default: 15; in a play: 0.1)"
    )
    show.add_argument(
        "--json", action="store_true", help="print the addresses of all parts on one line once everything is ready"
    )
    show.set_defaults(run=_demo)

    commands.add_parser("migrate", help="bring the database up to date").set_defaults(run=_migrate)
    commands.add_parser("doctor", help="say what works, what does not and what to do").set_defaults(run=_doctor)

    lint = commands.add_parser("checklist", help="work with checklists").add_subparsers(
        required=True, metavar="COMMAND"
    )
    one = lint.add_parser("lint", help="check a checklist: names file, line and key")
    one.add_argument("file", type=Path)
    one.set_defaults(run=_lint)

    record = commands.add_parser("audit", help="work with the record").add_subparsers(required=True, metavar="COMMAND")
    record.add_parser("verify", help="check that no row of the record was changed").set_defaults(run=_verify)

    health = commands.add_parser("health", help="ask a running bot whether it is ready; exits 0 when it is")
    health.add_argument("--url", help="default: /readyz at the configured port")
    health.set_defaults(run=_health)
    return parser
