"""The views methods: open a modal."""

import json

from sandbox.slack.blocks import check_view
from sandbox.slack.limits import TIER_4
from sandbox.slack.methods.call import Call, Method
from sandbox.slack.shapes import Json, Problem, SlackError

MAX_VIEW_BYTES = 250_000


def views_open(call: Call) -> Json:
    """docs.slack.dev/reference/methods/views.open"""
    view = call.decoded("view")
    if problems := check_view(view):
        at_view = [Problem("/view" + problem.pointer, problem.code, problem.message) for problem in problems]
        raise SlackError("invalid_arguments", problems=at_view)
    if len(json.dumps(view, ensure_ascii=False).encode()) > MAX_VIEW_BYTES:
        raise SlackError("view_too_large")
    opened = call.workspace.views.open(call.workspace.triggers.redeem(call.require("trigger_id")), view)
    call.workspace.save()
    return {"view": opened}


METHODS = {"views.open": Method(views_open, None, TIER_4, frozenset({"trigger_id", "view"}))}
