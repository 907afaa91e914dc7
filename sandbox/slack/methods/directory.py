"""The users and usergroups methods: who is who, and who may do what."""

from sandbox.slack.limits import TIER_2, TIER_4
from sandbox.slack.methods.call import Call, Method, page_of
from sandbox.slack.people import EVERYBODY, USER_GROUPS
from sandbox.slack.shapes import Json, SlackError


def users_info(call: Call) -> Json:
    """docs.slack.dev/reference/methods/users.info"""
    person = EVERYBODY.get(call.require("user"))
    if person is None:
        raise SlackError("user_not_found")
    return {"user": person.as_slack_user()}


def users_list(call: Call) -> Json:
    """docs.slack.dev/reference/methods/users.list"""
    page, cursor = page_of(call, [person.as_slack_user() for person in EVERYBODY.values()])
    return {
        "members": page,
        "cache_ts": int(call.workspace.clock()),
        "response_metadata": {"next_cursor": cursor},
    }


def usergroups_list(call: Call) -> Json:
    """docs.slack.dev/reference/methods/usergroups.list"""
    include_users = call.flag("include_users")
    groups = [group.as_slack_usergroup(include_users=include_users) for group in USER_GROUPS.values()]
    return {"usergroups": groups}


def usergroups_users_list(call: Call) -> Json:
    """docs.slack.dev/reference/methods/usergroups.users.list"""
    group = USER_GROUPS.get(call.require("usergroup"))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group.users)}


METHODS = {
    "users.info": Method(users_info, "users:read", TIER_4),
    "users.list": Method(users_list, "users:read", TIER_2),
    "usergroups.list": Method(usergroups_list, "usergroups:read", TIER_2),
    "usergroups.users.list": Method(usergroups_users_list, "usergroups:read", TIER_2),
}
