"""The Web API as slack_sdk sees it: answers, refusals, scopes, limits and ordered troubles."""

import http.client
from pathlib import Path
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from tests.sandbox.slack_world import DEV, GENERAL, GUS, MANIFEST, QUINN, RELEASES, RITA, SlackWorld, refusal

HELLO = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}


def test_auth_test_names_the_bot_and_its_scopes(slack: SlackWorld):
    """auth.test carries what Bolt needs, and the granted scopes in a header."""
    answer = slack.client.auth_test()

    assert (answer["team_id"], answer["user_id"], answer["bot_id"]) == ("T0SOLVE001", "U0BOT00001", "B0BOT00001")
    assert "chat:write" in answer.headers["x-oauth-scopes"].split(",")


@pytest.mark.parametrize(
    ("token", "error"), [("", "not_authed"), ("xoxb-wrong", "invalid_auth"), ("app", "not_allowed_token_type")]
)
def test_wrong_token_is_refused(slack: SlackWorld, token: str, error: str):
    """A missing, invented or app-level token does not open the methods of the bot."""
    headers = {"Authorization": f"Bearer {slack.server.app_token if token == 'app' else token}"} if token else {}

    assert slack.http.post("api/auth.test", headers=headers).json() == {"ok": False, "error": error}


def test_unknown_method_is_refused(slack: SlackWorld):
    """A misspelt method says so."""
    assert refusal(slack.client.api_call, api_method="chat.postMesage")["error"] == "unknown_method"


def test_missing_scope_names_what_is_needed(direct: None, tmp_path: Path):
    """A method whose scope the manifest lacks is refused, and the refusal counts as a violation."""
    poor = tmp_path / "manifest.yml"
    poor.write_text(MANIFEST.read_text().replace("- pins:write", ""))
    slack = SlackWorld(tmp_path / "slack", poor)
    answer = refusal(slack.client.pins_add, channel=RELEASES, timestamp="1")
    violations = [(violation["kind"], violation["method"]) for violation in slack.violations()]
    slack.stop()

    assert (answer["error"], answer["needed"]) == ("missing_scope", "pins:write")
    assert "chat:write" in answer["provided"]
    assert violations == [("scope", "pins.add")]


@pytest.mark.parametrize("method", ["conversations.join", "chat.delete", "views.push", "bookmarks.add"])
def test_method_that_the_bot_does_not_call_is_not_there(slack: SlackWorld, method: str):
    """The workspace has no more of Slack than the bot asks."""
    assert refusal(slack.client.api_call, api_method=method)["error"] == "unknown_method"


def test_argument_that_is_not_carried_out_is_refused(slack: SlackWorld):
    """Slack would do as it says; nobody should believe that it was tried here."""
    answer = refusal(slack.client.chat_postMessage, channel=RELEASES, text="x", reply_broadcast=True)

    assert "does not know the argument reply_broadcast" in answer["errors"][0]
    assert slack.messages() == []


def test_posted_message_is_found_again_by_its_metadata(slack: SlackWorld):
    """History has the message newest first; its metadata is complete only when asked for."""
    metadata = {"event_type": "release_post", "event_payload": {"key": "card-1"}}
    slack.client.chat_postMessage(channel=RELEASES, text="first")
    message = slack.client.chat_postMessage(channel=RELEASES, text="card", metadata=metadata)

    plain = slack.client.conversations_history(channel=RELEASES)["messages"]
    full = slack.client.conversations_history(channel=RELEASES, include_all_metadata=True)["messages"]

    assert [message["text"] for message in plain] == ["card", "first"]
    assert (full[0]["ts"], full[0]["metadata"]) == (message["ts"], metadata)
    assert plain[0]["metadata"] == {"event_type": "release_post"}
    assert isinstance(message["ts"], str)


def test_history_is_read_page_by_page_and_from_a_time_on(slack: SlackWorld):
    """Cursor, limit and oldest narrow the history as documented."""
    ts = [slack.client.chat_postMessage(channel=RELEASES, text=str(n))["ts"] for n in range(5)]

    first = slack.client.conversations_history(channel=RELEASES, limit=2)
    second = slack.client.conversations_history(
        channel=RELEASES, limit=2, cursor=first["response_metadata"]["next_cursor"]
    )
    after = slack.client.conversations_history(channel=RELEASES, oldest=ts[2])

    assert [m["text"] for m in first["messages"]] == ["4", "3"]
    assert [m["text"] for m in second["messages"]] == ["2", "1"]
    assert [m["text"] for m in after["messages"]] == ["4", "3"]


def test_replies_are_in_the_thread_and_not_in_the_channel(slack: SlackWorld):
    """A reply counts at its parent and is read with conversations.replies."""
    parent = slack.client.chat_postMessage(channel=RELEASES, text="card")["ts"]
    reply = slack.client.chat_postMessage(channel=RELEASES, text="step 1", thread_ts=parent)["ts"]

    history = slack.client.conversations_history(channel=RELEASES)["messages"]
    replies = slack.client.conversations_replies(channel=RELEASES, ts=parent)["messages"]
    slack.post("delete", user=RITA, channel=RELEASES, ts=reply)

    assert [(m["ts"], m["reply_count"], m["latest_reply"]) for m in history] == [(parent, 1, reply)]
    assert [m["text"] for m in replies] == ["card", "step 1"]
    assert "reply_count" not in slack.messages()[0]


def test_text_without_blocks_takes_the_blocks_away(slack: SlackWorld):
    """chat.update with text alone leaves no blocks; with blocks alone it keeps the text."""
    ts = slack.client.chat_postMessage(channel=RELEASES, text="one", blocks=[HELLO])["ts"]
    with pytest.warns(UserWarning, match="text"):
        slack.client.chat_update(channel=RELEASES, ts=ts, blocks=[HELLO, HELLO])
    with_blocks = dict(slack.messages()[0])
    slack.client.chat_update(channel=RELEASES, ts=ts, text="two")
    without = slack.messages()[0]

    assert (with_blocks["text"], len(with_blocks["blocks"]), "edited" in with_blocks) == ("one", 2, False)
    assert (without["text"], "blocks" in without, "edited" in without) == ("two", False, True)


def test_metadata_stays_unless_given_and_goes_with_an_empty_object(slack: SlackWorld):
    """An edit keeps the metadata; `{}` removes it."""
    metadata = {"event_type": "release_post", "event_payload": {}}
    ts = slack.client.chat_postMessage(channel=RELEASES, text="one", metadata=metadata)["ts"]
    slack.client.chat_update(channel=RELEASES, ts=ts, text="two")
    metadata_now = slack.messages()[0].get("metadata")
    slack.client.chat_update(channel=RELEASES, ts=ts, text="three", metadata={})

    assert metadata_now == metadata
    assert "metadata" not in slack.messages()[0]


REFUSED_POSTS: list[tuple[str, dict[str, Any], str]] = [
    ("no such channel", {"channel": "C0NOWHERE1", "text": "x"}, "channel_not_found"),
    ("a name for an id", {"channel": "#releases", "text": "x"}, "channel_not_found"),
    ("not a member", {"channel": GENERAL, "text": "x"}, "not_in_channel"),
    ("too long", {"channel": RELEASES, "text": "x" * 40_001}, "msg_too_long"),
    ("no JSON", {"channel": RELEASES, "text": "x", "blocks": "[{"}, "invalid_blocks_format"),
    ("no such thread", {"channel": RELEASES, "text": "x", "thread_ts": "1.000000"}, "thread_not_found"),
    (
        "too much in blocks",
        {
            "channel": RELEASES,
            "text": "x",
            "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2_800}}] * 5,
        },
        "msg_blocks_too_long",
    ),
    (
        "no such file",
        {
            "channel": RELEASES,
            "text": "x",
            "blocks": [{"type": "image", "slack_file": {"id": "F0"}, "alt_text": "a"}],
        },
        "invalid_blocks",
    ),
    (
        "metadata without a payload",
        {"channel": RELEASES, "text": "x", "metadata": {"event_type": "a"}},
        "invalid_metadata_format",
    ),
]


@pytest.mark.parametrize(("args", "error"), [c[1:] for c in REFUSED_POSTS], ids=[c[0] for c in REFUSED_POSTS])
def test_post_is_refused_for_a_reason(slack: SlackWorld, args: dict[str, Any], error: str):
    """A message that Slack would not post is refused with Slack's word, and nothing appears."""
    answer = refusal(slack.client.chat_postMessage, **args)

    assert answer["error"] == error
    assert slack.messages() == []


def test_post_without_anything_to_say_is_refused(slack: SlackWorld):
    """Neither text nor blocks nor attachments: no_text."""
    answer = slack.http.post(
        "api/chat.postMessage",
        json={"channel": RELEASES, "text": ""},
        headers={"Authorization": f"Bearer {slack.server.bot_token}"},
    )

    assert answer.json() == {"ok": False, "error": "no_text"}


def test_invalid_blocks_come_with_pointers(slack: SlackWorld):
    """The refusal names the place in both forms that Slack uses, and is kept as a violation."""
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}]
    answer = refusal(slack.client.chat_postMessage, channel=RELEASES, text="x", blocks=blocks)

    line = "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    assert (answer["errors"], answer["response_metadata"]["messages"]) == ([line], [f"[ERROR] {line}"])
    (violation,) = slack.violations()
    assert (violation["kind"], violation["rule"], violation["pointer"]) == ("block", "too_long", "/blocks/0/text/text")


def test_edit_is_refused_for_a_reason(slack: SlackWorld):
    """Only an own, existing message can be edited, with at most 4,000 characters."""
    ts = slack.client.chat_postMessage(channel=RELEASES, text="x")["ts"]
    of_rita = slack.post("message", user=RITA, channel=RELEASES, text="mine")["ts"]

    update = slack.client.chat_update
    assert refusal(update, channel=RELEASES, ts="1.000000", text="y")["error"] == "message_not_found"
    assert refusal(update, channel=RELEASES, ts=of_rita, text="y")["error"] == "cant_update_message"
    assert refusal(update, channel=RELEASES, ts=ts, text="x" * 4_001)["error"] == "msg_too_long"


def test_message_deleted_by_a_person_cannot_be_edited(slack: SlackWorld):
    """A message may vanish under the bot's hands."""
    ts = slack.client.chat_postMessage(channel=RELEASES, text="x")["ts"]
    slack.post("delete", user=RITA, channel=RELEASES, ts=ts)

    assert refusal(slack.client.chat_update, channel=RELEASES, ts=ts, text="y")["error"] == "message_not_found"


def test_ephemeral_message_is_seen_by_one_person(slack: SlackWorld):
    """Nobody else sees it, and only a member of the channel can get one."""
    slack.client.chat_postEphemeral(channel=RELEASES, user=QUINN, text="for you")

    assert [(m["text"], m["ephemeral"]) for m in slack.messages(QUINN)] == [("for you", True)]
    assert slack.messages(RITA) == []
    answer = refusal(slack.client.chat_postEphemeral, channel=RELEASES, user="U0NOBODY01", text="x")
    assert answer["error"] == "user_not_in_channel"


def test_people_and_groups_are_as_slack_tells_them(slack: SlackWorld):
    """Roles are user groups; a guest of another company is recognisable; the channel is then shared."""
    groups = {g["handle"]: g["users"] for g in slack.client.usergroups_list(include_users=True)["usergroups"]}
    guest = slack.client.users_info(user=GUS)["user"]
    developer = slack.client.users_info(user=DEV)["user"]
    channel = slack.client.conversations_info(channel=RELEASES)["channel"]

    assert groups["release-managers"] == [RITA, "U0MAX00001"]
    assert guest["is_stranger"]
    assert "is_stranger" not in developer
    assert (channel["is_member"], channel["is_ext_shared"]) == (True, True)
    assert refusal(slack.client.users_info, user="U0NOBODY01")["error"] == "user_not_found"


def test_pins_can_be_set_once(slack: SlackWorld):
    """A pin shows at the message; setting it twice or removing none is refused."""
    ts = slack.client.chat_postMessage(channel=RELEASES, text="x")["ts"]
    slack.client.pins_add(channel=RELEASES, timestamp=ts)
    again = refusal(slack.client.pins_add, channel=RELEASES, timestamp=ts)["error"]
    message_now = slack.messages()[0]
    slack.client.pins_remove(channel=RELEASES, timestamp=ts)
    none = refusal(slack.client.pins_remove, channel=RELEASES, timestamp=ts)["error"]

    assert (again, none) == ("already_pinned", "no_pin")
    assert (message_now["pinned"], message_now["pinned_to"]) == (True, [RELEASES])


def test_file_is_uploaded_in_three_steps_and_can_be_shown(slack: SlackWorld):
    """files_upload_v2 puts a file into the channel; its bytes come back; an image block may show it."""
    png = b"\x89PNG\r\n\x1a\n"
    file = slack.client.files_upload_v2(
        channel=RELEASES, file=png, filename="latency.png", title="Latency", initial_comment="the plot"
    )["file"]
    image = {"type": "image", "slack_file": {"id": file["id"]}, "alt_text": "latency"}
    slack.client.chat_postMessage(channel=RELEASES, text="plot", blocks=[image])

    first, second = slack.messages()
    assert (first["text"], first["files"][0]["title"], second["text"]) == ("the plot", "Latency", "plot")
    assert slack.http.get(file["url_private"]).content == png


def test_direct_message_is_seen_by_its_person(slack: SlackWorld):
    """The bot opens a direct channel and writes to a person; others do not see it."""
    channel = slack.client.conversations_open(users=QUINN)["channel"]["id"]
    slack.client.chat_postMessage(channel=channel, text="psst")

    assert [m["text"] for m in slack.messages(QUINN, channel)] == ["psst"]
    assert channel not in slack.state(RITA)["messages"]


def test_runaway_bot_is_stopped(slack: SlackWorld):
    """A burst of posts passes; then each further one is refused with 429 until a second has passed."""
    for number in range(30):
        slack.client.chat_postMessage(channel=RELEASES, text=str(number))
    answer = refusal(slack.client.chat_postMessage, channel=RELEASES, text="one too many")
    slack.clock.advance(2)
    slack.client.chat_postMessage(channel=RELEASES, text="later")

    assert (answer.status_code, answer["error"], answer.headers["Retry-After"]) == (429, "ratelimited", "1")
    assert [v["kind"] for v in slack.violations()] == ["rate"]


def test_ordered_rate_limit_refuses_so_many_calls(slack: SlackWorld):
    """An ordered 429 is no violation of the bot, and it ends."""
    slack.post("slack-faults", rate_limit={"chat.postMessage": 1}, retry_after=7)
    answer = refusal(slack.client.chat_postMessage, channel=RELEASES, text="x")
    slack.client.chat_postMessage(channel=RELEASES, text="x")

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert slack.violations() == []


def test_lost_reply_was_carried_out(slack: SlackWorld):
    """The connection breaks after the message was posted."""
    slack.post("slack-faults", lose_reply={"chat.postMessage": 1})
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        slack.client.chat_postMessage(channel=RELEASES, text="posted all the same")

    assert [m["text"] for m in slack.messages()] == ["posted all the same"]


def test_ordered_error_is_answered(slack: SlackWorld):
    """An ordered error hides the method so many times, with the HTTP status that was asked for."""
    slack.post("slack-faults", error={"chat.update": {"n": 1, "error": "internal_error", "status": 503}})
    ts = slack.client.chat_postMessage(channel=RELEASES, text="x")["ts"]
    answer = refusal(slack.client.chat_update, channel=RELEASES, ts=ts, text="y")
    slack.client.chat_update(channel=RELEASES, ts=ts, text="y")

    assert (answer.status_code, answer["error"]) == (503, "internal_error")


def test_order_that_cannot_be_understood_is_refused(slack: SlackWorld):
    """A mistake in a test does not pass for a fault."""
    answer = slack.http.post("sandbox/slack-faults", json={"error": {"chat.update": "oops"}})

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_arguments")


def test_calls_are_logged_without_tokens(slack: SlackWorld):
    """The log tells method, arguments and outcome; a token in the body does not appear."""
    slack.http.post("api/chat.postMessage", data={"token": slack.server.bot_token, "channel": RELEASES, "text": "x"})
    log = slack.get("calls?method=chat.postMessage")

    assert log["counts"]["chat.postMessage"] == 1
    assert (log["calls"][0]["ok"], log["calls"][0]["args"]) == (True, {"channel": RELEASES, "text": "x"})


def test_blocks_without_a_text_are_a_violation(slack: SlackWorld):
    """Slack takes them, but notifications stay empty."""
    with pytest.warns(UserWarning, match="text"):
        slack.client.chat_postMessage(channel=RELEASES, blocks=[HELLO])

    assert [v["code"] for v in slack.violations()] == ["missing_text"]


def test_second_start_shows_the_same_messages(direct: None, tmp_path: Path):
    """Messages, threads, tokens and the address are the same after a restart."""
    first = SlackWorld(tmp_path)
    parent = first.client.chat_postMessage(channel=RELEASES, text="card", blocks=[HELLO])["ts"]
    first.client.chat_postMessage(channel=RELEASES, text="step", thread_ts=parent)
    before = first.messages()
    first.stop()
    second = SlackWorld(tmp_path)
    after = second.messages()
    later = second.client.chat_postMessage(channel=RELEASES, text="new")["ts"]
    second.stop()

    assert before == after
    assert (first.server.bot_token, first.url) == (second.server.bot_token, second.url)
    assert float(later) > float(before[-1]["ts"])


def test_token_in_another_workspace_is_invalid(slack: SlackWorld):
    """Every workspace makes tokens of its own."""
    stranger = WebClient(token="xoxb-000000000000-abc", base_url=slack.url + "api/", retry_handlers=[])
    with pytest.raises(SlackApiError, match="invalid_auth"):
        stranger.auth_test()
