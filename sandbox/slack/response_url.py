"""Response URLs: what a bot posts to the address that came with an interaction."""

from aiohttp import web

from sandbox.slack.content import read_content
from sandbox.slack.journal import CallLog
from sandbox.slack.shapes import Json, MethodError, invalid_arguments
from sandbox.slack.web_api import read_args
from sandbox.slack.workspace import Workspace

_GONE_ERRORS = ("used_url", "expired_url", "invalid_url")
_ARGUMENTS = {"text", "blocks", "response_type", "replace_original"}


class ResponseUrlRoutes:
    """The addresses under /commands/ and /actions/."""

    def __init__(self, workspace: Workspace, journal: CallLog) -> None:
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
        except MethodError as exc:
            self._journal.refusal("response_url", exc)
            self._journal.call("response_url", args, exc.code)
            return web.json_response(exc.answer(), status=404 if exc.code in _GONE_ERRORS else 400)
        self._workspace.save()
        self._journal.call("response_url", args, None)
        return web.Response(text="ok")

    def _respond(self, grant: Json, args: Json) -> None:
        """Say something new to the one who clicked or typed, which is Slack's default and all that the bot asks for."""
        if args.keys() - _ARGUMENTS or args.get("replace_original") or args.get("response_type") == "in_channel":
            raise invalid_arguments("the sandbox only answers the person: no replacing, nothing for the channel")
        content = read_content(args, limit_blocks_text=False)
        if content.is_empty:
            raise MethodError("no_text")
        self._workspace.post_ephemeral(grant["channel"], grant["user"], content)
