"""The pins methods."""

from sandbox.slack.limits import TIER_2
from sandbox.slack.methods.call import Method, MethodCall
from sandbox.slack.people import BOT_USER_ID
from sandbox.slack.shapes import Json, MethodError
from sandbox.slack.workspace import MAX_PINS


def add(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/pins.add"""
    channel_id, message = _message(call)
    if message.get("pinned_to"):
        raise MethodError("already_pinned")
    if sum("pinned_to" in each for each in call.workspace.messages(channel_id)) >= MAX_PINS:
        raise MethodError("too_many_pins")
    message["pinned_to"] = [channel_id]
    message["pinned_info"] = {"channel": channel_id, "pinned_by": BOT_USER_ID, "pinned_ts": int(call.workspace.clock())}
    call.workspace.save_message(channel_id, message)
    return {}


def remove(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/pins.remove"""
    channel_id, message = _message(call)
    if not message.get("pinned_to"):
        raise MethodError("no_pin")
    del message["pinned_to"], message["pinned_info"]
    call.workspace.save_message(channel_id, message)
    return {}


def _message(call: MethodCall) -> tuple[str, Json]:
    channel = call.workspace.channel(call.require("channel"))
    if BOT_USER_ID not in channel["members"]:
        raise MethodError("not_in_channel")
    return channel["id"], call.workspace.message(channel["id"], call.require("timestamp"))


_ARGUMENTS = frozenset({"channel", "timestamp"})
METHODS = {
    "pins.add": Method(add, "pins:write", TIER_2, _ARGUMENTS),
    "pins.remove": Method(remove, "pins:write", TIER_2, _ARGUMENTS),
}
