"""A process that carries out checks as `release-bot serve` does, without Slack: for tests that kill it.

python -m tests.integration.check_process reads one line of JSON from stdin: the bot's `database_url`, the `facts` of a
sandbox, and `api_urls`, name -> address of the API as each of the targets sees it. It prints `ready` and ends with stdin.
"""

import json
import sys
from datetime import timedelta

from bot.clock import SystemClock
from bot.domain.policy import Policy
from bot.domain.watch import WatchTimes
from bot.flows import release_run
from bot.flows.deps import Deps
from bot.flows.undo import undo_orphans
from bot.steps.sources import Sources
from bot.store.pool import Store
from bot.timers import Period, Timers
from bot.workers import Queue, Workers
from checks.registry import Registry
from clients.settings import GitHubSettings, RegistrySettings
from tests.fix_bot import checklist
from tests.fix_checks import target_of, with_changes

SWEEP = 5.0  # seconds, as in bot.app


def main() -> None:
    """Run checks until stdin ends."""
    spec = json.loads(sys.stdin.readline())
    store = Store(spec["database_url"], size=8)
    store.open()
    store.join()
    staging = target_of(spec["facts"], "staging")
    deps = Deps(
        store=store,
        clock=SystemClock(),
        environment="production",
        channel="C0RELEASES1",
        checklist=checklist(),
        policy=Policy(),
        targets={name: with_changes(staging, name=name, api_url=url) for name, url in spec["api_urls"].items()},
        sources=Sources(GitHubSettings(), RegistrySettings()),
        registry=Registry.load(),
        watch=WatchTimes(
            length=timedelta(minutes=15),
            interval=timedelta(seconds=30),
            settle_time=timedelta(0),
            no_answer_limit=timedelta(minutes=5),
        ),
        redact=lambda text: text,
    )
    workers = Workers(store, deps.clock, [Queue("check", 6, lambda job: release_run.execute(deps, job))])
    workers.start()
    timers = Timers(
        [Period("put back what was left behind", SWEEP, lambda: undo_orphans(deps))],
        wake=workers.wake,
        next_due=workers.next_due,
        clock=deps.clock,
    )
    timers.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    timers.stop()
    workers.stop()
    store.close()


if __name__ == "__main__":
    main()
