"""Kind ``queue_pause``: the product's work queue can be paused, and goes on afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from clients.answers import reading
from clients.http import http_errors
from clients.needs import API, Changes, Need
from clients.target import require


class QueuePauseParams(Params):
    """The length of the pause."""

    seconds: float = Field(default=0, ge=0, description="How long it lasts.")


class QueuePause(Kind):
    """PASS if the queue says that it is paused. Afterwards it is resumed in any case."""

    name = "queue_pause"
    summary = "The product's work queue can be paused"
    params = QueuePauseParams
    timeout = 60.0

    def needs(self, params: QueuePauseParams) -> tuple[Need, ...]:
        """The queue, which no other check may use at the same time, and the address of the product."""
        return (Changes("queue"), API)

    def run(self, params: QueuePauseParams, ctx: CheckContext) -> Answer:
        """Pause the queue, read its state, resume it. Raises CheckError if the product doesn't answer."""
        with self.undo_after("the pause of the work queue", {}, ctx):
            self._set(ctx, pause=True)
            if params.seconds:
                ctx.wait(params.seconds)
            body = self._get(ctx)
            with reading("the product", "the state of its queue", body):
                is_paused = body["paused"]
        evidence = Evidence(asked=f"PUT {self._url(ctx)}", expected="paused", seen=f"paused: {is_paused}")
        if not is_paused:
            hint = "Look at the log of the product's workers."
            return Answer(Outcome.FAIL, "the queue works on although it was paused", evidence, hint=hint)
        return Answer(Outcome.PASS, "paused, and goes on", evidence)

    def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
        """Resume the queue, which may be done more than once."""
        self._set(ctx, pause=False)

    def _url(self, ctx: CheckContext) -> str:
        return f"{str(require(ctx.target.api_url, ctx.target, 'api_url')).rstrip('/')}/api/queue"

    def _get(self, ctx: CheckContext) -> Any:
        with http_errors("look at the queue"):
            return ctx.clients.http().get(self._url(ctx)).raise_for_status().json()

    def _set(self, ctx: CheckContext, *, pause: bool) -> None:
        with http_errors("pause the queue" if pause else "let the queue go on"):
            ctx.clients.http().put(self._url(ctx), json={"paused": pause}).raise_for_status()
