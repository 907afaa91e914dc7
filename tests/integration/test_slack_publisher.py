"""P8: a message is posted once, follows its rows, is spaced, survives refusals, lost replies, deletions and restarts."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.domain.actions import StepSpec
from bot.domain.checklist import Section
from bot.domain.ids import ReleaseId, StepId
from bot.domain.plan import PlanKind
from bot.domain.posts import CardPost, DoneNotice, RolledBackNotice, StepsPost, read_subject
from bot.domain.results import Running
from bot.errors import RefusedError
from bot.flows.deploying import judge, step_clicks
from bot.slack.client import SPACING, web_client
from bot.slack.publisher import Publisher
from bot.store import checks, inbox, posts, releases, replies, steps
from bot.store.pool import Store, Tx
from tests.checks.replies import Replies, Reply
from tests.integration.slack_bot import MANAGER, Bot, Json, a_job
from tests.integration.test_deploy_click import count_costs
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, GENERAL, RELEASES, RITA, SlackWorld, eventually
from tests.unit.factories import make_check, make_checklist

pytestmark = CLIENT_LEAKS_SOCKETS


ANNOUNCEMENT, END_OF_ROLLBACK = ("notice", "done"), ("notice", "rolled_back")


def called(slack: SlackWorld, method: str) -> int:
    """How often a method was called, refused calls included."""
    counts: dict[str, int] = slack.get("calls")["counts"]
    return counts.get(method, 0)


def in_channel(slack: SlackWorld) -> list[Json]:
    """The messages of #releases."""
    return slack.messages(RITA)


def declare(bot: Bot, release_id: ReleaseId, manager: str) -> None:
    """Change a row that the card shows."""
    bot.change(lambda tx: tx.execute(b"UPDATE releases SET manager = %s WHERE id = %s", [manager, release_id]))


def test_thread_comes_after_the_card_in_the_order_of_the_checklist(bot: Bot, slack: SlackWorld):
    """The card stands in the channel; one message a section follows in its thread."""
    release_id = bot.open_release()
    with bot.working("messages"):
        eventually(lambda: len(in_channel(slack)) == 3)
        eventually(lambda: not bot.rows("SELECT id FROM work WHERE queue = 'messages' AND due_at <= now()"))

    card, *thread = in_channel(slack)
    assert "thread_ts" not in card or card["thread_ts"] == card["ts"]
    assert [m["thread_ts"] for m in thread] == [card["ts"]] * 2
    subjects = [m["metadata"]["event_payload"]["post"] for m in thread]
    assert subjects == [bot.post(release_id, "section", name).id for name in ("migrations", "go")]
    assert slack.violations() == []


def test_section_waits_for_its_card(bot: Bot, slack: SlackWorld):
    """What belongs into a thread is not posted while there is none; it is asked for again with the card."""
    release_id = bot.open_release()

    assert bot.publish(release_id, "section", "go") is None
    assert in_channel(slack) == []

    bot.publish(release_id)
    bot.publish(release_id, "section", "go")
    assert len(in_channel(slack)) == 2


def test_unchanged_message_is_not_sent_again(bot: Bot, slack: SlackWorld):
    """Asked to render what Slack shows already, the publisher calls nothing."""
    release_id = bot.open_release()
    bot.publish(release_id)
    before = len(slack.get("calls")["calls"])
    for _ in range(3):
        bot.clock.advance(2)
        assert bot.publish(release_id) is None

    assert len(slack.get("calls")["calls"]) == before


def test_changed_message_is_updated(bot: Bot, slack: SlackWorld):
    """What the rows say is what the card shows, after one update."""
    release_id = bot.open_release()
    bot.publish(release_id)
    declare(bot, release_id, "U0MAX00001")
    bot.clock.advance(2)
    bot.publish(release_id)

    assert called(slack, "chat.update") == 1
    assert "U0MAX00001" in str(in_channel(slack)[0]["blocks"])


def test_changes_within_a_second_are_one_update(bot: Bot, slack: SlackWorld):
    """Slack allows about one update a second for a message: what comes sooner waits and goes together."""
    release_id = bot.open_release()
    bot.publish(release_id)
    due = []
    for manager in ("U0MAX00001", "U0QUINN001", "U0PAT00001"):
        declare(bot, release_id, manager)
        due.append(bot.publish(release_id))
    sent_at = bot.post(release_id, "card").sent_at
    bot.clock.advance(1)
    bot.publish(release_id)

    assert sent_at is not None
    assert due == [sent_at + SPACING] * 3
    assert called(slack, "chat.update") == 1
    assert "U0PAT00001" in str(in_channel(slack)[0]["blocks"])


def test_lost_reply_is_found_again_and_not_posted_twice(bot: Bot, slack: SlackWorld):
    """Slack carried it out, but its answer never came: the message is known by its metadata."""
    release_id = bot.open_release()
    slack.post("slack-faults", lose_reply={"chat.postMessage": 1})
    due = bot.publish(release_id)
    assert due is not None
    assert bot.publish(release_id) is not None  # at once again: what was found may show an older state
    bot.clock.advance(2)
    assert bot.publish(release_id) is None

    (card,) = in_channel(slack)
    assert bot.ts(release_id) == card["ts"]
    assert card["pinned_to"] == [RELEASES]
    assert bot.post(release_id, "card").permalink


def test_lost_reply_in_a_thread_is_found_again(bot: Bot, slack: SlackWorld):
    """The same below the card."""
    release_id = bot.open_release()
    bot.publish(release_id)
    slack.post("slack-faults", lose_reply={"chat.postMessage": 1})
    bot.publish(release_id, "section", "go")
    assert bot.publish(release_id, "section", "go") is not None
    bot.clock.advance(2)
    assert bot.publish(release_id, "section", "go") is None

    assert len(in_channel(slack)) == 2
    assert bot.ts(release_id, "section", "go") == in_channel(slack)[1]["ts"]


def test_post_that_was_never_carried_out_is_sent_again(bot: Bot, slack: SlackWorld):
    """Slack failed before it did anything: a look shows that nothing stands there, so it is posted."""
    release_id = bot.open_release()
    slack.post("slack-faults", error={"chat.postMessage": {"n": 1, "error": "internal_error", "status": 500}})
    due = bot.publish(release_id)
    bot.publish(release_id)

    assert due is not None
    assert len(in_channel(slack)) == 1


def test_killed_between_posting_and_writing_it_down_it_is_not_posted_twice(
    bot: Bot, slack: SlackWorld, another_process: Callable[[], Store]
):
    """A new process finds the attempt, looks, and adopts the message; the card is pinned all the same."""
    release_id = bot.open_release()
    bot.publish(release_id)
    bot.change(lambda tx: tx.execute(b"UPDATE posts SET ts = NULL, permalink = '', sent_hash = '', sent_at = NULL"))
    again = Bot(another_process(), slack)
    again.publish(release_id)

    assert len(in_channel(slack)) == 1
    assert bot.ts(release_id) == in_channel(slack)[0]["ts"]


def test_message_of_another_bot_is_not_taken_for_ours(bot: Bot, slack: SlackWorld):
    """The mark must be that of this very post and release."""
    release_id = bot.open_release()
    post = bot.post(release_id, "card")
    other = {"event_type": "release_bot_post", "event_payload": {"post": post.id, "release": release_id + 1}}
    slack.client.chat_postMessage(channel=RELEASES, text="another database", metadata=other)
    bot.change(lambda tx: posts.record_attempt(tx, post.id, bot.clock.now()))
    bot.publish(release_id)

    assert bot.ts(release_id) == in_channel(slack)[1]["ts"]


@pytest.mark.parametrize("method", ["chat.postMessage", "chat.getPermalink", "pins.add"])
def test_rate_limit_of_a_first_post_is_honoured(bot: Bot, slack: SlackWorld, method: str):
    """The publisher comes back when Slack said so, and in the end there is one message, pinned, with its permalink."""
    release_id = bot.open_release()
    slack.post("slack-faults", rate_limit={method: 1, "retry_after": 7})
    begun = bot.clock.now()
    due = bot.publish(release_id)
    assert due is not None
    assert timedelta(seconds=7) <= due - begun < timedelta(seconds=9)

    bot.clock.advance(8)
    bot.publish(release_id)
    bot.clock.advance(2)
    assert bot.publish(release_id) is None
    (card,) = in_channel(slack)
    assert card["pinned_to"] == [RELEASES]
    assert bot.post(release_id, "card").permalink


def test_rate_limit_holds_back_all_calls_of_the_method(bot: Bot, slack: SlackWorld):
    """While Slack asks for a pause, no other message is tried either, and the order stays."""
    release_id = bot.open_release()
    bot.publish(release_id)
    slack.post("slack-faults", rate_limit={"chat.postMessage": 1, "retry_after": 7})
    first = bot.publish(release_id, "section", "migrations")
    second = bot.publish(release_id, "section", "go")

    assert first == second
    assert called(slack, "chat.postMessage") == 2


def test_rate_limited_update_comes_later(bot: Bot, slack: SlackWorld):
    """A 429 of chat.update delays the update, nothing else."""
    release_id = bot.open_release()
    bot.publish(release_id)
    declare(bot, release_id, "U0MAX00001")
    slack.post("slack-faults", rate_limit={"chat.update": 1, "retry_after": 5})
    bot.clock.advance(2)
    due = bot.publish(release_id)
    bot.clock.advance(6)
    bot.publish(release_id)

    assert due is not None
    assert "U0MAX00001" in str(in_channel(slack)[0]["blocks"])


def test_message_that_a_person_deleted_is_posted_anew(bot: Bot, slack: SlackWorld):
    """The next change finds it gone; the new one is pinned, and old buttons no longer act."""
    release_id = bot.open_release()
    bot.publish(release_id)
    old = bot.ts(release_id)
    slack.post("delete", user=RITA, channel=RELEASES, ts=old)
    declare(bot, release_id, "U0MAX00001")
    bot.clock.advance(2)
    due = bot.publish(release_id)
    bot.clock.advance(2)
    bot.publish(release_id)

    assert due is not None
    (card,) = in_channel(slack)
    assert (bot.ts(release_id), card["pinned_to"]) == (card["ts"], [RELEASES])
    assert card["ts"] != old


def test_the_team_is_told_of_a_rollback_once_the_message_stands(bot: Bot, slack: SlackWorld):
    """The line of the rollback is done with a link to what was posted, and not before; posted anew it has the new link."""
    notify = StepSpec(id=StepId("rollback.notify"), title="Notify team", action={"do": "notify"})
    bot.change_deps(checklist=make_checklist(rollback=(notify,)))
    release_id = bot.open_release()

    def rolled_back(tx: Tx) -> None:
        tx.execute(b"UPDATE releases SET state = 'ROLLED_BACK' WHERE id = %s", [release_id])
        steps.add_plan(tx, release_id, PlanKind.ROLLBACK, judge.initial_states((notify,)))
        posts.enqueue_posts(tx, release_id, [StepsPost(plan=PlanKind.ROLLBACK), RolledBackNotice()])

    def line() -> str:
        bot.clock.advance(2)
        bot.publish(release_id, "steps", PlanKind.ROLLBACK)
        return str(in_channel(slack)[1]["blocks"][1]["text"]["text"])

    bot.publish(release_id)
    bot.change(rolled_back)
    before = line()
    with bot.store.transaction() as tx:
        (row,) = (step.row for step in steps.plan(tx, release_id))
        with pytest.raises(RefusedError, match="The bot says that itself"):
            step_clicks.attest(tx, bot.deps, MANAGER, row, "I told them")
    bot.publish(release_id, *END_OF_ROLLBACK)
    posted = bot.post(release_id, *END_OF_ROLLBACK).permalink
    after = line()
    slack.post("delete", user=RITA, channel=RELEASES, ts=bot.ts(release_id, *END_OF_ROLLBACK))
    bot.change(lambda tx: tx.execute(b"UPDATE releases SET reason = 'errors' WHERE id = %s", [release_id]))
    for _ in range(2):
        bot.clock.advance(2)
        bot.publish(release_id, *END_OF_ROLLBACK)
    anew = bot.post(release_id, *END_OF_ROLLBACK).permalink

    assert before == ":white_circle: *Notify team*\nthe bot's message in the channel once this is over"
    assert after == f":white_check_mark: *Notify team*\nposted: {posted}"
    assert line() == f":white_check_mark: *Notify team*\nposted: {anew}"
    assert posted != anew
    assert [event for event in bot.recorded_events() if event[1] == "step.done"] == [("system", "step.done")] * 2


def test_the_announcement_is_asked_for_whenever_it_comes_or_goes(bot: Bot, slack: SlackWorld):
    """In doubt Slack is asked; one that a person deleted is posted anew, and its line of the checklist is asked each time."""
    line = make_check("after.told", kind="announced", target="production")
    after = Section(id="after", title="Afterwards", phase="after", checks=(line,))
    bot.change_deps(checklist=make_checklist(sections=(*make_checklist().sections[:2], after)))
    release_id = bot.open_release()
    bot.change(lambda tx: tx.execute(b"UPDATE releases SET state = 'DONE' WHERE id = %s", [release_id]))
    bot.change(lambda tx: posts.enqueue_posts(tx, release_id, [DoneNotice()]))
    stood, asked = [], []

    def look() -> None:
        bot.change(lambda tx: checks.mark_all_idle(tx, release_id))
        bot.clock.advance(2)
        bot.publish(release_id, *ANNOUNCEMENT)
        with bot.store.transaction() as tx:
            stood.append(bool(posts.place_of(tx, release_id, DoneNotice())))
            asked.append(checks.views(tx, release_id)[line.id].running is Running.WAITING)

    look()
    bot.change(lambda tx: posts.recheck(tx, release_id, DoneNotice()))
    look()
    slack.post("delete", user=RITA, channel=RELEASES, ts=bot.ts(release_id, *ANNOUNCEMENT))
    look()
    bot.change(lambda tx: posts.recheck(tx, release_id, DoneNotice()))
    look()
    look()

    assert (stood, asked) == ([True, True, True, False, True], [True, False, False, True, True])


def test_a_message_that_fails_keeps_no_other_waiting(bot: Bot, slack: SlackWorld, caplog: pytest.LogCaptureFixture):
    """One about something unknown is in the log and tried again; the rest of the release is told."""
    release_id = bot.open_release()
    bot.change(lambda tx: tx.execute(b"UPDATE posts SET subject = 'surprise', kind = 'notice' WHERE kind = 'card'"))
    due = bot.publisher.execute(a_job("messages", release_id))
    bot.change(lambda tx: posts.enqueue_posts(tx, release_id, [CardPost()]))
    bot.publisher.execute(a_job("messages", release_id))

    assert due is not None
    assert "No message is called notice surprise" in caplog.text
    assert [message["text"] for message in in_channel(slack)] == ["v4.8.0"] or len(in_channel(slack)) == 1


def test_the_messages_of_a_release_cost_few_statements(bot: Bot):
    """They are rendered from one reading of the release: a first post costs two more, an edit one, and what has not changed none."""
    release_id = bot.open_release()
    costs = []

    def bring_up_to_date() -> None:
        bot.clock.advance(2)
        with count_costs(bot) as cost:
            Publisher(bot.deps, bot.client).execute(a_job("messages", release_id))
        costs.append(len(cost.statements))

    bring_up_to_date()
    bring_up_to_date()
    declare(bot, release_id, "U0PAT00001")
    bring_up_to_date()
    first, unchanged, edited = costs
    assert unchanged <= 8
    assert first == unchanged + 2 * 3  # the card and two sections
    assert edited == unchanged + 1  # the card


def test_thread_whose_card_was_deleted_is_begun_anew(bot: Bot, slack: SlackWorld):
    """A message that finds its thread gone has the card posted again, and follows it."""
    release_id = bot.open_release()
    bot.publish(release_id)
    slack.post("delete", user=RITA, channel=RELEASES, ts=bot.ts(release_id))
    due = bot.publish(release_id, "section", "migrations")
    waits = bot.publish(release_id, "section", "migrations")
    bot.clock.advance(2)
    for kind, subject in (("card", ""), ("section", "migrations")):
        bot.publish(release_id, kind, subject)

    card, section = in_channel(slack)
    assert due is not None
    assert waits is None
    assert section["thread_ts"] == card["ts"]


def test_what_was_owed_when_the_bot_stopped_is_posted_at_the_next_start(
    bot: Bot, slack: SlackWorld, another_process: Callable[[], Store]
):
    """A restart loses no message and doubles none."""
    release_id = bot.open_release()
    bot.publish(release_id)
    bot.store.leave()
    again = Bot(another_process(), slack)
    with again.working("messages"):
        eventually(lambda: len(in_channel(slack)) == 3)

    assert called(slack, "chat.postMessage") == 3


def test_card_is_unpinned_when_the_release_ends(bot: Bot, slack: SlackWorld):
    """Pins are few: only the release under way has one, and a crash after the update does not leave one behind."""
    release_id = bot.open_release()
    bot.publish(release_id)
    pinned = in_channel(slack)[0].get("pinned_to")
    bot.abort_release(release_id)
    slack.post("slack-faults", rate_limit={"pins.remove": 1, "retry_after": 3})
    bot.clock.advance(2)
    bot.publish(release_id)
    bot.clock.advance(4)
    bot.publish(release_id)

    assert pinned == [RELEASES]
    assert "pinned_to" not in in_channel(slack)[0]


def test_card_of_a_release_that_is_opened_again_is_pinned_again(bot: Bot, slack: SlackWorld):
    """As long as it is open, whatever its state; asked of Slack once, not with each update."""
    release_id = bot.open_release()
    bot.publish(release_id)
    bot.abort_release(release_id)
    seen = []
    for number, is_open in enumerate((False, True, True, False)):
        with bot.store.transaction() as tx:
            if is_open:
                releases.reopen(tx, release_id)
            else:
                releases.close(tx, release_id, bot.clock.now())
        declare(bot, release_id, f"U0MAX0000{number}")
        bot.clock.advance(2)
        bot.publish(release_id)
        seen.append("pinned_to" in in_channel(slack)[0])

    assert seen == [False, True, True, False]
    assert (called(slack, "pins.add"), called(slack, "pins.remove")) == (2, 2)


def test_pin_that_slack_refuses_does_not_hold_up_the_card(
    bot: Bot, slack: SlackWorld, caplog: pytest.LogCaptureFixture
):
    """A card without a pin is a card; the log says what is missing."""
    release_id = bot.open_release()
    slack.post("slack-faults", error={"pins.add": {"n": 1, "error": "too_many_pins"}})

    assert bot.publish(release_id) is None
    assert bot.ts(release_id) == in_channel(slack)[0]["ts"]
    post_id = bot.post(release_id, "card").id
    assert caplog.messages == [f"post {post_id} goes without pins.add: Slack answered too_many_pins to pins.add."]


def test_gone_channel_is_tried_again_slowly(bot: Bot, slack: SlackWorld, caplog: pytest.LogCaptureFixture):
    """When the bot was removed from the channel, the log says what to do, and it goes on once that is done."""
    release_id = bot.open_release()
    slack.post("slack-faults", error={"chat.postMessage": {"n": 1, "error": "not_in_channel"}})
    begun = bot.clock.now()
    due = bot.publish(release_id)
    bot.publish(release_id)

    assert due is not None
    assert due - begun >= timedelta(seconds=15)
    assert "Invite the bot: /invite @Release Bot" in caplog.text
    assert len(in_channel(slack)) == 1


def test_html_of_a_broken_gateway_is_no_answer_of_slack(bot: Bot, slack: SlackWorld):
    """A 503 that is none of Slack's JSON is tried again soon, and its page is not repeated to anybody."""
    release_id = bot.open_release()
    bot.publish(release_id)
    declare(bot, release_id, "U0MAX00001")
    bot.clock.advance(2)
    with Replies({"POST /api/chat.update": Reply(503, "<html>hunter2</html>")}) as gateway:
        broken = web_client("xoxb-1", gateway.url + "/api/")
        due = Publisher(bot.deps, broken).execute(a_job("messages", release_id))

    assert due is not None
    assert due - bot.clock.now() <= SPACING


# Answers


def owe_answer(bot: Bot, *, channel: str = RELEASES, url: str = "", text: str = "Recorded.") -> int:
    """Owe Rita an answer; returns its id."""
    with bot.store.transaction() as tx:
        row = inbox.store_delivery(tx, f"d{bot.clock.now().timestamp()}", "command", {})
        assert row is not None
        replies.store_reply(tx, row, RITA, channel, url, {"text": text, "blocks": []}, bot.clock.now())
    (found,) = bot.rows("SELECT id FROM replies WHERE inbox_id = %s", row)
    return int(found["id"])


def test_answer_without_a_response_url_is_ephemeral(bot: Bot, slack: SlackWorld):
    """After a form there is no response_url: the answer goes into the channel, for that person only."""
    reply = owe_answer(bot)
    bot.publisher.answer(a_job("reply", reply))
    bot.publisher.answer(a_job("reply", reply))

    assert [(m["text"], m["ephemeral"]) for m in slack.messages(RITA)] == [("Recorded.", True)]


def test_answer_whose_response_url_is_used_up_is_given_otherwise(bot: Bot, slack: SlackWorld):
    """A dead response_url is no reason for silence."""
    reply = owe_answer(bot, url=f"{slack.url}commands/T0SOLVE001/none")

    assert bot.publisher.answer(a_job("reply", reply)) is None
    assert [m["text"] for m in slack.messages(RITA)] == ["Recorded."]


def test_rate_limited_answer_comes_later(bot: Bot, slack: SlackWorld):
    """A 429 delays the answer."""
    slack.post("slack-faults", rate_limit={"chat.postEphemeral": 1, "retry_after": 4})
    reply = owe_answer(bot)
    begun = bot.clock.now()
    due = bot.publisher.answer(a_job("reply", reply))
    bot.publisher.answer(a_job("reply", reply))

    assert due is not None
    assert due - begun >= timedelta(seconds=4)
    assert [m["text"] for m in slack.messages(RITA)] == ["Recorded."]


def test_answer_that_comes_too_late_is_not_given(bot: Bot, slack: SlackWorld):
    """After half an hour nobody knows any more what it was about; the log keeps it."""
    reply = owe_answer(bot)
    bot.clock.advance(31 * 60)

    assert bot.publisher.answer(a_job("reply", reply)) is None
    assert slack.messages(RITA) == []


def test_answer_has_no_secret(bot: Bot, slack: SlackWorld):
    """Answers are redacted on their way out, too."""
    bot.publisher.answer(a_job("reply", owe_answer(bot, text="the password is hunter2")))

    assert [m["text"] for m in slack.messages(RITA)] == ["the password is [redacted]"]


def test_answer_into_a_channel_without_the_bot_uses_the_response_url(live: Bot):
    """A command works in any channel, and so does its answer."""
    live.slack.command("/release help", channel=GENERAL)
    live.handle()
    live.answer()

    assert live.slack.messages(RITA, GENERAL)[-1]["text"].startswith("Commands: start")


def test_a_reminder_is_a_direct_message_that_follows_its_rows(bot: Bot, slack: SlackWorld):
    """It goes to one person, is posted once, and says when they are waited for no more."""
    release_id = bot.open_release()
    subject = f"release_manager:{RITA}:1"
    bot.change(lambda tx: posts.enqueue_posts(tx, release_id, [read_subject("reminder", subject)]))

    bot.publish(release_id, "reminder", subject)
    bot.publish(release_id, "reminder", subject)
    channel = bot.post(release_id, "reminder", subject).channel
    (message,) = slack.messages(RITA, channel)
    assert channel.startswith("D")
    assert "waits for a sign-off by Release Manager: see the card in <#C0RELEASES1>" in message["text"]

    bot.abort_release(release_id)
    bot.clock.advance(1)
    bot.publish(release_id, "reminder", subject)
    (message,) = slack.messages(RITA, channel)
    assert message["text"].endswith("waits no more: it is ABORTED.")
    assert slack.violations() == []


def test_somebody_who_cannot_be_reminded_holds_nothing_up(bot: Bot, caplog: pytest.LogCaptureFixture):
    """It is in the log, and not tried for ever."""
    release_id = bot.open_release()
    bot.change(lambda tx: posts.enqueue_posts(tx, release_id, [read_subject("reminder", "qa:U0NOBODY01:1")]))

    assert bot.publish(release_id, "reminder", "qa:U0NOBODY01:1") is None
    assert "nobody is reminded by post" in caplog.text
