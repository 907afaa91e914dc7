"""Checkup: what of Slack works, what does not and what to do; asked at the start and by the doctor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slack_sdk import WebClient
from slack_sdk.web import SlackResponse

from bot.domain.deploy_findings import ChannelAccess
from bot.domain.policy import Policy
from bot.flows.configuration_needs import EVERY_RELEASE
from bot.flows.doctor import Question
from bot.settings import SharedChannel, Slack
from bot.slack.client import NO_CHANNEL, OPEN_ENDED, SlackError, slack_call, web_client
from bot.slack.identity import Installation
from bot.slack.role_checkup import examine_roles
from checks.checkup.finding import Finding, State

# Web API method -> bot scope; the single source for manifest.yml and for the checkup (docs.slack.dev/reference/methods).
NEEDED_SCOPES: dict[str, tuple[str, ...]] = {
    "commands": ("commands",),  # the slash command itself
    "auth.test": (),
    "chat.postMessage": ("chat:write",),
    "chat.update": ("chat:write",),
    "chat.postEphemeral": ("chat:write",),
    "chat.getPermalink": (),
    "conversations.history": ("channels:history", "groups:history"),  # public and private #releases
    "conversations.replies": ("channels:history", "groups:history"),
    "conversations.open": ("im:write",),  # reminders, as direct messages
    "conversations.info": ("channels:read", "groups:read"),
    "files.getUploadURLExternal": ("files:write",),
    "files.completeUploadExternal": ("files:write",),
    "pins.add": ("pins:write",),
    "pins.remove": ("pins:write",),
    "usergroups.list": ("usergroups:read",),
    "users.info": ("users:read",),
    "views.open": (),
}


def needed_scopes() -> set[str]:
    """Every bot scope that the code needs."""
    return {scope for scopes in NEEDED_SCOPES.values() for scope in scopes}


def workspace(client: WebClient) -> Installation:
    """Where the app is installed. Raises SlackError when the token is not accepted, or is none of a bot."""
    return _workspace_of(_auth_test(client))


def _auth_test(client: WebClient) -> SlackResponse:
    with slack_call("auth.test"):
        answer = client.auth_test()
    if not (answer.get("team_id") and answer.get("user_id")):  # an app-level token is told of its app only
        raise SlackError("auth.test", "not_allowed_token_type")
    return answer


def _workspace_of(answer: SlackResponse) -> Installation:
    return Installation(
        team=str(answer["team_id"]),
        enterprise=str(answer.get("enterprise_id") or ""),
        bot_user=str(answer["user_id"]),
        app=str(answer.get("app_id") or ""),
    )


def question(settings: Slack, policy: Policy | None) -> Question:
    """How Slack is, asked with the configured token. ``policy``: that people are to be enough for."""
    return Question("Slack", lambda: _examine_settings(settings, policy), (EVERY_RELEASE,))


def _examine_settings(settings: Slack, policy: Policy | None) -> list[Finding]:
    if settings.bot_token is None:
        hint = "Take it from the app's page (xoxb-…)."
        return [Finding(State.UNSET, "SLACK_BOT_TOKEN is not set", hint, lines=(EVERY_RELEASE,))]
    client = web_client(settings.bot_token.get_secret_value(), settings.api_url)
    return examine(client, settings, policy)


def examine(client: WebClient, settings: Slack, policy: Policy | None) -> list[Finding]:
    """Look at the token, its scopes, the channel and the roles. Answers, never raises for what Slack says."""
    try:
        answer = _auth_test(client)
    except SlackError as error:
        if error.code in OPEN_ENDED or error.code.startswith("HTTP 5"):
            hint = "Check slack.api_url, and that Slack can be reached from here."
            what = "Slack doesn't answer" if error.code == "no_answer" else f"Slack has trouble: {error.code}"
            return [Finding(State.UNREACHABLE, what, hint)]
        return [Finding(State.MISSING, f"Slack refuses the bot token: {error.code}", error.hint)]
    findings = [Finding(State.OK, f"the bot token works for the workspace {answer.get('team', answer['team_id'])}")]
    header = {key.lower(): value for key, value in answer.headers.items()}.get("x-oauth-scopes", "")
    granted_scopes = {scope.strip() for scope in header.split(",") if scope.strip()}
    missing_scopes = sorted(needed_scopes() - granted_scopes)
    if missing_scopes:
        findings.append(
            Finding(
                State.MISSING,
                f"the token lacks {', '.join(missing_scopes)}",
                "Install the app again from manifest.yml.",
            )
        )
    else:
        findings.append(Finding(State.OK, "the token has every scope the bot needs"))
    findings += _channel(client, settings.channel, settings.shared_channel)
    return findings + examine_roles(client, settings.roles, _workspace_of(answer), policy)


def _channel(client: WebClient, channel: str, sharing: SharedChannel) -> list[Finding]:
    if not channel:
        return [Finding(State.MISSING, "no channel is set", "Set slack.channel to the id of #releases (C…).")]
    try:
        with slack_call("conversations.info"):
            info = client.conversations_info(channel=channel)["channel"]
    except SlackError as error:
        return [Finding(State.MISSING, f"Slack doesn't show the channel {channel}: {error.code}", _NOT_SHOWN)]
    name = f"#{info.get('name', channel)}"
    findings = [Finding(State.MISSING, what, hint) for what, hint in _closed_channel_errors(info, name)]
    if exposure := _find_exposure(info):
        is_refused = exposure.outside and sharing is SharedChannel.REFUSE
        hint = f"{_UNSHARE} Until then no release starts." if is_refused else exposure.hint
        findings.append(Finding(State.MISSING if is_refused else State.NOTE, f"{name} {exposure.what}", hint))
    return [Finding(State.OK, f"the bot is in {name}"), *findings] if info.get("is_member") else findings


def channel_access(client: WebClient, channel: str, sharing: SharedChannel) -> ChannelAccess:
    """Ask Slack whether a release, or its deploy, may begin in ``channel``, and who else reads it.

    Refused where the bot cannot post, and where another organisation reads and ``shared`` refuses that. Raises SlackError
    when Slack does not say.
    """
    try:
        with slack_call("conversations.info"):
            info = client.conversations_info(channel=channel)["channel"]
    except SlackError as error:
        if error.code not in NO_CHANNEL:
            raise
        return ChannelAccess(f"Slack doesn't show the bot <#{channel}>", _NOT_SHOWN)
    for what, hint in _closed_channel_errors(info, f"<#{channel}>"):
        return ChannelAccess(f"{what[0].upper()}{what[1:]}", hint)
    exposure = _find_exposure(info)
    if exposure is None:
        return ChannelAccess()
    if exposure.outside and sharing is SharedChannel.REFUSE:
        return ChannelAccess(f"<#{channel}> {exposure.what}", _UNSHARE)
    return ChannelAccess(warning=f"<#{channel}> {exposure.what}. {exposure.hint}")


_NOT_SHOWN = "Check that it is the channel's id (C…). If the channel is private, type /invite @Release Bot in it."


def _closed_channel_errors(channel: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """Why the bot cannot post in the channel, each with what to do."""
    if channel.get("is_archived"):
        yield f"{name} is archived", "Unarchive it, or set another slack.channel."
    if not channel.get("is_member"):
        yield f"the bot is not in {name}", f"Type /invite @Release Bot in {name}."


@dataclass(frozen=True)
class _Exposure:
    """Who else than the workspace reads the channel."""

    what: str  # follows the name of the channel
    hint: str
    outside: bool = False  # people of another organisation, today


_UNSHARE = "Take the other organisation out of the channel, or set another slack.channel."


def _find_exposure(channel: Mapping[str, Any]) -> _Exposure | None:
    """Who reads along, by the flags of docs.slack.dev/reference/objects/conversation-object; None: nobody else."""
    if channel.get("is_ext_shared"):
        hint = "People of the other organisation see every message. The bot refuses their clicks."
        return _Exposure("is shared with another organisation", hint, outside=True)
    if (
        channel.get("is_pending_ext_shared")
        or channel.get("pending_shared")
        or channel.get("pending_connected_team_ids")
    ):
        hint = "Once they accept, they see every message. Withdraw the invitation if you don't want that."
        return _Exposure("is about to be shared with another organisation", hint)
    if channel.get("is_org_shared"):
        hint = "People of those see every message. What they may do depends on their roles."
        return _Exposure("is shared with other workspaces of your organisation", hint)
    return None
