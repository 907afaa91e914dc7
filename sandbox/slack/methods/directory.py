"""The users and usergroups methods: who is who, and who may do what."""

from sandbox.slack.limits import TIER_2, TIER_4
from sandbox.slack.methods.call import Method, MethodCall
from sandbox.slack.people import EVERYBODY, USER_GROUPS
from sandbox.slack.shapes import Json, MethodError


def users_info(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/users.info"""
    person = EVERYBODY.get(call.require("user"))
    if person is None:
        raise MethodError("user_not_found")
    return {"user": person.as_slack_user()}


def usergroups_list(call: MethodCall) -> Json:
    """docs.slack.dev/reference/methods/usergroups.list"""
    include_users = call.flag("include_users")
    groups = [group.as_slack_usergroup(include_users=include_users) for group in USER_GROUPS.values()]
    return {"usergroups": groups}


METHODS = {
    "users.info": Method(users_info, "users:read", TIER_4, frozenset({"user"})),
    "usergroups.list": Method(
        usergroups_list, "usergroups:read", TIER_2, frozenset({"include_users", "include_disabled"})
    ),
}
