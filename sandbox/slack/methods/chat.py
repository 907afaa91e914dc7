"""The chat methods: post, edit, delete and link messages."""

from sandbox.slack.content import MAX_EDIT_TEXT, Content, read_content
from sandbox.slack.limits import EDITING, GENEROUS, POSTING, TIER_3, TIER_4
from sandbox.slack.methods.call import Call, Method
from sandbox.slack.people import BOT_USER_ID, GENERAL_ID, RELEASES_ID, TEAM_NAME
from sandbox.slack.shapes import Json, SlackError


def channel_to_post_in(call: Call) -> str:
    """The id of the channel the bot may post in; a user id means the direct channel.

    Raises SlackError: channel_not_found, not_in_channel.
    """
    channel_id = call.require("channel")
    if channel_id.startswith(("U", "W")):
        return str(call.workspace.direct_channel(channel_id)["id"])
    channel = call.workspace.channel(channel_id)
    public = channel_id in (RELEASES_ID, GENERAL_ID)
    if BOT_USER_ID not in channel["members"] and not (
        public and "chat:write.public" in call.workspace.manifest.scopes and call.name == "chat.postMessage"
    ):
        raise SlackError("not_in_channel")
    return channel_id


def post_message(call: Call) -> Json:
    """docs.slack.dev/reference/methods/chat.postMessage"""
    channel_id = channel_to_post_in(call)
    content = _content(call)
    message = call.workspace.post(
        channel_id,
        BOT_USER_ID,
        content,
        thread_ts=call.text("thread_ts"),
        reply_broadcast=call.flag("reply_broadcast"),
    )
    return {"channel": channel_id, "ts": message["ts"], "message": message}


def post_ephemeral(call: Call) -> Json:
    """docs.slack.dev/reference/methods/chat.postEphemeral"""
    channel_id = channel_to_post_in(call)
    user = call.require("user")
    if user not in call.workspace.channel(channel_id)["members"]:
        raise SlackError("user_not_in_channel")
    content = _content(call)
    message = call.workspace.post_ephemeral(channel_id, user, content, call.text("thread_ts"))
    return {"message_ts": message["ts"]}


def update(call: Call) -> Json:
    """docs.slack.dev/reference/methods/chat.update"""
    channel_id, ts = _own_message(call, "cant_update_message")
    if call.flag("reply_broadcast"):
        raise SlackError("no_dual_broadcast_content_update")
    content = read_content(call.args, max_text=MAX_EDIT_TEXT)
    if content.empty:
        raise SlackError("no_text")
    message = call.workspace.edit(channel_id, ts, content)
    return {"channel": channel_id, "ts": ts, "text": message["text"], "message": message}


def delete(call: Call) -> Json:
    """docs.slack.dev/reference/methods/chat.delete"""
    channel_id, ts = _own_message(call, "cant_delete_message")
    call.workspace.delete(channel_id, ts)
    return {"channel": channel_id, "ts": ts}


def get_permalink(call: Call) -> Json:
    """docs.slack.dev/reference/methods/chat.getPermalink"""
    channel_id = call.require("channel")
    call.workspace.channel(channel_id)
    message = call.workspace.message(channel_id, call.require("message_ts"))
    link = f"https://{TEAM_NAME}.slack.com/archives/{channel_id}/p{message['ts'].replace('.', '')}"
    if message.get("thread_ts", message["ts"]) != message["ts"]:
        link += f"?thread_ts={message['thread_ts']}&cid={channel_id}"
    return {"channel": channel_id, "permalink": link}


def _own_message(call: Call, refusal: str) -> tuple[str, str]:
    channel_id = call.require("channel")
    call.workspace.channel(channel_id)
    message = call.workspace.message(channel_id, call.require("ts"))
    if message["user"] != BOT_USER_ID:
        raise SlackError(refusal)
    return channel_id, message["ts"]


def _content(call: Call) -> Content:
    content = read_content(call.args)
    if content.empty:
        raise SlackError("no_text")
    return content


METHODS = {
    "chat.postMessage": Method(post_message, "chat:write", POSTING),
    "chat.postEphemeral": Method(post_ephemeral, "chat:write", TIER_4),
    "chat.update": Method(update, "chat:write", EDITING),
    "chat.delete": Method(delete, "chat:write", TIER_3),
    "chat.getPermalink": Method(get_permalink, None, GENEROUS),
}
