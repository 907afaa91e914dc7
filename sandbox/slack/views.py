"""Modals: which view each person has open."""

import secrets

from sandbox.slack.content import with_ids
from sandbox.slack.events import Hub
from sandbox.slack.people import APP_ID, BOT_ID, TEAM_ID
from sandbox.slack.shapes import Json, MethodError

_FROM_THE_BOT = ("type", "title", "submit", "close", "private_metadata", "callback_id")


class Views:
    """The open views, one a person. `document` (view id -> {user, view}) is kept by the workspace over restarts."""

    def __init__(self, document: dict[str, Json], hub: Hub) -> None:
        self._document = document
        self._hub = hub

    def of(self, user: str) -> list[Json]:
        """The views that `user` has open: one or none."""
        return [entry["view"] for entry in self._document.values() if entry["user"] == user]

    def get(self, view_id: str) -> tuple[str, Json]:
        """The person who sees the view, and the view. Raises MethodError not_found."""
        entry = self._document.get(view_id)
        if entry is None:
            raise MethodError("not_found")
        return entry["user"], entry["view"]

    def open(self, user: str, content: Json) -> Json:
        """Show a view, whose `content` was checked already; whatever the person had open goes away."""
        for previous in self.of(user):
            self.close(previous["id"])
        view_id = "V0" + secrets.token_hex(4).upper()
        view: Json = {"id": view_id, "root_view_id": view_id, "previous_view_id": None, "external_id": ""}
        view |= {"team_id": TEAM_ID, "app_id": APP_ID, "app_installed_team_id": TEAM_ID, "bot_id": BOT_ID}
        view |= {key: content.get(key) for key in _FROM_THE_BOT}
        view |= {key: view[key] or "" for key in ("private_metadata", "callback_id")}
        view |= {"clear_on_close": False, "notify_on_close": False, "hash": secrets.token_hex(4)}
        view |= {"blocks": with_ids(content["blocks"]), "state": {"values": {}}}
        self._document[view_id] = {"user": user, "view": view}
        self._hub.publish({"type": "view_opened", "view": view}, user=user)
        return view

    def close(self, view_id: str) -> None:
        """Take a view off the person's screen."""
        entry = self._document.pop(view_id)
        self._hub.publish({"type": "view_closed", "view_id": view_id}, user=entry["user"])
