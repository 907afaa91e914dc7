"""Methods about the app itself: auth.test, apps.connections.open, blocks.validate, team.info."""

from sandbox.slack.blocks import check_blocks, check_message, check_view
from sandbox.slack.limits import GENEROUS, TIER_1, TIER_3
from sandbox.slack.methods.call import Call, Method
from sandbox.slack.people import APP_ID, BOT, BOT_ID, BOT_USER_ID, TEAM_ID, TEAM_NAME
from sandbox.slack.shapes import Json, SlackError, invalid_arguments


def auth_test(_call: Call) -> Json:
    """docs.slack.dev/reference/methods/auth.test"""
    return {
        "url": f"https://{TEAM_NAME}.slack.com/",
        "team": TEAM_NAME,
        "user": BOT.handle,
        "team_id": TEAM_ID,
        "user_id": BOT_USER_ID,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def apps_connections_open(call: Call) -> Json:
    """docs.slack.dev/reference/methods/apps.connections.open"""
    if not call.workspace.manifest.socket_mode:
        raise SlackError("socket_mode_not_enabled")
    socket_url = call.workspace.base_url.replace("http", "ws", 1)
    return {"url": f"{socket_url}link/?ticket={call.workspace.tickets.issue()}&app_id={APP_ID}"}


def blocks_validate(call: Call) -> Json:
    """Check blocks, a view or a message without posting it; needs no token."""
    for name, check in (("blocks", check_blocks), ("view", check_view), ("message", check_message)):
        if name in call.args:
            problems = check(call.decoded(name))
            if problems:
                errors = [{"pointer": p.pointer, "code": p.code, "message": p.message} for p in problems]
                return {"ok": False, "error": f"invalid_{name}", "errors": errors}
            return {}
    raise invalid_arguments("one of blocks, view and message is required")


def team_info(_call: Call) -> Json:
    """docs.slack.dev/reference/methods/team.info"""
    return {"team": {"id": TEAM_ID, "name": TEAM_NAME, "domain": TEAM_NAME, "email_domain": "", "icon": {}}}


METHODS = {
    "auth.test": Method(auth_test, None, GENEROUS),
    "apps.connections.open": Method(apps_connections_open, None, TIER_1, token="app"),
    "blocks.validate": Method(blocks_validate, None, GENEROUS, token="none"),
    "team.info": Method(team_info, "team:read", TIER_3),
}
