"""The payloads that Slack sends for what a person does: commands, clicks and submitted views."""

import html
import re

from sandbox.slack.content import elements_of
from sandbox.slack.people import APP_ID, BOT, EVERYBODY, PEOPLE, TEAM_ID, TEAM_NAME, USER_GROUPS, Person
from sandbox.slack.shapes import Json, MethodError
from sandbox.slack.workspace import Workspace

VERIFICATION_TOKEN = "sandbox-verification-token"  # deprecated by Slack, and never to be trusted
_MENTION = re.compile(r"(?<![\w<])@([\w.-]*\w)")
_CHANNEL = re.compile(r"(?<![\w<])#([\w-]+)")
_URL = re.compile(r"(?<![<|\w])https?://[^\s<>]+")
_SLACK_NOTATION = re.compile(r"(<[@#!][^>]*>|<https?://[^>]*>)")


def escape_command_text(text: str, workspace: Workspace) -> str:
    """What `should_escape` does: `&`, `<` and `>` as entities; people, groups, channels and links in angle brackets.

    Text that is in Slack's notation already (the page's completion writes `<@U…>`) is left as it is.
    """
    parts = _SLACK_NOTATION.split(text)
    return "".join(part if _SLACK_NOTATION.fullmatch(part) else _escape_plain(part, workspace) for part in parts)


def command_payload(workspace: Workspace, person: Person, channel: Json, command: str, text: str) -> Json:
    """The payload of a slash command (docs.slack.dev/interactivity/implementing-slash-commands)."""
    if workspace.manifest.commands[command]:
        text = escape_command_text(text, workspace)
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": person.team_id,
        "team_domain": TEAM_NAME,
        "channel_id": channel["id"],
        "channel_name": "directmessage" if channel.get("user") else channel["name"],
        "user_id": person.id,
        "user_name": person.handle,
        "command": command,
        "text": text,
        "api_app_id": APP_ID,
        "is_enterprise_install": "false",
        "response_url": _response_url(workspace, "commands", person, channel["id"]),
        "trigger_id": workspace.triggers.issue(person.id),
    }


def message_action_payload(workspace: Workspace, person: Person, channel: Json, message: Json, action: Json) -> Json:
    """A block_actions payload for an element of a message (docs: reference/interaction-payloads)."""
    ephemeral = bool(message.get("ephemeral"))
    container: Json = {
        "type": "message",
        "message_ts": message["ts"],
        "channel_id": channel["id"],
        "is_ephemeral": ephemeral,
    }
    if message.get("thread_ts"):
        container["thread_ts"] = message["thread_ts"]
    return _interaction(workspace, "block_actions", person) | {
        "container": container,
        "channel": {"id": channel["id"], "name": channel["name"]},
        "message": {key: value for key, value in message.items() if key != "ephemeral"},
        "state": {"values": {}},
        "response_url": _response_url(workspace, "actions", person, channel["id"]),
        "actions": [action],
    }


def submission_payload(workspace: Workspace, person: Person, view: Json) -> Json:
    """A view_submission payload; the state of the view holds what the person typed."""
    return _interaction(workspace, "view_submission", person) | {"view": view, "response_urls": []}


def find_button(blocks: list[Json], action_id: str, block_id: str | None) -> tuple[Json, Json] | None:
    """The block and the button with this action_id (and block_id, when given)."""
    for block in blocks:
        if block_id and block["block_id"] != block_id:
            continue
        for element in elements_of(block):
            if element.get("action_id") == action_id:
                return block, element
    return None


def action_of(workspace: Workspace, block: Json, button: Json, value: str | None) -> Json:
    """One entry of `actions`; `value` is what a person's client sends in place of the button's own value, if not None."""
    action: Json = {key: button[key] for key in ("type", "action_id", "text", "style") if key in button}
    action |= {"block_id": block["block_id"], "action_ts": workspace.next_ts()}
    value = button.get("value") if value is None else value
    return action if value is None else action | {"value": value}


def _interaction(workspace: Workspace, kind: str, person: Person) -> Json:
    return {
        "type": kind,
        "team": {"id": TEAM_ID, "domain": TEAM_NAME},
        "user": {
            "id": person.id,
            "username": person.handle,
            "name": person.handle,
            "team_id": person.team_id,
        },
        "api_app_id": APP_ID,
        "token": VERIFICATION_TOKEN,
        "enterprise": None,
        "is_enterprise_install": False,
        "trigger_id": workspace.triggers.issue(person.id),
    }


def _response_url(workspace: Workspace, kind: str, person: Person, channel_id: str) -> str:
    grant = workspace.response_urls.issue(user=person.id, channel=channel_id)
    workspace.save()
    return f"{workspace.base_url}{kind}/{TEAM_ID}/{grant}"


def _escape_plain(text: str, workspace: Workspace) -> str:
    text = html.escape(text, quote=False)
    text = _URL.sub(lambda match: f"<{match[0]}>", text)
    for person in PEOPLE:  # a full name has a space, which the pattern for handles cannot know
        text = re.sub(rf"(?<![\w<])@{re.escape(person.name)}\b", f"<@{person.id}>", text)
    text = _MENTION.sub(lambda match: _mention(match[1]) or match[0], text)
    return _CHANNEL.sub(lambda match: _channel_link(match[1], workspace) or match[0], text)


def _mention(handle: str) -> str | None:
    for person in (*PEOPLE, BOT):
        if person.handle == handle.lower():
            return f"<@{person.id}>"
    for group in USER_GROUPS.values():
        if group.handle == handle.lower():
            return f"<!subteam^{group.id}|@{group.handle}>"
    return f"<!{handle}>" if handle in ("here", "channel", "everyone") else None


def _channel_link(name: str, workspace: Workspace) -> str | None:
    for channel in workspace.channels.values():
        if channel["name"] == name and not channel.get("user"):
            return f"<#{channel['id']}|{name}>"
    return None


def person_of(user: str) -> Person:
    """A person by id. Raises MethodError user_not_found."""
    person = EVERYBODY.get(user)
    if person is None or person.bot:
        raise MethodError("user_not_found")
    return person
