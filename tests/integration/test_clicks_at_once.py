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


def open_gate(live: Bot, tags: Tags) -> ReleaseId:
    """Open a release whose checks have passed and that the release manager has approved."""
    live.change_deps(sources=tags.sources())
    release_id = live.open_release()
    live.publish_all(release_id)
    now, pass_answer = live.clock.now(), Answer(Outcome.PASS, "all well", Evidence("asked", "expected", "seen"))
    with live.store.transaction() as tx:
        for entry in live.deps.checklist.distinct_checks:
            checks.record(tx, release_id, entry.id, pass_answer, by=MANAGER.user, started_at=now, finished_at=now)
            checks.mark_ended(tx, release_id, entry.id)
        words: dict[str, Any] = {"verdict": Verdict.APPROVE, "reason": "", "permalink": ""}
        sign.sign(tx, live.deps, MANAGER, release_id, role=Role.RELEASE_MANAGER, **words)
    return release_id


def click(live: Bot, number: int, ts: str, action: str, value: str) -> list[int | None]:
    """One click by QA or by a guest, which Slack delivers several times."""
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
        ("signoff.approve", {"role": "qa"}, "signoff.approved", "You already recorded that for QA."),
        ("release.deploy", {}, "deploy.started", f"v4.8.0 is being deployed already, by <@{QUINN}>."),
    ],
)
def test_fifty_clicks_have_one_effect(
    live: Bot, tags: Tags, action: str, ids: dict[str, str], event: str, again: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One click has the effect, other clicks of QA are told so, the guest is refused, and each is recorded once."""
    release_id = open_gate(live, tags)
    before, ts = len(live.recorded_events()), live.ts(release_id)
    value = json.dumps({"release": release_id, **ids})
    with live.working("inbox"), ThreadPoolExecutor(10) as threads:
        inbox_ids = list(threads.map(lambda number: click(live, number, ts, action, value), range(CLICKS)))
        eventually(lambda: not live.rows("SELECT FROM inbox WHERE handled_at IS NULL"))
    assert all(len([row for row in rows if row is not None]) == 1 for rows in inbox_ids)
    event_counts = Counter(live.recorded_events()[before:])
    assert event_counts == {(QUINN, event): 1, (GUS, "click.refused"): CLICKS - OF_QA}
    assert len(live.rows("SELECT FROM steps")) == (3 if event == "deploy.started" else 0)
    reply_counts = Counter(
        text.splitlines()[0] for text in live.reply_texts(QUINN)
    )  # who else reads the channel comes after it
    assert (reply_counts.total(), reply_counts[again]) == (OF_QA, OF_QA - 1)
    assert len(live.reply_texts(GUS)) == CLICKS - OF_QA
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []  # no deadlock
