"""P8: a message is posted once, follows its rows, is spaced, survives refusals, lost replies, deletions and restarts."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.domain.actions import StepSpec
from bot.domain.checklist import Section
from bot.domain.ids import ReleaseId, StepId
from bot.domain.plan import PlanKind
from bot.domain.posts import CardPost, DoneNotice, RolledBackNotice, StepsPost, read_subject
from bot.domain.results import RunState
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


def count_calls(slack: SlackWorld, method: str) -> int:
    """The number of calls of a method, including refused ones."""
    counts: dict[str, int] = slack.get("calls")["counts"]
    return counts.get(method, 0)


def in_channel(slack: SlackWorld) -> list[Json]:
    """The messages of #releases."""
    return slack.messages(RITA)


def declare(bot: Bot, release_id: ReleaseId, manager: str) -> None:
    """Change a row that the card shows."""
    bot.change(lambda tx: tx.execute(b"UPDATE releases SET manager = %s WHERE id = %s", [manager, release_id]))


def test_the_thread_follows_the_card_in_the_order_of_the_checklist(bot: Bot, slack: SlackWorld):
    """The card is in the channel, and one message for each section follows in its thread."""
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


def test_a_section_waits_for_its_card(bot: Bot, slack: SlackWorld):
    """A message of a thread is not posted without a thread, and is requested again with the card."""
    release_id = bot.open_release()

    assert bot.publish(release_id, "section", "go") is None
    assert in_channel(slack) == []

    bot.publish(release_id)
    bot.publish(release_id, "section", "go")
    assert len(in_channel(slack)) == 2


def test_an_unchanged_message_is_not_sent_again(bot: Bot, slack: SlackWorld):
    """The publisher makes no call for what Slack shows already."""
    release_id = bot.open_release()
    bot.publish(release_id)
    before = len(slack.get("calls")["calls"])
    for _ in range(3):
        bot.clock.advance(2)
        assert bot.publish(release_id) is None

    assert len(slack.get("calls")["calls"]) == before


def test_a_changed_message_is_updated(bot: Bot, slack: SlackWorld):
    """After one update the card shows what the rows contain."""
    release_id = bot.open_release()
    bot.publish(release_id)
    declare(bot, release_id, "U0MAX00001")
    bot.clock.advance(2)
    bot.publish(release_id)

    assert count_calls(slack, "chat.update") == 1
    assert "U0MAX00001" in str(in_channel(slack)[0]["blocks"])


def test_changes_within_a_second_are_one_update(bot: Bot, slack: SlackWorld):
    """Slack allows about one update a second of a message, so later changes are sent together."""
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
    assert count_calls(slack, "chat.update") == 1
    assert "U0PAT00001" in str(in_channel(slack)[0]["blocks"])


def test_a_message_with_a_lost_reply_is_not_posted_twice(bot: Bot, slack: SlackWorld):
    """A message whose reply was lost is recognised by its metadata."""
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


def test_a_lost_reply_in_a_thread_is_recovered(bot: Bot, slack: SlackWorld):
    """A message in a thread is recognised as well."""
    release_id = bot.open_release()
    bot.publish(release_id)
    slack.post("slack-faults", lose_reply={"chat.postMessage": 1})
    bot.publish(release_id, "section", "go")
    assert bot.publish(release_id, "section", "go") is not None
    bot.clock.advance(2)
    assert bot.publish(release_id, "section", "go") is None

    assert len(in_channel(slack)) == 2
    assert bot.ts(release_id, "section", "go") == in_channel(slack)[1]["ts"]


def test_a_failed_post_is_sent_again(bot: Bot, slack: SlackWorld):
    """Slack failed before it did anything, so nothing is found and the message is posted."""
    release_id = bot.open_release()
    slack.post("slack-faults", error={"chat.postMessage": {"n": 1, "error": "internal_error", "status": 500}})
    due = bot.publish(release_id)
    bot.publish(release_id)

    assert due is not None
    assert len(in_channel(slack)) == 1


def test_a_crash_after_posting_does_not_post_twice(bot: Bot, slack: SlackWorld, another_process: Callable[[], Store]):
    """A new process finds the attempt, adopts the message, and pins the card."""
    release_id = bot.open_release()
    bot.publish(release_id)
    bot.change(lambda tx: tx.execute(b"UPDATE posts SET ts = NULL, permalink = '', sent_hash = '', sent_at = NULL"))
    again = Bot(another_process(), slack)
    again.publish(release_id)

    assert len(in_channel(slack)) == 1
    assert bot.ts(release_id) == in_channel(slack)[0]["ts"]


def test_a_message_of_another_database_is_not_ours(bot: Bot, slack: SlackWorld):
    """The metadata must name this very post and release."""
    release_id = bot.open_release()
    post = bot.post(release_id, "card")
    other = {"event_type": "release_bot_post", "event_payload": {"post": post.id, "release": release_id + 1}}
    slack.client.chat_postMessage(channel=RELEASES, text="another database", metadata=other)
    bot.change(lambda tx: posts.record_attempt(tx, post.id, bot.clock.now()))
    bot.publish(release_id)

    assert bot.ts(release_id) == in_channel(slack)[1]["ts"]


@pytest.mark.parametrize("method", ["chat.postMessage", "chat.getPermalink", "pins.add"])
def test_a_rate_limit_of_a_first_post_is_respected(bot: Bot, slack: SlackWorld, method: str):
    """In the end there is one pinned message with its permalink."""
    release_id = bot.open_release()
    slack.post("slack-faults", rate_limit={method: 1, "retry_after": 7})
    start = bot.clock.now()
    due = bot.publish(release_id)
    assert due is not None
    assert timedelta(seconds=7) <= due - start < timedelta(seconds=9)

    bot.clock.advance(8)
    bot.publish(release_id)
    bot.clock.advance(2)
    assert bot.publish(release_id) is None
    (card,) = in_channel(slack)
    assert card["pinned_to"] == [RELEASES]
    assert bot.post(release_id, "card").permalink


def test_a_rate_limit_holds_back_all_calls_of_the_method(bot: Bot, slack: SlackWorld):
    """During the pause no other message is tried, and their order stays."""
    release_id = bot.open_release()
    bot.publish(release_id)
    slack.post("slack-faults", rate_limit={"chat.postMessage": 1, "retry_after": 7})
    first = bot.publish(release_id, "section", "migrations")
    second = bot.publish(release_id, "section", "go")

    assert first == second
    assert count_calls(slack, "chat.postMessage") == 2


def test_a_rate_limited_update_is_sent_later(bot: Bot, slack: SlackWorld):
    """A 429 of chat.update delays only the update."""
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


def test_a_deleted_message_is_posted_again(bot: Bot, slack: SlackWorld):
    """The next change finds it missing; the new one is pinned, and old buttons do nothing."""
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


def test_a_notify_step_is_done_once_its_message_is_posted(bot: Bot, slack: SlackWorld):
    """The step links to the message, and has the new link if the message is posted again."""
    notify = StepSpec(id=StepId("rollback.notify"), title="Notify team", action={"do": "notify"})
    bot.change_deps(checklist=make_checklist(rollback=(notify,)))
    release_id = bot.open_release()

    def roll_back(tx: Tx) -> None:
        tx.execute(b"UPDATE releases SET state = 'ROLLED_BACK' WHERE id = %s", [release_id])
        steps.add_plan(tx, release_id, PlanKind.ROLLBACK, judge.initial_states((notify,)))
        posts.enqueue_posts(tx, release_id, [StepsPost(plan=PlanKind.ROLLBACK), RolledBackNotice()])

    def line() -> str:
        bot.clock.advance(2)
        bot.publish(release_id, "steps", PlanKind.ROLLBACK)
        return str(in_channel(slack)[1]["blocks"][1]["text"]["text"])

    bot.publish(release_id)
    bot.change(roll_back)
    before = line()
    with bot.store.transaction() as tx:
        (row,) = (step.row for step in steps.plan(tx, release_id))
        with pytest.raises(RefusedError, match="The bot does that itself"):
            step_clicks.attest(tx, bot.deps, MANAGER, row, "I told them")
    bot.publish(release_id, *END_OF_ROLLBACK)
    permalink = bot.post(release_id, *END_OF_ROLLBACK).permalink
    after = line()
    slack.post("delete", user=RITA, channel=RELEASES, ts=bot.ts(release_id, *END_OF_ROLLBACK))
    bot.change(lambda tx: tx.execute(b"UPDATE releases SET reason = 'errors' WHERE id = %s", [release_id]))
    for _ in range(2):
        bot.clock.advance(2)
        bot.publish(release_id, *END_OF_ROLLBACK)
    anew = bot.post(release_id, *END_OF_ROLLBACK).permalink

    assert before == ":white_circle: *Notify team*\ndone by the bot's message in the channel at the end"
    assert after == f":white_check_mark: *Notify team*\nposted: {permalink}"
    assert line() == f":white_check_mark: *Notify team*\nposted: {anew}"
    assert permalink != anew
    assert [event for event in bot.recorded_events() if event[1] == "step.done"] == [("system", "step.done")] * 2


def test_the_check_of_the_announcement_runs_when_it_is_posted_or_deleted(bot: Bot, slack: SlackWorld):
    """In doubt Slack is asked, and each time the check runs again."""
    line = make_check("after.told", kind="announced", target="production")
    after = Section(id="after", title="Afterwards", phase="after", checks=(line,))
    bot.change_deps(checklist=make_checklist(sections=(*make_checklist().sections[:2], after)))
    release_id = bot.open_release()
    bot.change(lambda tx: tx.execute(b"UPDATE releases SET state = 'DONE' WHERE id = %s", [release_id]))
    bot.change(lambda tx: posts.enqueue_posts(tx, release_id, [DoneNotice()]))
    is_posted, is_requested = [], []

    def look() -> None:
        bot.change(lambda tx: checks.mark_all_idle(tx, release_id))
        bot.clock.advance(2)
        bot.publish(release_id, *ANNOUNCEMENT)
        with bot.store.transaction() as tx:
            is_posted.append(bool(posts.place_of(tx, release_id, DoneNotice())))
            is_requested.append(checks.views(tx, release_id)[line.id].run_state is RunState.WAITING)

    look()
    bot.change(lambda tx: posts.recheck(tx, release_id, DoneNotice()))
    look()
    slack.post("delete", user=RITA, channel=RELEASES, ts=bot.ts(release_id, *ANNOUNCEMENT))
    look()
    bot.change(lambda tx: posts.recheck(tx, release_id, DoneNotice()))
    look()
    look()

    assert (is_posted, is_requested) == ([True, True, True, False, True], [True, False, False, True, True])


def test_a_message_that_cannot_be_rendered_does_not_hold_up_others(
    bot: Bot, slack: SlackWorld, caplog: pytest.LogCaptureFixture
):
    """A message of an unknown kind is logged and tried again, and the other messages of the release are posted."""
    release_id = bot.open_release()
    bot.change(lambda tx: tx.execute(b"UPDATE posts SET subject = 'surprise', kind = 'notice' WHERE kind = 'card'"))
    due = bot.publisher.execute(a_job("messages", release_id))
    bot.change(lambda tx: posts.enqueue_posts(tx, release_id, [CardPost()]))
    bot.publisher.execute(a_job("messages", release_id))

    assert due is not None
    assert "No message is called notice surprise" in caplog.text
    assert [message["text"] for message in in_channel(slack)] == ["v4.8.0"] or len(in_channel(slack)) == 1


def test_the_messages_of_a_release_cost_few_statements(bot: Bot):
    """The messages are rendered from one reading of the release: a first post takes two more statements, an edit one,
    and no change none.
    """
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
    first, repeat, update = costs
    assert repeat <= 8
    assert first == repeat + 2 * 3  # the card and two sections
    assert update == repeat + 1  # the card


def test_a_thread_without_its_card_begins_again(bot: Bot, slack: SlackWorld):
    """A message whose thread is gone has the card posted again and follows it."""
    release_id = bot.open_release()
    bot.publish(release_id)
    slack.post("delete", user=RITA, channel=RELEASES, ts=bot.ts(release_id))
    due = bot.publish(release_id, "section", "migrations")
    second_due = bot.publish(release_id, "section", "migrations")
    bot.clock.advance(2)
    for kind, subject in (("card", ""), ("section", "migrations")):
        bot.publish(release_id, kind, subject)

    card, section = in_channel(slack)
    assert due is not None
    assert second_due is None
    assert section["thread_ts"] == card["ts"]


def test_open_posts_are_sent_after_a_restart(bot: Bot, slack: SlackWorld, another_process: Callable[[], Store]):
    """A restart loses no message and posts none twice."""
    release_id = bot.open_release()
    bot.publish(release_id)
    bot.store.leave()
    again = Bot(another_process(), slack)
    with again.working("messages"):
        eventually(lambda: len(in_channel(slack)) == 3)

    assert count_calls(slack, "chat.postMessage") == 3


def test_the_card_is_unpinned_when_the_release_ends(bot: Bot, slack: SlackWorld):
    """Only the current release has a pin, and a crash after the update leaves none behind."""
    release_id = bot.open_release()
    bot.publish(release_id)
    pins = in_channel(slack)[0].get("pinned_to")
    bot.abort_release(release_id)
    slack.post("slack-faults", rate_limit={"pins.remove": 1, "retry_after": 3})
    bot.clock.advance(2)
    bot.publish(release_id)
    bot.clock.advance(4)
    bot.publish(release_id)

    assert pins == [RELEASES]
    assert "pinned_to" not in in_channel(slack)[0]


def test_the_card_of_a_reopened_release_is_pinned_again(bot: Bot, slack: SlackWorld):
    """The card is pinned while the release is open, and Slack is called once for it."""
    release_id = bot.open_release()
    bot.publish(release_id)
    bot.abort_release(release_id)
    pin_states = []
    for number, is_open in enumerate((False, True, True, False)):
        with bot.store.transaction() as tx:
            if is_open:
                releases.reopen(tx, release_id)
            else:
                releases.close(tx, release_id, bot.clock.now())
        declare(bot, release_id, f"U0MAX0000{number}")
        bot.clock.advance(2)
        bot.publish(release_id)
        pin_states.append("pinned_to" in in_channel(slack)[0])

    assert pin_states == [False, True, True, False]
    assert (count_calls(slack, "pins.add"), count_calls(slack, "pins.remove")) == (2, 2)


def test_a_refused_pin_does_not_hold_up_the_card(bot: Bot, slack: SlackWorld, caplog: pytest.LogCaptureFixture):
    """The card is posted, and the log says what is missing."""
    release_id = bot.open_release()
    slack.post("slack-faults", error={"pins.add": {"n": 1, "error": "too_many_pins"}})

    assert bot.publish(release_id) is None
    assert bot.ts(release_id) == in_channel(slack)[0]["ts"]
    post_id = bot.post(release_id, "card").id
    assert caplog.messages == [f"post {post_id} goes without pins.add: Slack answered too_many_pins to pins.add."]


def test_a_channel_without_the_bot_is_tried_again_slowly(bot: Bot, slack: SlackWorld, caplog: pytest.LogCaptureFixture):
    """The log says what to do, and posting continues once the bot is back."""
    release_id = bot.open_release()
    slack.post("slack-faults", error={"chat.postMessage": {"n": 1, "error": "not_in_channel"}})
    start = bot.clock.now()
    due = bot.publish(release_id)
    bot.publish(release_id)

    assert due is not None
    assert due - start >= timedelta(seconds=15)
    assert "Invite the bot: /invite @Release Bot" in caplog.text
    assert len(in_channel(slack)) == 1


def test_the_page_of_a_gateway_is_no_answer_of_slack(bot: Bot, slack: SlackWorld):
    """A 503 without Slack's JSON is tried again soon, and its text is not repeated."""
    release_id = bot.open_release()
    bot.publish(release_id)
    declare(bot, release_id, "U0MAX00001")
    bot.clock.advance(2)
    with Replies({"POST /api/chat.update": Reply(503, "<html>hunter2</html>")}) as gateway:
        broken_client = web_client("xoxb-1", gateway.url + "/api/")
        due = Publisher(bot.deps, broken_client).execute(a_job("messages", release_id))

    assert due is not None
    assert due - bot.clock.now() <= SPACING


# Answers


def store_answer(bot: Bot, *, channel: str = RELEASES, url: str = "", text: str = "Recorded.") -> int:
    """Store an answer to Rita; returns its id."""
    with bot.store.transaction() as tx:
        row = inbox.store_delivery(tx, f"d{bot.clock.now().timestamp()}", "command", {})
        assert row is not None
        replies.store_reply(tx, row, RITA, channel, url, {"text": text, "blocks": []}, bot.clock.now())
    (reply,) = bot.rows("SELECT id FROM replies WHERE inbox_id = %s", row)
    return int(reply["id"])


def test_an_answer_without_a_response_url_is_ephemeral(bot: Bot, slack: SlackWorld):
    """After a form the answer goes into the channel, visible to that person only."""
    reply = store_answer(bot)
    bot.publisher.answer(a_job("reply", reply))
    bot.publisher.answer(a_job("reply", reply))

    assert [(m["text"], m["ephemeral"]) for m in slack.messages(RITA)] == [("Recorded.", True)]


def test_an_answer_with_a_used_response_url_is_ephemeral(bot: Bot, slack: SlackWorld):
    """A dead response_url is replaced by an ephemeral message."""
    reply = store_answer(bot, url=f"{slack.url}commands/T0SOLVE001/none")

    assert bot.publisher.answer(a_job("reply", reply)) is None
    assert [m["text"] for m in slack.messages(RITA)] == ["Recorded."]


def test_a_rate_limited_answer_is_sent_later(bot: Bot, slack: SlackWorld):
    """A 429 delays the answer."""
    slack.post("slack-faults", rate_limit={"chat.postEphemeral": 1, "retry_after": 4})
    reply = store_answer(bot)
    start = bot.clock.now()
    due = bot.publisher.answer(a_job("reply", reply))
    bot.publisher.answer(a_job("reply", reply))

    assert due is not None
    assert due - start >= timedelta(seconds=4)
    assert [m["text"] for m in slack.messages(RITA)] == ["Recorded."]


def test_an_old_answer_is_dropped(bot: Bot, slack: SlackWorld):
    """After half an hour nobody knows what the answer was about; the log keeps it."""
    reply = store_answer(bot)
    bot.clock.advance(31 * 60)

    assert bot.publisher.answer(a_job("reply", reply)) is None
    assert slack.messages(RITA) == []


def test_a_sent_answer_contains_no_secret(bot: Bot, slack: SlackWorld):
    """Answers are redacted when they are sent, too."""
    bot.publisher.answer(a_job("reply", store_answer(bot, text="the password is hunter2")))

    assert [m["text"] for m in slack.messages(RITA)] == ["the password is [redacted]"]


def test_an_answer_in_a_channel_without_the_bot_uses_the_response_url(live: Bot):
    """A command works in any channel, and so does its answer."""
    live.slack.command("/release help", channel=GENERAL)
    live.handle()
    live.answer()

    assert live.slack.messages(RITA, GENERAL)[-1]["text"].startswith("Commands: start")


def test_a_reminder_is_a_direct_message_that_follows_its_rows(bot: Bot, slack: SlackWorld):
    """It is posted once to one person, and says later that they need not act any more."""
    release_id = bot.open_release()
    subject = f"release_manager:{RITA}:1"
    bot.change(lambda tx: posts.enqueue_posts(tx, release_id, [read_subject("reminder", subject)]))

    bot.publish(release_id, "reminder", subject)
    bot.publish(release_id, "reminder", subject)
    channel = bot.post(release_id, "reminder", subject).channel
    (message,) = slack.messages(RITA, channel)
    assert channel.startswith("D")
    assert "waits for Release Manager to sign: see the card in <#C0RELEASES1>" in message["text"]

    bot.abort_release(release_id)
    bot.clock.advance(1)
    bot.publish(release_id, "reminder", subject)
    (message,) = slack.messages(RITA, channel)
    assert message["text"].endswith("no longer waits (ABORTED).")
    assert slack.violations() == []


def test_a_person_who_cannot_be_reminded_holds_nothing_up(bot: Bot, caplog: pytest.LogCaptureFixture):
    """The failure is logged and not repeated for ever."""
    release_id = bot.open_release()
    bot.change(lambda tx: posts.enqueue_posts(tx, release_id, [read_subject("reminder", "qa:U0NOBODY01:1")]))

    assert bot.publish(release_id, "reminder", "qa:U0NOBODY01:1") is None
    assert "nobody is reminded by post" in caplog.text
