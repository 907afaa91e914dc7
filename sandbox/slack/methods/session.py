"""Methods about the app itself: auth.test and apps.connections.open."""

from sandbox.slack.limits import GENEROUS, TIER_1
from sandbox.slack.methods.call import Method, MethodCall
from sandbox.slack.people import APP_ID, BOT, BOT_ID, BOT_USER_ID, TEAM_ID, TEAM_NAME
from sandbox.slack.shapes import Json, MethodError


def auth_test(_call: MethodCall) -> Json:
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


def apps_connections_open(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/apps.connections.open"""
    if not call.workspace.manifest.socket_mode:
        raise MethodError("socket_mode_not_enabled")
    socket_url = call.workspace.base_url.replace("http", "ws", 1)
    return {"url": f"{socket_url}link/?ticket={call.workspace.tickets.issue()}&app_id={APP_ID}"}


METHODS = {
    "auth.test": Method(auth_test, None, GENEROUS),
    "apps.connections.open": Method(apps_connections_open, None, TIER_1, token="app"),
}
