"""From a stored command or click to one effect and one answer; what is refused changes nothing, is told and is on record."""

import json
import threading
from typing import Any

import pytest
from pydantic import SecretStr

from bot.domain.actions import StepSpec
from bot.domain.ids import CheckId, ReleaseId, UserId
from bot.domain.plan import PlanKind, StepState
from bot.domain.watch import AlarmKind, ProbeFinding
from bot.errors import Superseded
from bot.flows import doctor
from bot.settings import Slack
from bot.slack import checkup
from bot.store import checks, inbox, steps, watches, work
from bot.store.pool import Store
from checks.contract import Answer, Evidence, Outcome
from clients.target import Target
from tests.checks.replies import Replies, Reply
from tests.fix_tags import Tags
from tests.fix_vendors import Vendors
from tests.integration.slack_bot import SOURCE, Bot, a_job
from tests.integration.test_clicks_at_once import open_gate
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, DEV, GUS, QUINN, RELEASES, RITA, eventually
from tests.unit.factories import make_checklist

pytestmark = CLIENT_LEAKS_SOCKETS
STALE = "Nothing was done. Use the newest message."
GUEST_ANSWER = (
    "You belong to another workspace. Only members of this one can do that. Ask a full member of this workspace."
)
# Everything that a click could change; the queues, posts and answers follow from these.
STATE = """
    SELECT (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.id) FROM releases r) AS releases,
           (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.id) FROM signoffs s) AS signoffs,
           (SELECT jsonb_agg(to_jsonb(w)) FROM waivers w) AS waivers,
           (SELECT jsonb_agg(to_jsonb(c) ORDER BY c.check_id) FROM check_runs c) AS checks,
           (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.id) FROM steps s) AS steps,
           (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.id) FROM alarms a) AS alarms,
           (SELECT jsonb_agg(to_jsonb(f)) FROM freezes f) AS freezes
"""


def release_with_messages(live: Bot, version: str = "v4.8.0") -> ReleaseId:
    """An open release whose card and sections are in Slack."""
    release_id = live.open_release(version)
    live.publish_all(release_id)
    return release_id


def value_of(release_id: int, **ids: Any) -> str:
    """The value of a button."""
    return json.dumps({"release": release_id, **ids})


# What works


def test_an_approval_is_recorded_and_answered(live: Bot):
    """A click of QA in its own role is a sign-off with the card's permalink and one private answer."""
    release_id = release_with_messages(live)
    live.click(QUINN, live.ts(release_id), "signoff.approve", block_id="signoff:qa:buttons")
    live.answer()

    (signoff,) = live.rows("SELECT role, by_whom, verdict, permalink FROM signoffs")
    card = live.post(release_id, "card")
    assert signoff == {"role": "qa", "by_whom": QUINN, "verdict": "approve", "permalink": card.permalink}
    assert live.ephemeral_texts(QUINN) == ["Recorded: QA approved v4.8.0."]
    assert live.recorded_events()[-1] == (QUINN, "signoff.approved")


def test_start_opens_a_release_for_the_source_of_the_version(live: Bot):
    """`/release start` asks GitHub and the registry, and the answer says where to look."""
    routes = {
        "GET /repos/solvereign/solvereign/git/ref/tags/v4.8.0": Reply(
            200, {"object": {"type": "commit", "sha": SOURCE.commit}}
        ),
        "HEAD /v2/solvereign/api/manifests/v4.8.0": Reply(200, "", {"Docker-Content-Digest": SOURCE.digest}),
    }
    with Replies(routes) as vendors:
        live.ask_vendors_at(vendors.url + "/")
        live.command("start v4.8.0")

    (release,) = live.rows("SELECT version, state, manager, commit_sha, digest FROM releases")
    assert release == {
        "version": "v4.8.0", "state": "OPEN", "manager": RITA, "commit_sha": SOURCE.commit, "digest": SOURCE.digest,
    }  # fmt: skip
    (answer,) = live.reply_texts(RITA)  # and that somebody of another company reads along
    assert answer.splitlines()[0] == f"v4.8.0 is open. The checks are running; follow them in <#{RELEASES}>."


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("", "Commands: start"),
        ("help", "Commands: start"),
        ("plan", "Plan"),
        ("history", "1 release. Latest: v4.8.0, OPEN"),
        ("status", "v4.8.0"),
        ("status v4.8.0", "v4.8.0"),
        ("doctor", "There is nothing to ask"),
    ],
)
def test_commands_that_only_read_are_answered(live: Bot, text: str, prefix: str):
    """Any member may use them, and they change nothing."""
    live.open_release()
    before = live.rows(STATE)
    delivery = live.command(text, user=DEV)

    (answer,) = live.reply_texts(DEV)
    assert prefix in answer
    assert delivery["outcome"] == "done"
    assert live.rows(STATE) == before


def test_doctor_answers_at_once_and_again_with_its_findings(live: Bot):
    """Each answer is sent once, also after a crash, and vendors' texts are redacted."""
    refusal = Reply(200, {"ok": False, "error": "not_hunter2"})
    with Replies({"POST /auth.test": refusal}) as slack:
        settings = Slack(channel=RELEASES, bot_token=SecretStr("xoxb-1"), api_url=f"{slack.url}/")
        own = (checkup.question(settings, live.deps.policy), doctor.database_question(live.store.url))
        live.change_deps(examination=lambda: doctor.Examination(own))
        live.command("doctor", user=DEV)
        answers = live.reply_texts(DEV)
        for _ in range(2):
            with live.working("doctor"):
                eventually(
                    lambda: len(live.reply_texts(DEV)) == 2 and not live.rows("SELECT FROM work WHERE queue = 'doctor'")
                )
            with live.store.transaction() as tx:
                work.enqueue(tx, "doctor", live.rows("SELECT id FROM inbox")[0]["id"])

    assert answers == ["Asking Slack, The bot's database. The findings follow within half a minute."]
    assert live.reply_texts(DEV) == [*answers, "Needs attention: 1 of 3. Slack"]
    (stored_reply,) = live.rows("SELECT body FROM replies WHERE part = 'findings'")
    assert "Slack refuses the bot token: not_[redacted]" in str(stored_reply)
    assert "hunter2" not in str(stored_reply)


def test_an_answer_contains_no_secret(live: Bot):
    """What a person typed is redacted in the answer and in the record."""
    live.command("freeze 2h the password is hunter2")
    live.command("start hunter2")
    live.answer()

    assert "hunter2" not in " ".join(live.ephemeral_texts(RITA))
    assert "[redacted]" in live.ephemeral_texts(RITA)[1]
    assert live.rows("SELECT body->>'what' AS what FROM audit WHERE event = 'command.refused'") == [
        {"what": "start [redacted]"}
    ]


# What is refused


def assert_refused(live: Bot, before: list[dict[str, Any]], user: str, event: str = "click.refused") -> dict[str, Any]:
    """Assert that the last delivery changed nothing and was recorded; returns the recorded body."""
    (last,) = live.rows("SELECT actor, event, body FROM audit ORDER BY seq DESC LIMIT 1")
    assert (last["actor"], last["event"]) == (user, event)
    assert live.rows(STATE) == before
    body: dict[str, Any] = last["body"]
    return body


def test_a_refusal_is_recorded_with_its_release(live: Bot):
    """The release is that of the button, or the current one for a command, or none."""

    def release_of_last() -> int | None:
        (row,) = live.rows("SELECT release_id, event FROM audit ORDER BY seq DESC LIMIT 1")
        assert row["event"] in {"command.refused", "click.refused"}
        release_id: int | None = row["release_id"]
        return release_id

    live.command("nonsense")
    assert release_of_last() is None
    first = release_with_messages(live)
    live.abort_release(first)
    second = release_with_messages(live, "v4.9.0")
    live.click(DEV, live.ts(first), "signoff.approve", value=value_of(first, role="qa"), forged=True)
    assert release_of_last() == first
    live.command("abort", user=DEV)
    assert release_of_last() == second
    for value in ("approve", value_of(4711, role="qa")):
        live.click(QUINN, live.ts(second), "signoff.approve", value=value, forged=True)
        assert release_of_last() is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "approve",
        "[]",
        "{}",
        '{"release": "1", "role": "qa"}',
        '{"release": -1, "role": "qa"}',
        '{"release": 99999999999999999999, "role": "qa"}',
        '{"release": 1, "role": "root"}',
        '{"release": 1, "role": "qa", "verdict": "approve"}',
    ],
)
def test_a_forged_value_is_refused(live: Bot, value: str):
    """Only the exact payload of the action is read."""
    release_id = release_with_messages(live)
    before = live.rows(STATE)
    live.click(QUINN, live.ts(release_id), "signoff.approve", block_id="signoff:qa:buttons", value=value)

    why = assert_refused(live, before, QUINN)
    (answer,) = live.reply_texts(QUINN)
    assert why["reason"] == "StaleButton"
    assert json.loads(why["what"]) == {"action": "signoff.approve", "value": value}
    assert answer.startswith("The bot never made that button: malformed value of signoff.approve")


def test_a_value_of_another_release_is_refused(live: Bot):
    """A button acts on the release of its message, not on the one in its value."""
    old = release_with_messages(live)
    live.abort_release(old)
    new = release_with_messages(live, "v4.8.1")
    before = live.rows(STATE)
    live.click(
        QUINN, live.ts(old), "signoff.approve", block_id="x", value=value_of(new, role="qa"), forged=True
    )  # fmt: skip

    assert assert_refused(live, before, QUINN)["reason"] == "StaleButton"
    assert live.reply_texts(QUINN) == [f"That button doesn't belong to this message. {STALE}"]


def test_a_button_on_a_foreign_message_is_refused(live: Bot):
    """Nobody can put our buttons under a message of theirs."""
    release_id = release_with_messages(live)
    ts = live.slack.post("message", user=DEV, channel=RELEASES, text="press here")["ts"]
    before = live.rows(STATE)
    live.click(QUINN, ts, "signoff.approve", value=value_of(release_id, role="qa"), forged=True)

    assert assert_refused(live, before, QUINN)["reason"] == "StaleButton"
    assert live.reply_texts(QUINN) == [f"That button doesn't belong to this message. {STALE}"]


def test_a_form_is_not_opened_from_a_foreign_message(live: Bot):
    """The same applies to a button that opens a form."""
    release_id = release_with_messages(live)
    ts = live.slack.post("message", user=DEV, channel=RELEASES, text="press here")["ts"]
    before = live.rows(STATE)
    live.click(RITA, ts, "check.waive", value=value_of(release_id, check="migrations.rls"), forged=True)

    assert assert_refused(live, before, RITA)["reason"] == "StaleButton"
    assert live.slack.state(RITA)["views"] == []


@pytest.mark.parametrize("action_id", ["release.explode", "signoff.approve ", "mitigation.resolve"])
def test_an_unknown_action_is_refused(live: Bot, action_id: str):
    """An action that nobody handles gets an answer all the same."""
    release_id = release_with_messages(live)
    before = live.rows(STATE)
    value = value_of(release_id, mitigation=1)
    live.click(RITA, live.ts(release_id), action_id, value=value, forged=True)

    assert assert_refused(live, before, RITA)["reason"] == "StaleButton"
    assert len(live.reply_texts(RITA)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start 4.8", '"4.8" isn\'t a version'),
        ("deplo", "Did you mean deploy?"),
        ("deploy v4.8.0", "deploy takes nothing after it"),
        ("freeze", "freeze needs a reason"),
        ("; DROP TABLE releases", 'There is no command ";"'),
    ],
)
def test_a_malformed_command_is_refused(live: Bot, text: str, message: str):
    """The answer says what was wrong and what to type, and the attempt is recorded."""
    live.open_release()
    before = live.rows(STATE)
    live.command(text)

    why = assert_refused(live, before, RITA, "command.refused")
    (answer,) = live.reply_texts(RITA)
    assert message in answer
    assert "Type" in answer
    assert (why["reason"], why["what"]) == ("InvalidInput", text)


@pytest.mark.parametrize(
    ("action_id", "block_id", "ids"),
    [
        ("signoff.approve", "signoff:qa:buttons", {"role": "qa"}),
        ("signoff.decline", "signoff:qa:buttons", {"role": "qa"}),
        ("check.details", None, {"check": "go.check_1"}),
        ("release.deploy", None, {}),
        ("release.abort", None, {}),
    ],
)
def test_a_click_of_a_guest_is_refused(live: Bot, action_id: str, block_id: str | None, ids: dict[str, str]):
    """Somebody of another company can press every button, but nothing happens and no form opens."""
    release_id = release_with_messages(live)
    before = live.rows(STATE)
    live.click(GUS, live.ts(release_id), action_id, block_id=block_id, value=value_of(release_id, **ids), forged=True)

    assert assert_refused(live, before, GUS)["reason"] == "NotAllowed"
    assert live.reply_texts(GUS) == [GUEST_ANSWER]
    assert live.slack.state(GUS)["views"] == []


@pytest.mark.parametrize("text", ["status", "start v4.8.1", "abort", "doctor"])
def test_a_command_of_a_guest_is_refused(live: Bot, text: str):
    """Commands that only read are refused as well."""
    live.open_release()
    before = live.rows(STATE)
    live.command(text, user=GUS)

    assert assert_refused(live, before, GUS, "command.refused")["reason"] == "NotAllowed"
    assert live.reply_texts(GUS) == [GUEST_ANSWER]


@pytest.mark.parametrize(
    ("action_id", "block_id"),
    [("signoff.approve", "signoff:qa:buttons"), ("check.rerun", "x"), ("release.deploy", "x")],
)
def test_a_click_without_a_role_is_refused(live: Bot, action_id: str, block_id: str):
    """The answer names the roles that may do it."""
    release_id = release_with_messages(live)
    ids = {"signoff.approve": {"role": "qa"}, "check.rerun": {"check": "go.check_1"}}.get(action_id, {})
    before = live.rows(STATE)
    live.click(DEV, live.ts(release_id), action_id, block_id=block_id, value=value_of(release_id, **ids), forged=True)

    assert assert_refused(live, before, DEV)["reason"] == "NotAllowed"
    (answer,) = live.reply_texts(DEV)
    assert "you have no role." in answer


def test_a_form_without_a_role_is_refused(live: Bot):
    """Everybody can see the form, but submitting it is refused."""
    release_id = release_with_messages(live)
    before = live.rows(STATE)
    live.click(DEV, live.ts(release_id), "release.abort")
    live.submit(DEV, "I would rather not")

    assert assert_refused(live, before, DEV)["reason"] == "NotAllowed"
    assert len(live.reply_texts(DEV)) == 1


def test_a_start_without_a_role_asks_no_vendor(live: Bot):
    """GitHub and the registry are not asked for somebody who may not start a release."""
    with Replies({}) as vendors:
        live.ask_vendors_at(vendors.url + "/")
        live.command("start v4.8.0", user=DEV)

    assert vendors.requests == []
    assert live.recorded_events() == [(DEV, "command.refused")]
    assert live.reply_texts(DEV) == [
        "Only Release Manager can do that; you have no role. Ask one of them, or have the roles changed."
    ]


def test_a_step_of_another_release_is_refused(live: Bot):
    """A button of an old release cannot act on a step of the current one."""
    old = release_with_messages(live)
    live.abort_release(old)
    new = live.open_release("v4.8.1")
    live.change(
        lambda tx: steps.add_plan(
            tx, new, PlanKind.DEPLOY, [(spec.id, StepState.FAILED) for spec in live.deps.checklist.deploy]
        )
    )
    live.change(lambda tx: tx.execute(b"UPDATE releases SET state = 'DEPLOY_FAILED' WHERE id = %s", [new]))
    (step,) = live.rows("SELECT min(id) AS id FROM steps")
    before = live.rows(STATE)
    live.click(RITA, live.ts(old), "step.retry", value=value_of(old, step=step["id"]), forged=True)

    assert assert_refused(live, before, RITA)["reason"] == "StaleButton"
    assert live.reply_texts(RITA) == [f"That belongs to another release. {STALE}"]


def test_an_alarm_of_another_release_is_refused(live: Bot):
    """The alarm is refused when its form is submitted."""
    old = release_with_messages(live)
    live.abort_release(old)
    new = live.open_release("v4.8.1")
    alarm_finding = ProbeFinding("1", "API-1", "boom", "", AlarmKind.NEW, ("1",))
    live.change(lambda tx: watches.raise_alarm(tx, new, "watch.issues", alarm_finding, live.clock.now(), None))
    (alarm,) = live.rows("SELECT id FROM alarms")
    before = live.rows(STATE)
    body = {
        "user": {"id": RITA},
        "view": {
            "callback_id": "watch.acknowledge",
            "private_metadata": value_of(old, alarm=alarm["id"]),
            "state": {"values": {"reason": {"reason": {"value": "seen"}}}},
        },
    }
    live.change(lambda tx: inbox.store_delivery(tx, "forged", "view", body))
    live.handle()

    assert assert_refused(live, before, RITA)["reason"] == "StaleButton"


def test_a_step_by_hand_is_confirmed_before_it_is_recorded(live: Bot):
    """The answer and the step say what the bot saw, or that it could not look."""
    tag = StepSpec.model_validate(
        {"id": "deploy.tag", "title": "Create release tag", "by_hand": True, "action": {"do": "tag"}}
    )
    live.change_deps(checklist=make_checklist(deploy=[tag]), targets={"production": Target(name="production")})
    release_id = live.open_release()
    live.change(lambda tx: steps.add_plan(tx, release_id, PlanKind.DEPLOY, [(tag.id, StepState.FAILED)]))
    live.change(lambda tx: tx.execute(b"UPDATE releases SET state = 'DEPLOY_FAILED' WHERE id = %s", [release_id]))
    (step,) = live.rows("SELECT id FROM steps")
    body = {
        "user": {"id": RITA},
        "view": {
            "callback_id": "step.attest",
            "private_metadata": value_of(release_id, step=step["id"]),
            "state": {"values": {"reason": {"reason": {"value": "pushed it"}}}},
        },
    }
    live.change(lambda tx: inbox.store_delivery(tx, "by_hand", "view", body))
    live.handle()

    unseen = "not confirmed: production has no github section"
    assert live.reply_texts(RITA) == [f"Recorded: deploy.tag was done by hand ({unseen})."]
    assert live.rows("SELECT state, summary FROM steps") == [{"state": "attested", "summary": unseen}]


def test_a_deploy_of_another_plan_than_the_shown_one_is_refused_once(live: Bot, tags: Tags, vendors: Vendors):
    """The answer shows the difference, and the next press accepts it."""
    frontend = StepSpec.model_validate(
        {"id": "deploy.frontend", "title": "Frontend", "action": {"do": "vercel_deploy"}}
    )
    live.change_deps(checklist=make_checklist(deploy=[frontend]), targets={"production": Target(name="production")})
    release_id = open_gate(live, tags)
    live.command("plan")
    assert "The bot can't read what 1 step would change" in live.reply_texts(RITA)[-1]
    production = live.deps.targets["production"].model_copy(update=vendors.parts)
    live.change_deps(targets={**live.deps.targets, "production": production})
    live.click(QUINN, live.ts(release_id), "release.deploy", value=value_of(release_id), forged=True)
    answer = live.reply_texts(QUINN)[-1]
    assert answer.startswith("The plan of v4.8.0 has changed since it was last shown:\n• production deployment of ")
    assert "dpl_v4.7.0" in answer
    assert "Deploy again to accept this" in answer
    assert live.rows("SELECT state FROM releases") == [{"state": "OPEN"}]
    live.command("deploy", QUINN)
    assert live.reply_texts(QUINN)[-1].startswith("Deploying v4.8.0.")


def test_a_deploy_with_a_closed_gate_is_refused_with_every_reason(live: Bot):
    """A forged Deploy button is judged by the gate."""
    release_id = release_with_messages(live)
    before = live.rows(STATE)
    live.click(RITA, live.ts(release_id), "release.deploy", value=value_of(release_id), forged=True)

    assert assert_refused(live, before, RITA)["reason"] == "GateClosed"
    (answer,) = live.reply_texts(RITA)
    assert answer.startswith("No-Go for v4.8.0:")
    assert "Check of go.check_10" in answer


@pytest.mark.parametrize("method", ["users.info", "usergroups.list"])
def test_a_click_is_refused_while_slack_does_not_say_who_it_was(live: Bot, method: str):
    """Without identity or groups nothing happens, and the person is asked to try again."""
    release_id = release_with_messages(live)
    before = live.rows(STATE)
    live.slack.post("slack-faults", error={method: {"n": 1, "error": "internal_error"}})
    live.click(QUINN, live.ts(release_id), "signoff.approve", block_id="signoff:qa:buttons")

    assert assert_refused(live, before, QUINN)["reason"] == "IdentityUnknown"
    (answer,) = live.reply_texts(QUINN)
    assert answer.endswith("so nothing was done. Try again in a minute.")


# Forms


def test_a_submitted_form_has_its_effect(live: Bot):
    """The button opens the form, and the submitted reason is stored with the waiver."""
    release_id = release_with_messages(live)
    section = live.ts(release_id, "section", "migrations")
    click = live.click(RITA, section, "check.waive", value=value_of(release_id, check="migrations.rls"), forged=True)
    submission = live.submit(RITA, "the drill of yesterday counts")

    assert (click["outcome"], submission["outcome"]) == ("form opened", "done")
    assert live.rows("SELECT check_id, by_whom, reason FROM waivers") == [
        {"check_id": "migrations.rls", "by_whom": RITA, "reason": "the drill of yesterday counts"}
    ]
    assert live.reply_texts(RITA) == ["Check of migrations.rls is waived for v4.8.0."]
    assert live.slack.state(RITA)["views"] == []


def test_a_blank_reason_is_an_error_in_the_form(live: Bot):
    """Nothing is stored, and the form stays open with the error."""
    release_id = release_with_messages(live)
    live.click(QUINN, live.ts(release_id), "signoff.decline", block_id="signoff:qa:buttons")
    (view,) = live.slack.state(QUINN)["views"]
    answer = live.slack.post("submit", user=QUINN, view_id=view["id"], values={"reason": {"reason": " \n  "}})
    live.slack.post("close", user=QUINN, view_id=view["id"])

    assert answer["response_action"] == "errors"
    assert answer["errors"] == {"reason": "Write a few words: this goes on record."}
    assert len(live.rows("SELECT id FROM inbox")) == 1
    assert live.rows("SELECT id FROM signoffs") == []


def test_an_optional_reason_may_be_empty(live: Bot):
    """Abort asks for a reason and works without one."""
    release_id = release_with_messages(live)
    live.click(RITA, live.ts(release_id), "release.abort")
    live.submit(RITA, "")

    assert live.rows("SELECT state, reason FROM releases") == [{"state": "ABORTED", "reason": ""}]


def test_an_expired_trigger_is_answered(live: Bot):
    """If the bot was too late for a form, the person is asked to press again."""
    release_id = release_with_messages(live)
    live.slack.post("click", user=RITA, channel=RELEASES, ts=live.ts(release_id), action_id="release.abort")
    live.slack.clock.advance(4)
    live.handle()

    assert live.reply_texts(RITA) == ["That took too long, so Slack didn't open the form. Press the button again."]


def test_a_form_that_an_earlier_attempt_opened_is_no_error(live: Bot):
    """After a crash between opening the form and storing that, the used trigger is accepted."""
    release_id = release_with_messages(live)
    live.slack.post("click", user=RITA, channel=RELEASES, ts=live.ts(release_id), action_id="release.abort")
    (row,) = live.rows("SELECT id, body->>'trigger_id' AS trigger FROM inbox")
    view = {"type": "modal", "title": {"type": "plain_text", "text": "Abort"}, "blocks": []}
    live.client.views_open(trigger_id=row["trigger"], view=view)
    live.dispatch.execute(a_job("inbox", row["id"]))

    assert live.rows("SELECT outcome FROM inbox") == [{"outcome": "form opened"}]
    assert live.reply_texts(RITA) == []


def test_details_of_an_unknown_check_are_answered(live: Bot):
    """No form opens, and the person reads why."""
    release_id = release_with_messages(live)
    live.click(QUINN, live.ts(release_id), "check.details", value=value_of(release_id, check="no.such"), forged=True)

    assert live.reply_texts(QUINN) == ["This check isn't in the checklist of the release."]
    assert live.recorded_events()[-1] == (QUINN, "click.refused")


def test_details_with_a_long_attachment_upload_it_once(live: Bot):
    """The form has the beginning, and the file in the thread has everything."""
    release_id = release_with_messages(live)
    rows = "\n".join(f"{number} PASS naïve" for number in range(900))
    answer = Answer(Outcome.PASS, "900 rows", Evidence("asked", "all PASS", "900 PASS", rows, "rows.txt"))
    with live.store.transaction() as tx:
        now = live.clock.now()
        checks.record(tx, release_id, CheckId("go.check_1"), answer, by=UserId(RITA), started_at=now, finished_at=now)
    view: Any = None
    for _ in range(2):
        live.click(QUINN, live.ts(release_id, "section", "go"), "check.details", block_id="check:go.check_1:buttons")
        (view,) = live.slack.state(QUINN)["views"]
        live.slack.post("close", user=QUINN, view_id=view["id"])
    assert "in a file in the thread" in str(view["blocks"])
    (row,) = live.rows("SELECT id FROM files")
    assert live.uploader.execute(a_job("file", row["id"])) is None
    card = live.ts(release_id)
    (message,) = [one for one in live.slack.messages(RITA) if one.get("files") and one.get("thread_ts") == card]
    assert live.slack.http.get(message["files"][0]["url_private"]).text == rows


# Crashes


def test_simultaneous_attempts_have_one_effect(live: Bot):
    """Of several workers with the same row one commits, and the others find it done."""
    release_id = release_with_messages(live)
    live.slack.post(
        "click", user=QUINN, channel=RELEASES, ts=live.ts(release_id), action_id="signoff.approve",
        block_id="signoff:qa:buttons",
    )  # fmt: skip
    (row,) = live.rows("SELECT id FROM inbox")
    results: list[str] = []

    def attempt() -> None:
        try:
            live.dispatch.execute(a_job("inbox", row["id"]))
            results.append("done")
        except Superseded:
            results.append("superseded")

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert "done" in results
    assert len(live.rows("SELECT id FROM signoffs")) == 1
    assert live.reply_texts(QUINN) == ["Recorded: QA approved v4.8.0."]


def test_a_delivery_of_a_dead_process_is_handled(live: Bot):
    """Another process takes it over at once and not at the end of the lease."""
    live.slack.command("/release freeze 2h maintenance")
    other = Store(live.store.url, size=2)
    other.open()
    other.join()
    with other.transaction() as tx:
        stale_claim = work.claim(tx, "inbox", other.instance)
    other.close()
    with live.working("inbox"):
        eventually(lambda: live.reply_texts(RITA), 4)

    assert stale_claim is not None
    assert live.recorded_events() == [(RITA, "freeze.begun")]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("action", {"user": {"id": QUINN}, "actions": []}),
        ("view", {"user": {"id": QUINN}, "view": None}),
        ("command", {"user_id": QUINN, "text": 42}),
    ],
)
def test_a_delivery_that_fails_is_answered_with_a_reference(
    live: Bot, kind: str, body: dict[str, Any], caplog: pytest.LogCaptureFixture
):
    """After the last attempt the person gets a reference that is in the log too."""
    live.change(lambda tx: inbox.store_delivery(tx, "broken", kind, body))
    (row,) = live.rows("SELECT id FROM inbox")
    job = a_job("inbox", row["id"])
    with pytest.raises((IndexError, AttributeError, TypeError)) as error:
        live.dispatch.execute(job)
    live.dispatch.give_up(job, error.value)

    (answer,) = live.reply_texts(QUINN)
    (outcome,) = live.rows("SELECT outcome FROM inbox")
    reference = outcome["outcome"].removeprefix("failed ")
    assert answer == (
        f"Something went wrong in the bot. Nothing was changed. Give your platform team the reference {reference}."
    )
    assert reference in caplog.text
