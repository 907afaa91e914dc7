"""The files methods: the first and the last step of an upload."""

from typing import Any

from sandbox.slack.content import read_content
from sandbox.slack.limits import TIER_4
from sandbox.slack.methods.call import Method, MethodCall
from sandbox.slack.methods.chat import channel_to_post_in
from sandbox.slack.people import BOT_USER_ID
from sandbox.slack.shapes import Json, invalid_arguments


def get_upload_url(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/files.getUploadURLExternal"""
    name, length = call.require("filename"), call.number("length", 0)
    if length < 1:
        raise invalid_arguments("length must be positive")
    file_id, token = call.workspace.files.announce(name, length, call.text("alt_txt"))
    call.workspace.save()
    return {"upload_url": f"{call.workspace.base_url}upload/v1/{token}", "file_id": file_id}


def complete_upload(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/files.completeUploadExternal"""
    uploads: Any = call.read_json("files")
    if not isinstance(uploads, list) or not uploads or not all(isinstance(f, dict) and f.get("id") for f in uploads):
        raise invalid_arguments("files must be a list of objects with an id")
    channel_id = None
    if call.text("channel_id"):
        channel_id = channel_to_post_in(MethodCall(call.name, {"channel": call.text("channel_id")}, call.workspace))
    files = [call.workspace.files.complete(file["id"], file.get("title"), call.workspace.base_url) for file in uploads]
    if channel_id is not None:
        for file in files:
            file["channels"].append(channel_id)
        content = read_content({"text": call.text("initial_comment") or ""})
        call.workspace.post(channel_id, BOT_USER_ID, content, thread_ts=call.text("thread_ts"), files=files)
    call.workspace.save()
    for file in files:
        call.workspace.hub.publish({"type": "file", "file": file})
    return {"files": files}


METHODS = {
    "files.getUploadURLExternal": Method(
        get_upload_url, "files:write", TIER_4, frozenset({"filename", "length", "alt_txt"})
    ),
    "files.completeUploadExternal": Method(
        complete_upload, "files:write", TIER_4, frozenset({"files", "channel_id", "thread_ts", "initial_comment"})
    ),
}
