"""HTTP mode: Slack's deliveries as signed requests, for where no Socket Mode is wanted. Same listeners, same inbox."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from slack_bolt import App
from slack_bolt.request import BoltRequest

from bot.clock import Clock
from bot.slack.signature import refusal
from bot.web import WebPage

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

logger = logging.getLogger(__name__)

PATH = "/slack/events"  # of the request URL, for commands and for interactivity


class Endpoint:
    """Takes a request only when Slack has signed it, then gives it to Bolt, which answers once the inbox has it."""

    def __init__(self, app: App, signing_secret: str, clock: Clock) -> None:
        self._app, self._secret, self._clock = app, signing_secret, clock

    def __call__(self, environ: WSGIEnvironment) -> WebPage:
        """The answer to one request: 401 unless it is Slack's, 503 when it cannot be stored now."""
        if environ["REQUEST_METHOD"] != "POST":
            return WebPage(HTTPStatus.METHOD_NOT_ALLOWED, b"Slack sends POST\n")
        body: bytes = environ["wsgi.input"].read()  # the server holds it, and no more than it allows
        why = refusal(
            self._secret,
            environ.get("HTTP_X_SLACK_REQUEST_TIMESTAMP", ""),
            environ.get("HTTP_X_SLACK_SIGNATURE", ""),
            body,
            self._clock.now().timestamp(),
        )
        if why:
            logger.warning("refused a request to %s: %s", PATH, why)
            return WebPage(HTTPStatus.UNAUTHORIZED, b"not signed by Slack\n")
        if retry := environ.get("HTTP_X_SLACK_RETRY_NUM"):
            logger.info("Slack sends a delivery again (%s): %s", retry, environ.get("HTTP_X_SLACK_RETRY_REASON", ""))
        try:
            headers = {"content-type": environ.get("CONTENT_TYPE", "")}
            request = BoltRequest(body=body.decode(), headers=headers)
        except ValueError:  # neither UTF-8 nor JSON where Slack's payload has it
            return WebPage(HTTPStatus.BAD_REQUEST, b"cannot be read\n")
        answer = self._app.dispatch(request)
        kind = answer.first_headers().get("content-type", "text/plain; charset=utf-8")
        return WebPage(HTTPStatus(answer.status), (answer.body or "").encode(), kind)
