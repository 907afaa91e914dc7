"""P8 for files: each owed file is in Slack once, in its thread or ready for a message to show, whatever is lost."""

from datetime import datetime

import pytest

from bot.domain.ids import ReleaseId
from bot.domain.posts import CardPost
from bot.slack.blocks import elements
from bot.slack.client import web_client
from bot.slack.uploads import WAIT, Uploader
from bot.store import files, posts, releases
from bot.store.files import File
from tests.integration.slack_bot import Bot, Json, a_job
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, RITA, SlackWorld

pytestmark = CLIENT_LEAKS_SOCKETS

ROWS = File("rows.txt", "Rows of the check", "id, naïve\n1, é\n".encode(), comment="What the check saw.")
PLOT = File("plot.png", "Error rate", b"\x89PNG\r\n\x1a\n", alt_text="The error rate rises after the deploy.")


def store_file(
    bot: Bot, release_id: ReleaseId, file: File = ROWS, *, in_thread: bool = True, subject: str = ""
) -> bool:
    """Store a file for the thread of the card, or for messages to show."""
    with bot.store.transaction() as tx:
        card = posts.find(tx, release_id, CardPost()) if in_thread else None
        return files.enqueue_file(
            tx, release_id, "evidence" if in_thread else "plot", subject, file, parent=card.id if card else None
        )


def upload(bot: Bot) -> datetime | None:
    """Upload the newest stored file, as a worker would; returns when to look again."""
    (row,) = bot.rows("SELECT id FROM files ORDER BY id DESC LIMIT 1")
    return bot.uploader.execute(a_job("file", row["id"]))


def messages_with_files(slack: SlackWorld) -> list[Json]:
    """The messages that have files."""
    return [message for message in slack.messages(RITA) if message.get("files")]


def test_a_file_is_in_the_thread_with_its_content(bot: Bot, slack: SlackWorld):
    """Name, title, comment and content arrive, the file is uploaded once, and our copy is deleted."""
    release_id = bot.open_release()
    bot.publish(release_id)
    assert (store_file(bot, release_id), store_file(bot, release_id)) == (True, False)
    assert (upload(bot), upload(bot)) == (None, None)

    (message,) = messages_with_files(slack)
    (file,) = message["files"]
    assert (message["text"], message["thread_ts"]) == ("What the check saw.", bot.ts(release_id))
    assert (file["name"], file["title"]) == ("rows.txt", "Rows of the check")
    assert slack.http.get(file["url_private"]).content == ROWS.content
    assert bot.rows("SELECT content FROM files") == [{"content": b""}]
    assert slack.violations() == []


def test_a_file_waits_for_the_card(bot: Bot, slack: SlackWorld):
    """There is no thread before its first message."""
    release_id = bot.open_release()
    store_file(bot, release_id)
    assert upload(bot) is not None
    assert messages_with_files(slack) == []

    bot.publish(release_id)
    assert upload(bot) is None
    assert len(messages_with_files(slack)) == 1


def test_a_picture_is_shown_by_a_message(bot: Bot, slack: SlackWorld):
    """A file without a thread is not posted; once Slack has it, the messages are rendered again with its id."""
    release_id = bot.open_release()
    bot.publish(release_id)
    store_file(bot, release_id, PLOT, in_thread=False, subject="7")
    bot.change(lambda tx: tx.execute(b"DELETE FROM work WHERE queue = 'messages'"))
    assert upload(bot) is None

    assert messages_with_files(slack) == []
    assert bot.rows("SELECT key FROM work WHERE queue = 'messages'") != []
    with bot.store.transaction() as tx:
        tx.execute("UPDATE releases SET state = 'DONE'")  # one that is open has no pictures
        view = releases.view(tx, release_id, bot.clock.now())
    assert view is not None
    block = elements.picture("plot", view.pictures["plot", "7"], PLOT.alt_text, "Error rate")
    slack.client.chat_postMessage(channel="C0RELEASES1", text="Alarm", blocks=[block])
    assert slack.violations() == []


@pytest.mark.parametrize("shared_file", [True, False])
def test_a_lost_reply_does_not_duplicate_the_file(bot: Bot, slack: SlackWorld, *, shared_file: bool):
    """A file whose reply was lost is recognised by its id."""
    release_id = bot.open_release()
    bot.publish(release_id)
    store_file(bot, release_id, ROWS if shared_file else PLOT, in_thread=shared_file)
    slack.post("slack-faults", lose_reply={"files.completeUploadExternal": 1})
    while upload(bot) is not None:
        bot.clock.advance(2)

    assert len(messages_with_files(slack)) == (1 if shared_file else 0)
    assert bot.rows("SELECT id FROM files WHERE sent_at IS NULL") == []


def test_a_file_that_slack_has_lost_is_uploaded_again(bot: Bot, slack: SlackWorld):
    """Slack forgets an unfinished upload, so after a long stop the bot begins again."""
    release_id = bot.open_release()
    bot.publish(release_id)
    store_file(bot, release_id)
    bot.change(lambda tx: files.set_slack_id(tx, 1, "F0GONE"))
    assert upload(bot) is not None
    assert upload(bot) is None

    assert len(messages_with_files(slack)) == 1


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
def test_a_rate_limit_delays_the_file(bot: Bot, slack: SlackWorld, method: str):
    """A 429 is respected, and in the end the file is there once."""
    release_id = bot.open_release()
    bot.publish(release_id)
    store_file(bot, release_id)
    slack.post("slack-faults", rate_limit={method: 1, "retry_after": 7})
    start = bot.clock.now()
    due = upload(bot)
    assert due is not None
    assert (due - start).total_seconds() >= 7

    slack.post("slack-faults", error={method: {"n": 1, "error": "service_unavailable", "status": 503}})
    bot.clock.advance(8)
    while upload(bot) is not None:
        bot.clock.advance(WAIT.total_seconds())
    assert len(messages_with_files(slack)) == 1


def test_an_unreachable_slack_is_tried_again(bot: Bot, slack: SlackWorld):
    """The file stays stored while nobody answers."""
    release_id = bot.open_release()
    bot.publish(release_id)
    store_file(bot, release_id)
    (row,) = bot.rows("SELECT id FROM files")
    away = Uploader(bot.deps, web_client("xoxb-1", "http://127.0.0.1:1/api/"))
    assert away.execute(a_job("file", row["id"])) is not None
    assert bot.rows("SELECT sent_at, slack_id FROM files") == [{"sent_at": None, "slack_id": None}]
