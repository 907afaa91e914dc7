"""The control API: what the page, plays and tests do in a person's name, and what they may look at."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from sandbox.slack import payloads
from sandbox.slack.content import Content, read_content
from sandbox.slack.delivery import Delivery
from sandbox.slack.faults import SlackFaults
from sandbox.slack.http_mode import HttpMode
from sandbox.slack.journal import CallLog
from sandbox.slack.people import BOT_USER_ID, EVERYBODY, PEOPLE, TEAM_ID, TEAM_NAME, USER_GROUPS, Person
from sandbox.slack.shapes import Json, MethodError, invalid_arguments
from sandbox.slack.socket_mode import DISCONNECT_REASONS, SocketMode
from sandbox.slack.submission import input_blocks, input_errors, read_values
from sandbox.slack.workspace import Workspace

KEEP_ALIVE_SECONDS = 15.0
SLACKBOT = "USLACKBOT"
_NOT_FOUND = ("channel_not_found", "user_not_found", "message_not_found", "not_found", "unknown_envelope")
Action = Callable[[Json], Awaitable[Json]]


class Control:
    """The routes under /sandbox/ that belong to Slack."""

    def __init__(
        self, workspace: Workspace, journal: CallLog, socket: SocketMode, http: HttpMode, faults: SlackFaults
    ) -> None:
        self._workspace = workspace
        self._journal = journal
        self._socket = socket
        self._http = http
        self._faults = faults

    def add_routes(self, app: web.Application) -> None:
        """Serve the control API."""
        app.router.add_get("/sandbox/state", self._state)
        app.router.add_get("/sandbox/events", self._events)
        app.router.add_get("/sandbox/calls", self._calls)
        app.router.add_get("/sandbox/violations", self._violations)
        actions: dict[str, Action] = {
            "command": self.command,
            "message": self.message,
            "delete": self.delete,
            "click": self.click,
            "submit": self.submit,
            "close": self.close,
            "replay": self.replay,
            "request-url": self.set_request_url,
            "slack-faults": self.slack_faults,
        }
        for name, action in actions.items():
            app.router.add_post(f"/sandbox/{name}", _json_route(action))

    # What can be looked at

    async def _state(self, request: web.Request) -> web.Response:
        user = request.query.get("user", "")
        try:
            me = payloads.person_of(user)
        except MethodError as exc:
            return web.json_response(exc.answer(), status=404)
        channels = [channel for channel in self._workspace.channels.values() if user in channel["members"]]
        messages = {}
        for channel in channels:
            visible = self._workspace.messages(channel["id"]) + self._workspace.ephemerals(user, channel["id"])
            messages[channel["id"]] = [
                self._workspace.for_page(m) for m in sorted(visible, key=lambda m: _order(m["ts"]))
            ]
        state: Json = {
            "team": {"id": TEAM_ID, "name": TEAM_NAME},
            "me": _shown_person(me),
            "people": [_shown_person(person) for person in PEOPLE],
            "bot": _shown_person(EVERYBODY[BOT_USER_ID]),
            "groups": [{"id": g.id, "handle": g.handle, "users": list(g.users)} for g in USER_GROUPS.values()],
            "channels": [{"id": c["id"], "name": c["name"], "direct": bool(c.get("user"))} for c in channels],
            "commands": list(self._workspace.manifest.commands),
            "messages": messages,
            "views": self._workspace.views.of(user),
            "bot_online": bool(self._workspace.request_url) or self._socket.connections > 0,
        }
        return web.json_response(state)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        with self._workspace.hub.listen(request.query.get("user", "")) as queue:
            await stream.prepare(request)
            await stream.write(b": connected\n\n")
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), KEEP_ALIVE_SECONDS)
                except TimeoutError:
                    chunk = ": still here\n\n"
                else:
                    if event is None:
                        return stream
                    chunk = f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
                try:
                    await stream.write(chunk.encode())
                except ConnectionResetError:
                    return stream  # the page went away

    async def _calls(self, request: web.Request) -> web.Response:
        method = request.query.get("method")
        calls = [call for call in self._journal.calls if method in (None, call["method"])]
        return web.json_response({"calls": calls, "counts": dict(self._journal.counts)})

    async def _violations(self, _request: web.Request) -> web.Response:
        return web.json_response(self._journal.violations)

    # What a person does

    async def command(self, body: Json) -> Json:
        """A person types a slash command: `{user, channel, text}`."""
        person, channel = self._person(body), self._channel(body)
        command, _, text = str(body.get("text", "")).strip().partition(" ")
        if command not in self._workspace.manifest.commands:
            self._tell(channel, person, f"`{command}` is not a valid command.")
            return {"ok": False, "delivered": False, "ack": None, "error": "unknown_command", "envelope_id": None}
        payload = payloads.command_payload(self._workspace, person, channel, command, text.strip())
        delivery = await self._ways.deliver("slash_commands", payload, accepts_response=True)
        error = delivery.error
        if error is not None:
            self._tell(channel, person, f"`{command}` failed with the error “{error}”")
        elif delivery.ack:
            error = self._show_reply(channel, person, delivery.ack)
        return _outcome(delivery, error)

    async def message(self, body: Json) -> Json:
        """A person writes a message: `{user, channel, text, thread_ts?}`."""
        person, channel = self._person(body), self._channel(body)
        text = payloads.escape_command_text(str(body.get("text", "")), self._workspace)
        if not text.strip():
            raise MethodError("no_text")
        message = self._workspace.post(
            channel["id"], person.id, Content(text=text), thread_ts=body.get("thread_ts") or None
        )
        return {"ok": True, "ts": message["ts"]}

    async def delete(self, body: Json) -> Json:
        """A person with the right to do so deletes any message: `{user, channel, ts}`."""
        self._person(body)
        self._workspace.delete(self._channel(body)["id"], str(body.get("ts")))
        return {"ok": True}

    async def click(self, body: Json) -> Json:
        """A person presses a button of a message: `{user, channel, ts, action_id, block_id?, value?}`.

        `value` replaces the button's own value: a forged button. With `"forged": true` the button need not exist (any more).
        """
        person, channel, ts = self._person(body), self._channel(body), str(body.get("ts"))
        message = self._workspace.ephemeral(person.id, channel["id"], ts)
        message = message or self._workspace.message(channel["id"], ts)
        action = self._action(message.get("blocks", []), body)
        payload = payloads.message_action_payload(self._workspace, person, channel, message, action)
        return _outcome(await self._ways.deliver("interactive", payload, accepts_response=False))

    async def submit(self, body: Json) -> Json:
        """A person submits a view: `{user, view_id, values: {block_id: {action_id: value}}}`.

        Inputs that the client of Slack checks by itself (required, too long) answer `invalid_input` with `errors` and
        send nothing.
        """
        person = self._person(body)
        view = self._view_of(person, body)
        values = read_values(view, body.get("values") or {})
        if errors := input_errors(view, values):
            return {"ok": False, "delivered": False, "ack": None, "error": "invalid_input", "errors": errors}
        view["state"] = {"values": values}
        payload = payloads.submission_payload(self._workspace, person, view)
        delivery = await self._ways.deliver("interactive", payload, accepts_response=True)
        if delivery.error is not None:
            return _outcome(delivery)
        return self._after_submission(view, delivery)

    async def close(self, body: Json) -> Json:
        """A person closes a view: `{user, view_id}`. The bot does not ask to be told."""
        view = self._view_of(self._person(body), body)
        self._workspace.views.close(view["id"])
        self._workspace.save()
        return {"ok": True}

    # What tests order

    async def replay(self, body: Json) -> Json:
        """The same envelope again: `{envelope_id, times?}`. What the acknowledgements carry is not shown to anybody."""
        try:
            deliveries = await self._ways.replay(str(body.get("envelope_id")), int(body.get("times", 1)))
        except KeyError as exc:
            raise MethodError("unknown_envelope") from exc
        return {
            "ok": all(delivery.error is None for delivery in deliveries),
            "deliveries": [_outcome(delivery) for delivery in deliveries],
        }

    async def set_request_url(self, body: Json) -> Json:
        """Somebody sets the request URL in the app's settings: `{url}`; from then on HTTP mode. Empty: Socket Mode again."""
        self._workspace.set_request_url(str(body.get("url") or ""))
        return {"ok": True}

    async def slack_faults(self, body: Json) -> Json:
        """Order troubles, see SlackFaults.order; and `disconnect`: true or a reason of Slack, "close" or "drop"."""
        self._faults.order(body)
        how = body.get("disconnect")
        if how == "drop":
            self._socket.drop()
        elif how == "close":
            await self._socket.close()
        elif how:
            reason = "refresh_requested" if how is True else str(how)
            if reason not in DISCONNECT_REASONS:
                raise invalid_arguments(f"unknown way to disconnect: {reason}")
            await self._socket.announce_end(reason)
        return {"ok": True}

    # Parts

    @property
    def _ways(self) -> SocketMode | HttpMode:
        return self._http if self._workspace.request_url else self._socket

    def _person(self, body: Json) -> Person:
        return payloads.person_of(str(body.get("user")))

    def _channel(self, body: Json) -> Json:
        return self._workspace.channel(str(body.get("channel")))

    def _view_of(self, person: Person, body: Json) -> Json:
        user, view = self._workspace.views.get(str(body.get("view_id")))
        if user != person.id:
            raise MethodError("not_found")
        return view

    def _action(self, blocks: list[Json], body: Json) -> Json:
        action_id, block_id = str(body.get("action_id")), body.get("block_id")
        pair = payloads.find_button(blocks, action_id, block_id)
        if pair is None and body.get("forged"):
            button = {"type": "button", "action_id": action_id, "text": {"type": "plain_text", "text": action_id}}
            pair = {"block_id": block_id or "forged"}, button
        if pair is None:
            raise MethodError("no_such_element")
        return payloads.action_of(self._workspace, *pair, body.get("value"))

    def _tell(self, channel: Json, person: Person, text: str) -> None:
        self._workspace.post_ephemeral(channel["id"], person.id, Content(text=text), author=SLACKBOT)

    def _show_reply(self, channel: Json, person: Person, reply: Json) -> str | None:
        """Show what a command was acknowledged with; answers the error when Slack could not show it."""
        try:
            content = read_content(reply)
            if not content.is_empty:
                self._workspace.post_ephemeral(channel["id"], person.id, content)
        except MethodError as exc:
            self._journal.refusal("slash_commands", exc)
            return exc.code
        return None

    def _after_submission(self, view: Json, delivery: Delivery) -> Json:
        """Show the errors that the acknowledgement of a view_submission names beside the inputs, or close the view."""
        ack = delivery.ack or {}
        action, errors, error = ack.get("response_action"), ack.get("errors"), None
        try:
            if action is None:
                self._workspace.views.close(view["id"])
            elif action != "errors":
                raise invalid_arguments(f"the sandbox does not know the response_action {action}")
            elif not errors or not errors.keys() <= {block["block_id"] for block in input_blocks(view)}:
                raise invalid_arguments("errors must name input blocks of the view", "/errors")
        except MethodError as exc:
            self._journal.refusal("view_submission", exc)
            error = exc.code
        self._workspace.save()
        return _outcome(delivery, error) | {"response_action": action, "errors": errors}


def _json_route(action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A route for an action. Only JSON is taken, so that no other page in the browser can act here."""

    async def handle(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.json_response({"ok": False, "error": "json_required"}, status=415)
        try:
            body: Any = json.loads(await request.text())
            if not isinstance(body, dict):
                raise MethodError("json_not_object")
            return web.json_response(await action(body))
        except json.JSONDecodeError:
            return web.json_response({"ok": False, "error": "invalid_json"}, status=400)
        except MethodError as exc:
            return web.json_response(exc.answer(), status=404 if exc.code in _NOT_FOUND else 400)

    return handle


def _outcome(delivery: Delivery, error: str | None = None) -> Json:
    answer = asdict(delivery)
    answer["error"] = delivery.error or error
    return {"ok": answer["error"] is None, **answer}


def _shown_person(person: Person) -> Json:
    return {
        "id": person.id,
        "name": person.name,
        "handle": person.handle,
        "role": person.role,
        "title": person.title,
        "guest": person.guest,
        "avatar_color": person.avatar_color,
    }


def _order(ts: str) -> tuple[int, int]:
    seconds, _, fraction = ts.partition(".")
    return int(seconds), int(fraction)
