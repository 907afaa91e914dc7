"""Permissions that Slack hands out for a short while: trigger ids, response URLs and socket tickets."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.slack.shapes import Json, MethodError

TRIGGER_SECONDS = 3.0
RESPONSE_URL_SECONDS = 30 * 60
RESPONSE_URL_USES = 5
TICKET_SECONDS = 60.0
Clock = Callable[[], float]


@dataclass
class _Trigger:
    user: str
    expires_at: float
    is_used: bool = False


class Triggers:
    """Trigger ids: good for 3 seconds and one view (docs.slack.dev/interactivity/handling-user-interaction)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._triggers: dict[str, _Trigger] = {}

    def issue(self, user: str) -> str:
        """A new trigger id for an interaction of `user`."""
        now = self._clock()
        trigger_id = f"{int(now * 1000)}.{secrets.randbelow(10**10)}.{secrets.token_hex(16)}"
        self._triggers[trigger_id] = _Trigger(user, now + TRIGGER_SECONDS)
        return trigger_id

    def redeem(self, trigger_id: str) -> str:
        """Use up a trigger id; the user who may be shown a view.

        Raises MethodError: invalid_trigger_id, exchanged_trigger_id, expired_trigger_id.
        """
        trigger = self._triggers.get(trigger_id)
        if trigger is None:
            raise MethodError("invalid_trigger_id")
        if trigger.is_used:
            raise MethodError("exchanged_trigger_id")
        if self._clock() > trigger.expires_at:
            raise MethodError("expired_trigger_id")
        trigger.is_used = True
        return trigger.user


class ResponseUrls:
    """Response URLs: five uses within 30 minutes. `document` is kept by the workspace over restarts."""

    def __init__(self, document: dict[str, Json], clock: Clock) -> None:
        self._document = document
        self._clock = clock

    def issue(self, *, user: str, channel: str) -> str:
        """A token for an interaction of `user` in `channel`."""
        token = secrets.token_hex(12)
        expires_at = self._clock() + RESPONSE_URL_SECONDS
        self._document[token] = {"user": user, "channel": channel, "expires_at": expires_at, "uses": 0}
        return token

    def look_up(self, token: str) -> Json:
        """What the token stands for. Raises MethodError: used_url, expired_url, invalid_url."""
        grant = self._document.get(token)
        if grant is None:
            raise MethodError("invalid_url")
        if grant["uses"] >= RESPONSE_URL_USES:
            raise MethodError("used_url")
        if self._clock() > grant["expires_at"]:
            raise MethodError("expired_url")
        return grant

    def spend(self, grant: Json) -> None:
        """Count one use."""
        grant["uses"] += 1


class Tickets:
    """Tickets of apps.connections.open: each opens one socket."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._expires_at: dict[str, float] = {}

    def issue(self) -> str:
        """A new ticket."""
        ticket = secrets.token_hex(16)
        self._expires_at[ticket] = self._clock() + TICKET_SECONDS
        return ticket

    def redeem(self, ticket: str) -> bool:
        """Use up a ticket; False when it is unknown, used or too old."""
        expires_at = self._expires_at.pop(ticket, None)
        return expires_at is not None and self._clock() <= expires_at
