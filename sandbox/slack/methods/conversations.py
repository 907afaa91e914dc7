"""The conversations methods: what a channel is, who is in it, what was said in it."""

from sandbox.slack.limits import TIER_3
from sandbox.slack.methods.call import Method, MethodCall, page_of
from sandbox.slack.people import BOT_USER_ID, CREATION_TIME, EVERYBODY, PEOPLE, TEAM_ID
from sandbox.slack.shapes import Json, MethodError


def info(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/conversations.info"""
    channel = call.workspace.channel(call.require("channel"))
    return {"channel": _as_slack_channel(channel)}


def open_direct(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/conversations.open, for one person"""
    users = call.require("users").split(",")
    if len(users) != 1:
        raise MethodError("method_not_supported_for_channel_type")
    return {"channel": {"id": call.workspace.direct_channel(users[0])["id"]}}


def history(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/conversations.history: newest first, without the replies in threads"""
    channel = _readable(call)
    messages = [
        message
        for message in reversed(call.workspace.messages(channel["id"]))
        if message.get("thread_ts", message["ts"]) == message["ts"]
    ]
    return _messages(call, _newer(call, messages)) | {"pin_count": sum("pinned_to" in m for m in messages)}


def replies(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/conversations.replies: the parent, then its replies, oldest first"""
    channel = _readable(call)
    messages = call.workspace.thread(channel["id"], call.require("ts"))
    return _messages(call, messages[:1] + _newer(call, messages[1:]))


def _readable(call: MethodCall) -> Json:
    channel = call.workspace.channel(call.require("channel"))
    if BOT_USER_ID not in channel["members"]:
        raise MethodError("not_in_channel")
    return channel


def _newer(call: MethodCall, messages: list[Json]) -> list[Json]:
    """The messages after `oldest`."""
    oldest = call.text("oldest")
    try:
        limit = _micros(oldest) if oldest else -1
    except ValueError as exc:
        raise MethodError("invalid_ts_oldest") from exc
    return [message for message in messages if _micros(message["ts"]) > limit]


def _micros(ts: str) -> int:
    seconds, _, fraction = ts.partition(".")
    return int(seconds) * 1_000_000 + int((fraction + "000000")[:6])


def _messages(call: MethodCall, messages: list[Json]) -> Json:
    page, cursor = page_of(call, messages)
    everything = call.flag("include_all_metadata")
    answer: Json = {"messages": [_as_slack_message(message, everything) for message in page], "has_more": bool(cursor)}
    if cursor:
        answer["response_metadata"] = {"next_cursor": cursor}
    return answer


def _as_slack_message(message: Json, everything: bool) -> Json:
    copy = dict(message)
    if not everything and "metadata" in copy:
        copy["metadata"] = {"event_type": copy["metadata"]["event_type"]}
    return copy


def _as_slack_channel(channel: Json) -> Json:
    direct = bool(channel.get("user"))
    teams = sorted({EVERYBODY[user].team_id for user in channel["members"]}, key=lambda team: team != TEAM_ID)
    is_shared = len(teams) > 1
    answer: Json = {
        "id": channel["id"],
        "created": CREATION_TIME,
        "is_im": direct,
        "is_archived": False,
        "is_org_shared": False,
        "is_ext_shared": is_shared,
        "is_shared": is_shared,
        "is_pending_ext_shared": False,
        "context_team_id": TEAM_ID,
        "shared_team_ids": teams,
    }
    if direct:
        return answer | {"user": channel["user"], "is_open": True}
    return answer | {
        "name": channel["name"],
        "name_normalized": channel["name"],
        "is_channel": True,
        "is_group": False,
        "is_mpim": False,
        "is_private": False,
        "is_general": channel["name"] == "general",
        "is_member": BOT_USER_ID in channel["members"],
        "creator": PEOPLE[0].id,
        "conversation_host_id": TEAM_ID,
        "topic": {"value": "", "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
    }


_WINDOW = frozenset({"channel", "oldest", "limit", "cursor", "include_all_metadata"})
METHODS = {
    "conversations.info": Method(info, "channels:read", TIER_3, frozenset({"channel"})),
    "conversations.open": Method(open_direct, "im:write", TIER_3, frozenset({"users"})),
    "conversations.history": Method(history, "channels:history", TIER_3, _WINDOW),
    "conversations.replies": Method(replies, "channels:history", TIER_3, _WINDOW | {"ts"}),
}
