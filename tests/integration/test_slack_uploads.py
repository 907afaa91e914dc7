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


def owe(bot: Bot, release_id: ReleaseId, file: File = ROWS, *, shared: bool = True, subject: str = "") -> bool:
    """Owe a file, in the thread of the card or for messages to show."""
    with bot.store.transaction() as tx:
        card = posts.find(tx, release_id, CardPost()) if shared else None
        return files.enqueue_file(
            tx, release_id, "evidence" if shared else "plot", subject, file, parent=card.id if card else None
        )


def upload(bot: Bot) -> datetime | None:
    """Carry out the newest file that is owed, as a worker would; returns when to look again."""
    (row,) = bot.rows("SELECT id FROM files ORDER BY id DESC LIMIT 1")
    return bot.uploader.execute(a_job("file", row["id"]))


def shared(slack: SlackWorld) -> list[Json]:
    """The messages with files."""
    return [message for message in slack.messages(RITA) if message.get("files")]


def test_file_stands_in_the_thread_with_its_content(bot: Bot, slack: SlackWorld):
    """Name, title, comment and every byte arrive; asked for twice it is there once, and we keep no second copy."""
    release_id = bot.open_release()
    bot.publish(release_id)
    assert (owe(bot, release_id), owe(bot, release_id)) == (True, False)
    assert (upload(bot), upload(bot)) == (None, None)

    (message,) = shared(slack)
    (file,) = message["files"]
    assert (message["text"], message["thread_ts"]) == ("What the check saw.", bot.ts(release_id))
    assert (file["name"], file["title"]) == ("rows.txt", "Rows of the check")
    assert slack.http.get(file["url_private"]).content == ROWS.content
    assert bot.rows("SELECT content FROM files") == [{"content": b""}]
    assert slack.violations() == []


def test_file_waits_for_the_card(bot: Bot, slack: SlackWorld):
    """There is no thread before its first message."""
    release_id = bot.open_release()
    owe(bot, release_id)
    assert upload(bot) is not None
    assert shared(slack) == []

    bot.publish(release_id)
    assert upload(bot) is None
    assert len(shared(slack)) == 1


def test_picture_is_shown_by_a_message(bot: Bot, slack: SlackWorld):
    """A file without a thread is in nobody's way; once Slack has it, the messages know its id and are rendered again."""
    release_id = bot.open_release()
    bot.publish(release_id)
    owe(bot, release_id, PLOT, shared=False, subject="7")
    bot.change(lambda tx: tx.execute(b"DELETE FROM work WHERE queue = 'messages'"))
    assert upload(bot) is None

    assert shared(slack) == []
    assert bot.rows("SELECT key FROM work WHERE queue = 'messages'") != []
    with bot.store.transaction() as tx:
        tx.execute("UPDATE releases SET state = 'DONE'")  # one that is open has no pictures
        view = releases.view(tx, release_id, bot.clock.now())
    assert view is not None
    block = elements.picture("plot", view.pictures["plot", "7"], PLOT.alt_text, "Error rate")
    slack.client.chat_postMessage(channel="C0RELEASES1", text="Alarm", blocks=[block])
    assert slack.violations() == []


@pytest.mark.parametrize("shared_file", [True, False])
def test_lost_reply_of_the_sharing_does_not_double_the_file(bot: Bot, slack: SlackWorld, *, shared_file: bool):
    """Slack carried it out, but its answer never came: the file is known by its id."""
    release_id = bot.open_release()
    bot.publish(release_id)
    owe(bot, release_id, ROWS if shared_file else PLOT, shared=shared_file)
    slack.post("slack-faults", lose_reply={"files.completeUploadExternal": 1})
    while upload(bot) is not None:
        bot.clock.advance(2)

    assert len(shared(slack)) == (1 if shared_file else 0)
    assert bot.rows("SELECT id FROM files WHERE sent_at IS NULL") == []


def test_bytes_that_slack_has_lost_are_uploaded_anew(bot: Bot, slack: SlackWorld):
    """An upload that was never finished is forgotten by Slack; after a long stop the bot begins again."""
    release_id = bot.open_release()
    bot.publish(release_id)
    owe(bot, release_id)
    bot.change(lambda tx: files.set_slack_id(tx, 1, "F0GONE"))
    assert upload(bot) is not None
    assert upload(bot) is None

    assert len(shared(slack)) == 1


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
def test_rate_limit_and_trouble_delay_the_file(bot: Bot, slack: SlackWorld, method: str):
    """A 429 is obeyed, a 503 is tried again; in the end the file is there once."""
    release_id = bot.open_release()
    bot.publish(release_id)
    owe(bot, release_id)
    slack.post("slack-faults", rate_limit={method: 1, "retry_after": 7})
    begun = bot.clock.now()
    due = upload(bot)
    assert due is not None
    assert (due - begun).total_seconds() >= 7

    slack.post("slack-faults", error={method: {"n": 1, "error": "service_unavailable", "status": 503}})
    bot.clock.advance(8)
    while upload(bot) is not None:
        bot.clock.advance(WAIT.total_seconds())
    assert len(shared(slack)) == 1


def test_slack_that_does_not_answer_is_tried_again(bot: Bot, slack: SlackWorld):
    """Nobody listens there: the file stays owed."""
    release_id = bot.open_release()
    bot.publish(release_id)
    owe(bot, release_id)
    (row,) = bot.rows("SELECT id FROM files")
    away = Uploader(bot.deps, web_client("xoxb-1", "http://127.0.0.1:1/api/"))
    assert away.execute(a_job("file", row["id"])) is not None
    assert bot.rows("SELECT sent_at, slack_id FROM files") == [{"sent_at": None, "slack_id": None}]
