"""Fifty clicks at once, each delivered eleven times, through the inbox and its workers: one effect, everybody is answered."""

import json
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bot.domain.ids import ReleaseId
from bot.domain.policy import Role
from bot.domain.signoff import Verdict
from bot.flows import sign
from bot.slack.listeners import keep
from bot.store import checks
from checks.contract import Answer, Evidence, Outcome
from tests.fix_tags import Tags
from tests.integration.slack_bot import MANAGER, Bot
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, GUS, QUINN, RELEASES, eventually

pytestmark = CLIENT_LEAKS_SOCKETS
CLICKS, DELIVERIES = 50, 11
OF_QA = 15  # Slack says who is in a user group twenty times a minute; whoever it does not tell of is refused


def ready(live: Bot, tags: Tags) -> ReleaseId:
    """A release that is Go: every check has passed, the release manager has approved."""
    live.change_deps(sources=tags.sources())
    release_id = live.open_release()
    live.published(release_id)
    now, passed = live.clock.now(), Answer(Outcome.PASS, "all well", Evidence("asked", "expected", "seen"))
    with live.store.transaction() as tx:
        for entry in live.deps.checklist.asked:
            checks.record(tx, release_id, entry.id, passed, by=MANAGER.user, started_at=now, finished_at=now)
            checks.mark_ended(tx, release_id, entry.id)
        words: dict[str, Any] = {"verdict": Verdict.APPROVE, "reason": "", "permalink": ""}
        sign.sign(tx, live.deps, MANAGER, release_id, role=Role.RELEASE_MANAGER, **words)
    return release_id


def click(live: Bot, number: int, ts: str, action: str, value: str) -> list[int | None]:
    """One click by QA or by a guest, which Slack delivers again and again."""
    user = QUINN if number % 10 < 3 else GUS
    body = {
        "type": "block_actions",
        "trigger_id": f"{action}.{number}",
        "user": {"id": user},
        "channel": {"id": RELEASES},
        "container": {"channel_id": RELEASES, "message_ts": ts},
        "actions": [{"action_id": action, "value": value}],
    }
    return [keep(live.store, live.deps.redact, body["trigger_id"], "action", body) for _ in range(DELIVERIES)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("action", "ids", "event", "again"),
    [
        ("signoff.approve", {"role": "qa"}, "signoff.approved", "You have recorded that for QA already."),
        ("release.deploy", {}, "deploy.started", f"v4.8.0 is being deployed already, by <@{QUINN}>."),
    ],
)
def test_one_effect_and_fifty_answers(
    live: Bot, tags: Tags, action: str, ids: dict[str, str], event: str, again: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One of them does it; the others of QA hear so, the guest is refused; all of that is on record, each once."""
    release_id = ready(live, tags)
    before, ts = len(live.audited()), live.ts(release_id)
    value = json.dumps({"release": release_id, **ids})
    with live.working("inbox"), ThreadPoolExecutor(10) as threads:
        taken = list(threads.map(lambda number: click(live, number, ts, action, value), range(CLICKS)))
        eventually(lambda: not live.rows("SELECT FROM inbox WHERE handled_at IS NULL"))
    assert all(len([row for row in rows if row is not None]) == 1 for rows in taken)
    recorded = Counter(live.audited()[before:])
    assert recorded == {(QUINN, event): 1, (GUS, "click.refused"): CLICKS - OF_QA}
    assert len(live.rows("SELECT FROM steps")) == (3 if event == "deploy.started" else 0)
    told = Counter(text.splitlines()[0] for text in live.told(QUINN))  # who else reads the channel comes after it
    assert (told.total(), told[again]) == (OF_QA, OF_QA - 1)
    assert len(live.told(GUS)) == CLICKS - OF_QA
    assert [found.getMessage() for found in caplog.records if found.levelno >= logging.WARNING] == []  # no deadlock
