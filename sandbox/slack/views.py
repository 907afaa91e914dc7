"""Modals: which views each person has open, one stack a person."""

import secrets

from sandbox.slack.content import with_ids
from sandbox.slack.events import Hub
from sandbox.slack.grants import Clock, Trigger
from sandbox.slack.people import APP_ID, BOT_ID, TEAM_ID
from sandbox.slack.shapes import Json, SlackError

MAX_STACK = 3
_TAKEN_OVER = ("type", "title", "submit", "close", "private_metadata", "callback_id", "external_id")
_FLAGS = ("clear_on_close", "notify_on_close")


class Views:
    """The open views. `document` (view id -> {user, view}) is kept by the workspace over restarts."""

    def __init__(self, document: dict[str, Json], hub: Hub, clock: Clock) -> None:
        self._document = document
        self._hub = hub
        self._clock = clock

    def of(self, user: str) -> list[Json]:
        """The views that `user` has open, the one on top last."""
        return [entry["view"] for entry in self._document.values() if entry["user"] == user]

    def get(self, view_id: str) -> tuple[str, Json]:
        """The person who sees the view, and the view. Raises SlackError not_found."""
        entry = self._document.get(view_id)
        if entry is None:
            raise SlackError("not_found")
        return entry["user"], entry["view"]

    def open(self, trigger: Trigger, wanted: Json) -> Json:
        """Show a first view; whatever the person had open goes away. `wanted` was checked already."""
        for view in self.of(trigger.user):
            self.close(view["id"])
        return self._add(trigger.user, wanted, None)

    def push(self, trigger: Trigger, wanted: Json) -> Json:
        """Show a view on top of the one that was used. Raises SlackError push_limit_reached, not_found."""
        stack = self.of(trigger.user)
        if trigger.view_id is None or not stack:
            raise SlackError("not_found")
        if len(stack) >= MAX_STACK:
            raise SlackError("push_limit_reached")
        return self._add(trigger.user, wanted, stack[-1])

    def update(self, view_id: str | None, external_id: str | None, wanted: Json, expected_hash: str | None) -> Json:
        """Replace the content of an open view. Raises SlackError not_found, hash_conflict."""
        user, view = self._find(view_id, external_id)
        if expected_hash and expected_hash != view["hash"]:
            raise SlackError("hash_conflict")
        self._fill(view, wanted)
        self._hub.publish({"type": "view_updated", "view": view}, user=user)
        return view

    def close(self, view_id: str) -> None:
        """Take one view off the person's screen."""
        entry = self._document.pop(view_id)
        self._hub.publish({"type": "view_closed", "view_id": view_id}, user=entry["user"])

    def _find(self, view_id: str | None, external_id: str | None) -> tuple[str, Json]:
        if view_id:
            return self.get(view_id)
        for entry in self._document.values():
            if external_id and entry["view"]["external_id"] == external_id:
                return entry["user"], entry["view"]
        raise SlackError("not_found")

    def _add(self, user: str, wanted: Json, previous: Json | None) -> Json:
        view: Json = {"id": "V0" + secrets.token_hex(4).upper(), "team_id": TEAM_ID}
        view["root_view_id"] = previous["root_view_id"] if previous else view["id"]
        view["previous_view_id"] = previous["id"] if previous else None
        view |= {"app_id": APP_ID, "app_installed_team_id": TEAM_ID, "bot_id": BOT_ID}
        self._fill(view, wanted)
        self._document[view["id"]] = {"user": user, "view": view}
        self._hub.publish({"type": "view_opened", "view": view}, user=user)
        return view

    def _fill(self, view: Json, wanted: Json) -> None:
        view.update({key: wanted.get(key) for key in _TAKEN_OVER})
        for key in ("private_metadata", "callback_id", "external_id"):
            view[key] = view[key] or ""
        view.update({key: bool(wanted.get(key)) for key in _FLAGS})
        view["blocks"] = with_ids(wanted["blocks"])
        view["state"] = {"values": {}}
        view["hash"] = f"{int(self._clock())}.{secrets.token_hex(4)}"
