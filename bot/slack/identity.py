"""Identity: who clicked and in which roles, asked of Slack at that moment (promise P3). Deny by default, fail closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from slack_sdk import WebClient

from bot.domain.actor import Actor
from bot.domain.ids import UserId
from bot.domain.policy import Role
from bot.errors import IdentityUnknown, NotAllowed
from bot.settings import Roles
from bot.slack.client import SlackError, slack_call

Groups: TypeAlias = Mapping[str, set[str]]  # the members of each user group


@dataclass(frozen=True)
class Installation:
    """Where the app is installed, from auth.test."""

    team: str
    enterprise: str  # empty outside of Enterprise Grid
    bot_user: str
    app: str = ""


class Identity:
    """Reads people. Nothing is kept: what counts is what Slack says at the click or after it."""

    def __init__(self, client: WebClient, roles: Roles, workspace: Installation) -> None:
        self._client, self._roles, self._workspace = client, roles, workspace
        self._asking = threading.Lock()
        self._asked_at = 0.0  # when usergroups.list was asked last, on the monotonic clock
        self._said: Groups | SlackError = {}  # what it answered

    def member(self, user: str) -> set[str]:
        """Make sure that ``user`` is a full member, whatever their roles. Returns all ids of this person.

        Raises NotAllowed, with the reason, for bots, deleted people, guests and people of other workspaces;
        IdentityUnknown when Slack does not say.
        """
        return self._member(user, "you are")

    def _member(self, user: str, who: str) -> set[str]:
        profile = self._ask(user, who)
        if why := refusal(profile, self._workspace):
            raise NotAllowed(why, hint="Ask a full member of this workspace.")
        grid = profile.get("enterprise_user") or {}
        return {user, str(profile.get("id") or user), str(grid.get("id") or user)}

    def actor(self, user: str) -> Actor:
        """Return who ``user`` is, with their roles (perhaps none). Raises what `member` raises.

        On Enterprise Grid one person has a U and a W id. The W id stands for both, so that four eyes are four.
        """
        ids = self.member(user)
        roles = frozenset(role for role, holders in self._holders().items() if ids & holders)
        return Actor(UserId(max(ids)), roles)  # W sorts after U

    def roles_of(self, users: Iterable[UserId]) -> dict[UserId, frozenset[Role]]:
        """The roles that each of ``users`` holds now; none for who is no full member any more. Raises IdentityUnknown."""
        holders = self._holders()
        return {user: self._roles_of_user(user, holders) for user in users}

    def _roles_of_user(self, user: UserId, holders: Mapping[Role, set[str]]) -> frozenset[Role]:
        try:
            ids = self._member(user, f"<@{user}> is")
        except NotAllowed:
            return frozenset()
        return frozenset(role for role, held_by in holders.items() if ids & held_by)

    def holders(self, role: Role) -> list[UserId]:
        """Everybody who holds ``role`` now, by user id or as a member of a user group. Raises IdentityUnknown."""
        return [UserId(user) for user in sorted(self._holders()[role])]

    def _ask(self, user: str, who: str) -> Mapping[str, Any]:
        try:
            with slack_call("users.info"):
                return dict(self._client.users_info(user=user)["user"])
        except SlackError as error:
            if error.code in {"user_not_found", "user_not_visible"}:
                raise NotAllowed("Slack doesn't know you in this workspace.", hint="Ask a member of it.") from error
            raise IdentityUnknown(
                f"Slack didn't say who {who} ({error.code}), so nothing was done.", hint="Try again in a minute."
            ) from error

    def _holders(self) -> dict[Role, set[str]]:
        """Who holds each role, with one question for all groups: Slack answers it twenty times a minute at most."""
        roles = {Role(name): set(entries) for name, entries in self._roles}
        group_ids = {entry for entries in roles.values() for entry in entries if entry.startswith("S")}
        groups = self._groups() if group_ids else {}
        return {
            role: (entries - group_ids).union(*(groups.get(entry, set()) for entry in entries & group_ids))
            for role, entries in roles.items()
        }

    def _groups(self) -> Groups:
        """The members of each user group (docs.slack.dev/reference/methods/usergroups.list); a disabled one is left out.

        Ten people who click at once are one question: who waits for the answer to another takes the next one, which was
        asked for after the own click. Slack answers twenty times a minute at most.
        """
        start = time.monotonic()
        with self._asking:
            if self._asked_at < start:
                self._asked_at, self._said = time.monotonic(), self._ask_groups()
            answer = self._said
        if isinstance(answer, SlackError):
            raise IdentityUnknown(
                f"Slack didn't say who is in the user groups ({answer.code}), so nothing was done.",
                hint="Try again in a minute.",
            ) from answer
        return answer

    def _ask_groups(self) -> Groups | SlackError:
        try:
            with slack_call("usergroups.list"):
                answer = self._client.usergroups_list(include_users=True, include_disabled=False)
        except SlackError as error:
            return error
        return {str(group["id"]): set(group.get("users") or ()) for group in answer["usergroups"]}


def refusal(user: Mapping[str, Any], workspace: Installation) -> str:
    """Why somebody may change nothing here, from what users.info says; empty for a full member of the workspace.

    The flags are those of docs.slack.dev/reference/objects/user-object.
    """
    if user.get("deleted"):
        return "This account is deactivated."
    if any(user.get(flag) for flag in ("is_bot", "is_app_user", "is_workflow_bot", "is_connector_bot")):
        return "Bots and workflows can't do that."
    grid = user.get("enterprise_user") or {}
    ours = workspace.team in grid.get("teams", ()) or bool(
        workspace.enterprise and grid.get("enterprise_id") == workspace.enterprise
    )
    if user.get("is_stranger") or (user.get("team_id") != workspace.team and not ours):
        return "You belong to another workspace. Only members of this one can do that."
    if user.get("is_restricted") or user.get("is_ultra_restricted"):
        return "Guests can't do that."
    if user.get("is_invited_user"):
        return "This account isn't active yet."
    return ""
