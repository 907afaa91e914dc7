"""The views methods: open a modal."""

import json

from sandbox.slack.blocks import check_view
from sandbox.slack.limits import TIER_4
from sandbox.slack.methods.call import Method, MethodCall
from sandbox.slack.shapes import BlockProblem, Json, MethodError

MAX_VIEW_BYTES = 250_000


def views_open(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/views.open"""
    view = call.read_json("view")
    if problems := check_view(view):
        at_view = [BlockProblem("/view" + problem.pointer, problem.code, problem.message) for problem in problems]
        raise MethodError("invalid_arguments", problems=at_view)
    if len(json.dumps(view, ensure_ascii=False).encode()) > MAX_VIEW_BYTES:
        raise MethodError("view_too_large")
    new_view = call.workspace.views.open(call.workspace.triggers.redeem(call.require("trigger_id")), view)
    call.workspace.save()
    return {"view": new_view}


METHODS = {"views.open": Method(views_open, None, TIER_4, frozenset({"trigger_id", "view"}))}
