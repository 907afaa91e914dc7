"""What one Deploy click, and one rollback, cost until the first step begins: statements, readings of the release, judgements."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Self

import pytest
from psycopg import Cursor
from psycopg.rows import DictRow

from bot.app import load_checklist
from bot.domain import gate
from bot.flows.deploying import advance
from bot.flows.deps import Job
from bot.store import releases, work
from bot.store.pool import Store, Tx
from bot.store.queries import queries
from tests.fix_tags import Tags
from tests.integration.slack_bot import Bot
from tests.integration.test_clicks_at_once import open_gate
from tests.sandbox.slack_world import QUINN

MAX_STATEMENTS, MAX_READINGS = 40, 2
STEP_BEGINS = queries("steps")["start"]


@dataclass
class Cost:
    """What was done until the first step began, in order."""

    statements: list[str] = field(default_factory=list)
    readings: list[bool] = field(default_factory=list)  # of the whole release: whether under its lock
    judgements: list[bool] = field(default_factory=list)  # of the gate: whether of a reading under the lock
    step_has_begun: bool = False

    def count_statement(self, sql: str) -> None:
        """Count one statement until a step begins; the pool's test of a connection is none."""
        if sql and not self.step_has_begun:
            self.statements.append(sql)
        self.step_has_begun |= sql == STEP_BEGINS

    def count_call(self, frame: FrameType, event: str, _argument: object) -> None:
        """Count one call, as the profiler of a thread."""
        if event != "call" or self.step_has_begun:
            return
        if frame.f_code is releases.view.__code__:
            self.readings.append(frame.f_locals["lock"])
        elif frame.f_code in {gate.deploy_gate.__code__, gate.rollback_gate.__code__}:
            self.judgements.append(self.readings[-1])


class CountingStore(Store):
    """A store whose transactions count their statements."""

    def __init__(self, store: Store, cost: Cost) -> None:
        super().__init__(store.url, size=2)
        self.instance = store.instance

        class CountingCursor(Cursor[DictRow]):
            def execute(self, query: Any, *args: Any, **kwargs: Any) -> Self:
                cost.count_statement(query)
                return super().execute(query, *args, **kwargs)

        self._cursor = CountingCursor

    @contextmanager
    def transaction(self, *, wait: float | None = None) -> Iterator[Tx]:
        """A transaction of the store."""
        with super().transaction(wait=wait) as tx:
            tx.cursor_factory = self._cursor
            yield tx


@contextmanager
def count_costs(bot: Bot) -> Iterator[Cost]:
    """Count what the bot does in this thread during the block."""
    cost = Cost()
    store = CountingStore(bot.store, cost)
    store.open()
    bot.change_deps(store=store)
    sys.setprofile(cost.count_call)
    try:
        yield cost
    finally:
        sys.setprofile(None)
        store.close()
        bot.change_deps(store=bot.store)


def begin_first_step(bot: Bot) -> None:
    """Run the plan as a worker does; without a cluster its first step fails after it has begun."""
    with bot.deps.store.transaction() as tx:
        claim = work.claim(tx, "advance", bot.store.instance)
    assert claim is not None
    advance.execute(bot.deps, Job(claim, threading.Event()))


@pytest.fixture
def shipped_bot(live: Bot) -> Bot:
    """The bot with the shipped checklist."""
    live.change_deps(checklist=load_checklist("solvereign", live.deps.registry))
    return live


def test_a_deploy_and_its_rollback_need_few_statements(shipped_bot: Bot, tags: Tags) -> None:
    """At most forty statements run, the release is read at most twice, and the gate is judged once under lock."""
    release_id = open_gate(shipped_bot, tags)
    shipped_bot.command("plan", QUINN)
    value = json.dumps({"release": release_id})
    ts = shipped_bot.ts(release_id)
    with count_costs(shipped_bot) as deploy:
        shipped_bot.click(QUINN, ts, "release.deploy", value=value, forged=True)
        begin_first_step(shipped_bot)
    assert shipped_bot.rows("SELECT state FROM releases") == [{"state": "DEPLOY_FAILED"}]
    with count_costs(shipped_bot) as rollback:
        shipped_bot.command("rollback errors", QUINN)
        begin_first_step(shipped_bot)
    for cost in (deploy, rollback):
        assert cost.step_has_begun
        assert len(cost.statements) <= MAX_STATEMENTS, "\n".join(cost.statements)
        assert len(cost.readings) <= MAX_READINGS
        assert cost.judgements.count(True) == 1
