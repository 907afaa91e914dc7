"""Identity: who clicked and in which roles, asked of Slack at that moment (promise P3). Deny by default, fail closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slack_sdk import WebClient

from bot.domain.actor import Actor
from bot.domain.ids import UserId
from bot.domain.policy import Role
from bot.errors import IdentityUnknown, NotAllowed
from bot.settings import Roles
from bot.slack.client import SlackError, slack_call


@dataclass(frozen=True)
class Workspace:
    """Where the app is installed, from auth.test."""

    team: str
    enterprise: str  # empty outside of Enterprise Grid
    bot_user: str
    app: str = ""


class Identity:
    """Reads people. Nothing is cached: what counts is what Slack says at the click."""

    def __init__(self, client: WebClient, roles: Roles, workspace: Workspace) -> None:
        self._client, self._roles, self._workspace = client, roles, workspace

    def member(self, user: str) -> set[str]:
        """Make sure that ``user`` is a full member, whatever their roles. Returns all ids of this person.

        Raises NotAllowed, with the reason, for bots, deleted people, guests and people of other workspaces;
        IdentityUnknown when Slack does not say.
        """
        found = self._ask(user)
        if why := refusal(found, self._workspace):
            raise NotAllowed(why, hint="Ask a full member of this workspace.")
        grid = found.get("enterprise_user") or {}
        return {user, str(found.get("id") or user), str(grid.get("id") or user)}

    def actor(self, user: str) -> Actor:
        """Return who ``user`` is, with their roles (perhaps none). Raises what `member` raises.

        On Enterprise Grid one person has a U and a W id. The W id stands for both, so that four eyes are four.
        """
        ids = self.member(user)
        return Actor(UserId(max(ids)), frozenset(self._roles_of(ids)))  # W sorts after U

    def holders(self, role: Role) -> list[UserId]:
        """Everybody who holds ``role`` now, by user id or as a member of a user group. Raises IdentityUnknown."""
        entries = dict(self._roles)[role.value]
        people = {entry for entry in entries if not entry.startswith("S")}
        for group in entries:
            if group.startswith("S"):
                people |= self._members(group)
        return [UserId(user) for user in sorted(people)]

    def _ask(self, user: str) -> Mapping[str, Any]:
        try:
            with slack_call("users.info"):
                return dict(self._client.users_info(user=user)["user"])
        except SlackError as error:
            if error.code in {"user_not_found", "user_not_visible"}:
                raise NotAllowed("Slack does not know you in this workspace.", hint="Ask a member of it.") from error
            raise IdentityUnknown(
                f"Slack did not say who you are ({error.code}), so nothing was done.", hint="Try again in a minute."
            ) from error

    def _roles_of(self, ids: set[str]) -> set[Role]:
        held = set()
        for name, holders in self._roles:
            groups = [entry for entry in holders if entry.startswith("S")]
            if ids & set(holders) or any(ids & self._members(group) for group in groups):
                held.add(Role(name))
        return held

    def _members(self, group: str) -> set[str]:
        """The members of a user group; of a disabled or unknown one nobody."""
        try:
            with slack_call("usergroups.users.list"):
                return set(self._client.usergroups_users_list(usergroup=group, include_disabled=False)["users"])
        except SlackError as error:
            if error.code in {"no_such_subteam", "subteam_disabled"}:
                return set()
            raise IdentityUnknown(
                f"Slack did not say who is in the user group {group} ({error.code}), so nothing was done.",
                hint="Try again in a minute.",
            ) from error


def refusal(user: Mapping[str, Any], workspace: Workspace) -> str:
    """Why somebody may change nothing here, from what users.info says; empty for a full member of the workspace.

    The flags are those of docs.slack.dev/reference/objects/user-object.
    """
    if user.get("deleted"):
        return "This account is deactivated."
    if any(user.get(flag) for flag in ("is_bot", "is_app_user", "is_workflow_bot", "is_connector_bot")):
        return "Bots and workflows may not do that."
    grid = user.get("enterprise_user") or {}
    ours = workspace.team in grid.get("teams", ()) or bool(
        workspace.enterprise and grid.get("enterprise_id") == workspace.enterprise
    )
    if user.get("is_stranger") or (user.get("team_id") != workspace.team and not ours):
        return "You belong to another workspace. Only members of this one may do that."
    if user.get("is_restricted") or user.get("is_ultra_restricted"):
        return "Guests may not do that."
    if user.get("is_invited_user"):
        return "This account is not active yet."
    return ""
