"""Marks on messages and channels: pins, reactions, bookmarks."""

import secrets

from sandbox.slack.limits import TIER_2, TIER_3
from sandbox.slack.methods.call import Call, Method
from sandbox.slack.people import APP_ID, BOT_USER_ID
from sandbox.slack.shapes import Json, SlackError
from sandbox.slack.workspace import MAX_PINS

MAX_BOOKMARKS = 100
_BOOKMARK_FIELDS = ("title", "link", "emoji")


def pins_add(call: Call) -> Json:
    """docs.slack.dev/reference/methods/pins.add"""
    channel_id, message = _message(call)
    if message.get("pinned_to"):
        raise SlackError("already_pinned")
    if len(_pinned(call, channel_id)) >= MAX_PINS:
        raise SlackError("too_many_pins")
    message["pinned_to"] = [channel_id]
    message["pinned_info"] = {"channel": channel_id, "pinned_by": BOT_USER_ID, "pinned_ts": int(call.workspace.clock())}
    call.workspace.changed(channel_id, message)
    return {}


def pins_remove(call: Call) -> Json:
    """docs.slack.dev/reference/methods/pins.remove"""
    channel_id, message = _message(call)
    if not message.get("pinned_to"):
        raise SlackError("no_pin")
    del message["pinned_to"], message["pinned_info"]
    call.workspace.changed(channel_id, message)
    return {}


def pins_list(call: Call) -> Json:
    """docs.slack.dev/reference/methods/pins.list"""
    channel_id = _joined(call)
    items = [
        {
            "type": "message",
            "channel": channel_id,
            "message": message,
            "created": message["pinned_info"]["pinned_ts"],
            "created_by": message["pinned_info"]["pinned_by"],
        }
        for message in _pinned(call, channel_id)
    ]
    return {"items": items}


def reactions_add(call: Call) -> Json:
    """docs.slack.dev/reference/methods/reactions.add"""
    channel_id, message = _message(call)
    name = call.require("name").strip(":")
    reactions: list[Json] = message.setdefault("reactions", [])
    reaction = next((reaction for reaction in reactions if reaction["name"] == name), None)
    if reaction is None:
        reaction = {"name": name, "users": [], "count": 0}
        reactions.append(reaction)
    if BOT_USER_ID in reaction["users"]:
        raise SlackError("already_reacted")
    reaction["users"].append(BOT_USER_ID)
    reaction["count"] += 1
    call.workspace.changed(channel_id, message)
    return {}


def bookmarks_add(call: Call) -> Json:
    """docs.slack.dev/reference/methods/bookmarks.add"""
    bookmarks = _bookmarks(call)
    if len(bookmarks) >= MAX_BOOKMARKS:
        raise SlackError("too_many_bookmarks")
    if call.require("type") != "link":
        raise SlackError("invalid_bookmark_type")
    now = int(call.workspace.clock())
    bookmark: Json = {
        "id": "Bk" + secrets.token_hex(4).upper(),
        "channel_id": call.require("channel_id"),
        "type": "link",
        "title": call.require("title"),
        "link": _link(call.require("link")),
        "emoji": call.text("emoji") or "",
        "icon_url": "",
        "date_created": now,
        "date_updated": now,
        "last_updated_by_user_id": BOT_USER_ID,
        "app_id": APP_ID,
    }
    bookmarks.append(bookmark)
    call.workspace.save()
    return {"bookmark": bookmark}


def bookmarks_edit(call: Call) -> Json:
    """docs.slack.dev/reference/methods/bookmarks.edit"""
    bookmark = _bookmark(call)
    bookmark.update({name: call.require(name) for name in _BOOKMARK_FIELDS if call.text(name)})
    _link(bookmark["link"])
    bookmark["date_updated"] = int(call.workspace.clock())
    call.workspace.save()
    return {"bookmark": bookmark}


def bookmarks_remove(call: Call) -> Json:
    """docs.slack.dev/reference/methods/bookmarks.remove"""
    _bookmarks(call).remove(_bookmark(call))
    call.workspace.save()
    return {}


def bookmarks_list(call: Call) -> Json:
    """docs.slack.dev/reference/methods/bookmarks.list"""
    return {"bookmarks": _bookmarks(call)}


def _joined(call: Call) -> str:
    channel = call.workspace.channel(call.require("channel"))
    if BOT_USER_ID not in channel["members"]:
        raise SlackError("not_in_channel")
    return str(channel["id"])


def _message(call: Call) -> tuple[str, Json]:
    channel_id = _joined(call)
    return channel_id, call.workspace.message(channel_id, call.require("timestamp"))


def _pinned(call: Call, channel_id: str) -> list[Json]:
    return [message for message in call.workspace.messages(channel_id) if message.get("pinned_to")]


def _bookmarks(call: Call) -> list[Json]:
    channel_id = call.require("channel_id")
    call.workspace.channel(channel_id)
    return call.workspace.bookmarks.setdefault(channel_id, [])


def _bookmark(call: Call) -> Json:
    wanted = call.require("bookmark_id")
    bookmark = next((bookmark for bookmark in _bookmarks(call) if bookmark["id"] == wanted), None)
    if bookmark is None:
        raise SlackError("not_found")
    return bookmark


def _link(link: str) -> str:
    if not link.startswith(("http://", "https://")):
        raise SlackError("invalid_link")
    return link


METHODS = {
    "pins.add": Method(pins_add, "pins:write", TIER_2),
    "pins.remove": Method(pins_remove, "pins:write", TIER_2),
    "pins.list": Method(pins_list, "pins:read", TIER_2),
    "reactions.add": Method(reactions_add, "reactions:write", TIER_3),
    "bookmarks.add": Method(bookmarks_add, "bookmarks:write", TIER_2),
    "bookmarks.edit": Method(bookmarks_edit, "bookmarks:write", TIER_2),
    "bookmarks.remove": Method(bookmarks_remove, "bookmarks:write", TIER_2),
    "bookmarks.list": Method(bookmarks_list, "bookmarks:read", TIER_3),
}
