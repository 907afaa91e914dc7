"""Who holds which role by what Slack tells: an id that stands for nobody is named, before somebody misses a button by it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from slack_sdk import WebClient

from bot.domain.policy import Policy, Role
from bot.domain.staffing import find_shortage
from bot.settings import Roles
from bot.slack.client import SlackError, slack_call
from bot.slack.identity import Installation, refusal
from bot.texts.staffing import shortage_text
from checks.checkup.finding import Finding, State

_NO_GROUP = "Copy the id (S…) from the user group's page, or remove it from slack.roles."
_UNKNOWN = "Slack knows nobody with that id"
_NO_PERSON = "Copy the member id (U…) from the profile, or remove it from slack.roles."


def examine_roles(client: WebClient, roles: Roles, workspace: Installation, policy: Policy | None) -> list[Finding]:
    """Each role with its number of people, and each id of slack.roles that stands for nobody. Answers, never raises for what
    Slack says. People who are named by their id are asked for; those in a group count as Slack lists them.

    ``policy``: what the people are to be enough for; None: it cannot be read.
    """
    entries_of_role = {Role(name): entries for name, entries in roles}
    try:
        groups = (
            _groups(client)
            if any(entry.startswith("S") for entries in entries_of_role.values() for entry in entries)
            else {}
        )
        people = {
            entry: _person(client, entry, workspace)
            for entry in dict.fromkeys(entry for entries in entries_of_role.values() for entry in entries)
            if not entry.startswith("S")
        }
    except SlackError as error:
        what = f"Slack doesn't say who has the roles: {error.user_message.rstrip('.')}"
        return [Finding(State.MISSING, what, error.hint or "Try again in a minute.")]
    findings: list[Finding] = []
    holders: dict[Role, set[str]] = {}
    for role, entries in entries_of_role.items():
        findings += _wrong(f"slack.roles.{role}", entries, groups, people)
        role_holders = holders[role] = {entry for entry in entries if people.get(entry) == ""}.union(
            *(_members(groups[entry]) for entry in entries if entry in groups)
        )
        if entries:
            count = f"{len(role_holders)} {'person' if len(role_holders) == 1 else 'people'}"
            hint = "" if role_holders else "Until somebody has this role, nobody can do what it allows."
            findings.append(Finding(State.OK if role_holders else State.MISSING, f"slack.roles.{role}: {count}", hint))
    if policy is not None and (shortage := find_shortage(policy, holders)):
        hint = "Add people to slack.roles or to its user groups, or change the policy."
        findings.append(Finding(State.MISSING, f"nobody could ever deploy: {shortage_text(shortage)}", hint))
    return findings


def _groups(client: WebClient) -> dict[str, Mapping[str, Any]]:
    with slack_call("usergroups.list"):
        answer = client.usergroups_list(include_users=True, include_disabled=True)
    return {str(group["id"]): group for group in answer["usergroups"]}


def _members(group: Mapping[str, Any]) -> set[str]:
    """Who holds a role by the group; nobody by a disabled one."""
    return set() if group.get("date_delete") else {str(user) for user in group.get("users") or ()}


def _person(client: WebClient, user: str, workspace: Installation) -> str:
    """Why ``user`` holds no role; empty for somebody who does. Raises SlackError when Slack does not say."""
    try:
        with slack_call("users.info"):
            return refusal(client.users_info(user=user)["user"], workspace)
    except SlackError as error:
        if error.code in {"user_not_found", "user_not_visible"}:
            return _UNKNOWN
        raise


def _wrong(
    role: str, entries: Collection[str], groups: Mapping[str, Mapping[str, Any]], people: Mapping[str, str]
) -> Iterator[Finding]:
    for entry in entries:
        if why := people.get(entry, ""):
            wrong = f"and {why}" if why is _UNKNOWN else f"whom the bot refuses: {why.rstrip('.')}"
            yield Finding(State.MISSING, f"{role} names {entry}, {wrong}", _NO_PERSON)
        elif entry.startswith("S") and entry not in groups:
            yield Finding(State.MISSING, f"{role} names {entry}, which isn't a user group", _NO_GROUP)
        elif entry in groups and groups[entry].get("date_delete"):
            what = f"{role} names the user group @{groups[entry].get('handle', entry)} ({entry}), which is disabled"
            yield Finding(State.MISSING, what, "Enable it, or name another one.")
        elif entry in groups and not _members(groups[entry]):
            what = f"{role} names the user group @{groups[entry].get('handle', entry)} ({entry}), which is empty"
            yield Finding(State.MISSING, what, "Add people to it, or name another one.")
