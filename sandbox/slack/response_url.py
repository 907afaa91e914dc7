"""Response URLs: what a bot posts to the address that came with an interaction."""

from aiohttp import web

from sandbox.slack.content import Content, read_content
from sandbox.slack.journal import Journal
from sandbox.slack.people import BOT_USER_ID
from sandbox.slack.shapes import Json, SlackError
from sandbox.slack.web_api import read_args
from sandbox.slack.workspace import Workspace

_GONE = ("used_url", "expired_url", "invalid_url")


class ResponseUrlRoutes:
    """The addresses under /commands/ and /actions/."""

    def __init__(self, workspace: Workspace, journal: Journal) -> None:
        self._workspace = workspace
        self._journal = journal

    def add_routes(self, app: web.Application) -> None:
        """Serve the addresses of commands and of clicks."""
        app.router.add_post("/{kind:commands|actions}/{team}/{grant}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        args: Json = {}
        try:
            args = await read_args(request)
            grant = self._workspace.response_urls.look_up(request.match_info["grant"])
            self._respond(grant, args)
            self._workspace.response_urls.spend(grant)
        except SlackError as exc:
            self._journal.refusal("response_url", exc)
            self._journal.call("response_url", args, exc.code)
            return web.json_response(exc.answer(), status=404 if exc.code in _GONE else 400)
        self._workspace.save()
        self._journal.call("response_url", args, None)
        return web.Response(text="ok")

    def _respond(self, grant: Json, args: Json) -> None:
        """Delete or replace the message that was clicked, or say something new. Slack's defaults: new, ephemeral."""
        if args.get("delete_original") and grant["ts"]:
            self._replace(grant, None)
            return
        content = read_content(args, limit_blocks_text=False)
        if content.empty:
            raise SlackError("no_text")
        if args.get("replace_original") and grant["ts"]:
            self._replace(grant, content)
        elif args.get("response_type") == "in_channel":
            self._workspace.post(grant["channel"], BOT_USER_ID, content, thread_ts=args.get("thread_ts"))
        else:
            self._workspace.post_ephemeral(grant["channel"], grant["user"], content, args.get("thread_ts"))

    def _replace(self, grant: Json, content: Content | None) -> None:
        channel, ts = grant["channel"], grant["ts"]
        if grant["ephemeral"]:
            self._workspace.replace_ephemeral(grant["user"], channel, ts, content)
        elif content is None:
            self._workspace.delete(channel, ts)
        else:
            self._workspace.edit(channel, ts, content)
