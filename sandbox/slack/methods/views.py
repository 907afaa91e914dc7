"""The views methods: open, push and update modals."""

import json

from sandbox.slack.blocks import check_view
from sandbox.slack.limits import TIER_4
from sandbox.slack.methods.call import Call, Method
from sandbox.slack.shapes import Json, Problem, SlackError, invalid_arguments

MAX_VIEW_BYTES = 250_000


def views_open(call: Call) -> Json:
    """docs.slack.dev/reference/methods/views.open"""
    view = _view(call)
    return _shown(call, call.workspace.views.open(call.workspace.triggers.redeem(call.require("trigger_id")), view))


def views_push(call: Call) -> Json:
    """docs.slack.dev/reference/methods/views.push"""
    view = _view(call)
    return _shown(call, call.workspace.views.push(call.workspace.triggers.redeem(call.require("trigger_id")), view))


def views_update(call: Call) -> Json:
    """docs.slack.dev/reference/methods/views.update"""
    view_id, external_id = call.text("view_id"), call.text("external_id")
    if not (view_id or external_id):
        raise invalid_arguments("one of view_id and external_id is required")
    return _shown(call, call.workspace.views.update(view_id, external_id, _view(call), call.text("hash")))


def require_valid_view(view: object) -> Json:
    """The view, when it keeps every rule. Raises SlackError: invalid_arguments, view_too_large."""
    problems = check_view(view)
    if problems:
        at_view = [Problem("/view" + problem.pointer, problem.code, problem.message) for problem in problems]
        raise SlackError("invalid_arguments", problems=at_view)
    if not isinstance(view, dict):
        raise invalid_arguments("must be an object", "/view")
    if len(json.dumps(view, ensure_ascii=False).encode()) > MAX_VIEW_BYTES:
        raise SlackError("view_too_large")
    return view


def _view(call: Call) -> Json:
    return require_valid_view(call.decoded("view"))


def _shown(call: Call, view: Json) -> Json:
    call.workspace.save()
    return {"view": view}


METHODS = {
    "views.open": Method(views_open, None, TIER_4),
    "views.push": Method(views_push, None, TIER_4),
    "views.update": Method(views_update, None, TIER_4),
}
