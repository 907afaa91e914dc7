"""The chat methods: post, edit and link messages."""

from sandbox.slack.content import MAX_EDIT_TEXT, Content, read_content
from sandbox.slack.limits import EDITING, GENEROUS, POSTING, TIER_4
from sandbox.slack.methods.call import Method, MethodCall
from sandbox.slack.people import BOT_USER_ID, GENERAL_ID, RELEASES_ID, TEAM_NAME
from sandbox.slack.shapes import Json, MethodError


def channel_to_post_in(call: MethodCall) -> str:
    """The id of the channel the bot may post in; a user id means the direct channel.

    Raises MethodError: channel_not_found, not_in_channel.
    """
    channel_id = call.require("channel")
    if channel_id.startswith(("U", "W")):
        return str(call.workspace.direct_channel(channel_id)["id"])
    channel = call.workspace.channel(channel_id)
    public = channel_id in (RELEASES_ID, GENERAL_ID)
    if BOT_USER_ID not in channel["members"] and not (
        public and "chat:write.public" in call.workspace.manifest.scopes and call.name == "chat.postMessage"
    ):
        raise MethodError("not_in_channel")
    return channel_id


def post_message(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/chat.postMessage"""
    channel_id = channel_to_post_in(call)
    content = _content(call)
    message = call.workspace.post(channel_id, BOT_USER_ID, content, thread_ts=call.text("thread_ts"))
    return {"channel": channel_id, "ts": message["ts"], "message": message}


def post_ephemeral(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/chat.postEphemeral"""
    channel_id = channel_to_post_in(call)
    user = call.require("user")
    if user not in call.workspace.channel(channel_id)["members"]:
        raise MethodError("user_not_in_channel")
    content = _content(call)
    message = call.workspace.post_ephemeral(channel_id, user, content)
    return {"message_ts": message["ts"]}


def update(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/chat.update"""
    channel_id, ts = call.require("channel"), call.require("ts")
    call.workspace.channel(channel_id)
    if call.workspace.message(channel_id, ts)["user"] != BOT_USER_ID:
        raise MethodError("cant_update_message")
    content = read_content(call.args, max_text=MAX_EDIT_TEXT)
    if content.is_empty:
        raise MethodError("no_text")
    message = call.workspace.edit(channel_id, ts, content)
    return {"channel": channel_id, "ts": ts, "text": message["text"], "message": message}


def get_permalink(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/chat.getPermalink"""
    channel_id = call.require("channel")
    call.workspace.channel(channel_id)
    message = call.workspace.message(channel_id, call.require("message_ts"))
    link = f"https://{TEAM_NAME}.slack.com/archives/{channel_id}/p{message['ts'].replace('.', '')}"
    if message.get("thread_ts", message["ts"]) != message["ts"]:
        link += f"?thread_ts={message['thread_ts']}&cid={channel_id}"
    return {"channel": channel_id, "permalink": link}


def _content(call: MethodCall) -> Content:
    content = read_content(call.args)
    if content.is_empty:
        raise MethodError("no_text")
    return content


_CONTENT = frozenset({"channel", "text", "blocks"})
_NOT_UNFURLED = {"unfurl_links", "unfurl_media"}  # nothing is unfurled here anyway
METHODS = {
    "chat.postMessage": Method(
        post_message, "chat:write", POSTING, _CONTENT | {"thread_ts", "metadata"} | _NOT_UNFURLED
    ),
    "chat.postEphemeral": Method(post_ephemeral, "chat:write", TIER_4, _CONTENT | {"user"}),
    "chat.update": Method(update, "chat:write", EDITING, _CONTENT | {"ts", "metadata"}),
    "chat.getPermalink": Method(get_permalink, None, GENEROUS, frozenset({"channel", "message_ts"})),
}
