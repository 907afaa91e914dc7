"""P3: who somebody is and which roles they hold is what Slack says at that moment; whoever is in doubt is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bot.domain.actor import Actor
from bot.domain.ids import UserId
from bot.domain.policy import Role
from bot.errors import IdentityUnknown, NotAllowed
from bot.settings import Roles
from bot.slack import checkup
from bot.slack.client import web_client
from bot.slack.identity import Identity, Installation
from tests.checks.replies import Replies, Reply
from tests.integration.slack_bot import GROUPS
from tests.sandbox.slack_world import DEV, GUS, QUINN, RITA, SlackWorld

HERE = Installation(team="T0SOLVE001", enterprise="E0OURS0001", bot_user="U0BOT00001")
MEMBER = {"id": RITA, "team_id": "T0SOLVE001"}


@contextmanager
def directory(
    user: dict[str, Any] | Reply, groups: Reply | dict[str, dict[str, Any]] | None = None
) -> Iterator[tuple[str, Replies]]:
    """A Slack with one answer to users.info and one about all user groups."""
    who = user if isinstance(user, Reply) else Reply(200, {"ok": True, "user": user})
    if not isinstance(groups, Reply):
        group_list = [{"id": name, **more} for name, more in (groups or {}).items()]
        groups = Reply(200, {"ok": True, "usergroups": group_list})
    replies_by_method = {"users.info": who, "usergroups.list": groups}
    with Replies(
        {f"{verb} /{name}": replies_by_method[name] for name in replies_by_method for verb in ("GET", "POST")}
    ) as replies:
        yield replies.url + "/", replies


def group(*users: str) -> dict[str, Any]:
    """A user group with these members, as Slack describes it."""
    return {"users": list(users)}


def error_reply(code: str) -> Reply:
    """The reply with which Slack refuses a call."""
    return Reply(200, {"ok": False, "error": code})


def actor_of(url: str, user: str, roles: Roles = GROUPS) -> Actor:
    """The actor of ``user``, according to the Slack at ``url``."""
    return Identity(web_client("xoxb-1", url), roles, HERE).actor(user)


# With the sandbox's workspace


@pytest.mark.parametrize(
    ("user", "roles"),
    [(RITA, {Role.RELEASE_MANAGER}), (QUINN, {Role.QA}), ("U0PAT00001", {Role.PRODUCT}), (DEV, set())],
)
def test_a_member_has_the_roles_of_their_user_groups(slack: SlackWorld, user: str, roles: set[Role]):
    """Members of a group have its role, and a member of none is an Actor without roles."""
    client = web_client(slack.server.bot_token, slack.url + "api/")

    assert Identity(client, GROUPS, checkup.workspace(client)).actor(user) == Actor(UserId(user), frozenset(roles))


@pytest.mark.parametrize(
    ("user", "why"),
    [
        (GUS, "You belong to another workspace. Only members of this one can do that."),
        ("U0BOT00001", "Bots and workflows can't do that."),
        ("U0NOBODY01", "Slack doesn't know you in this workspace."),
    ],
)
def test_an_outsider_is_refused(slack: SlackWorld, user: str, why: str):
    """Guests of another company, bots and strangers are refused."""
    client = web_client(slack.server.bot_token, slack.url + "api/")
    identity = Identity(client, GROUPS, checkup.workspace(client))
    with pytest.raises(NotAllowed) as error:
        identity.actor(user)

    assert error.value.user_message == why


def test_a_lost_role_is_gone_at_once(slack: SlackWorld):
    """Roles are never cached: each question asks Slack again."""
    client = web_client(slack.server.bot_token, slack.url + "api/")
    identity = Identity(client, GROUPS, checkup.workspace(client))
    for _ in range(3):
        identity.actor(RITA)

    assert slack.get("calls")["counts"]["users.info"] == 3
    assert slack.get("calls")["counts"]["usergroups.list"] == 3


def test_the_roles_of_approvers_are_read_again(slack: SlackWorld):
    """All groups are read with one call, a guest has no role, and an unknown user is an error."""
    client = web_client(slack.server.bot_token, slack.url + "api/")
    roles = Roles(release_manager=(RITA, GUS, "U0NOBODY01"), qa=("S0QA000001",))
    identity = Identity(client, roles, checkup.workspace(client))
    assert identity.roles_of([UserId(user) for user in (RITA, QUINN, GUS, DEV, "U0NOBODY01")]) == {
        RITA: {Role.RELEASE_MANAGER}, QUINN: {Role.QA}, GUS: set(), DEV: set(), "U0NOBODY01": set(),
    }  # fmt: skip
    assert slack.get("calls")["counts"]["usergroups.list"] == 1
    with directory(error_reply("internal_error"), {}) as (url, _), pytest.raises(IdentityUnknown) as error:
        Identity(web_client("xoxb-1", url), GROUPS, HERE).roles_of([UserId(RITA)])
    message = f"Slack didn't say who <@{RITA}> is (internal_error), so nothing was done."
    assert error.value.user_message == message


# With answers that the sandbox does not give


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"deleted": True}, "This account is deactivated."),
        ({"is_bot": True}, "Bots and workflows can't do that."),
        ({"is_app_user": True}, "Bots and workflows can't do that."),
        ({"is_workflow_bot": True}, "Bots and workflows can't do that."),
        ({"is_connector_bot": True}, "Bots and workflows can't do that."),
        ({"is_restricted": True}, "Guests can't do that."),
        ({"is_ultra_restricted": True}, "Guests can't do that."),
        ({"is_stranger": True}, "You belong to another workspace. Only members of this one can do that."),
        ({"team_id": "T0OTHER001"}, "You belong to another workspace. Only members of this one can do that."),
        ({"team_id": None}, "You belong to another workspace. Only members of this one can do that."),
        (
            {"team_id": "T0OTHER001", "enterprise_user": {"enterprise_id": "E0OTHER001", "teams": ["T0OTHER001"]}},
            "You belong to another workspace. Only members of this one can do that.",
        ),
        ({"is_invited_user": True}, "This account isn't active yet."),
    ],
)
def test_everybody_but_a_full_member_is_refused(flags: dict[str, Any], why: str):
    """Each of these flags is enough, even in a group with a role."""
    with directory({**MEMBER, **flags}, {"S0RELMGR01": group(RITA)}) as (url, _), pytest.raises(NotAllowed) as error:
        actor_of(url, RITA)

    assert error.value.user_message == why


@pytest.mark.parametrize(
    "grid",
    [
        {"id": "W0RITA0001", "enterprise_id": "E0OURS0001", "teams": ["T0SOLVE001"]},
        {"id": "W0RITA0001", "enterprise_id": "E0OURS0001", "teams": ["T0ELSE0001"]},
    ],
)
@pytest.mark.parametrize("configured_id", ["U0RITA0001", "W0RITA0001"])
@pytest.mark.parametrize("click_id", ["U0RITA0001", "W0RITA0001"])
def test_a_person_on_grid_is_one_under_both_ids(grid: dict[str, Any], configured_id: str, click_id: str):
    """A role may be configured with either id, and the Actor is the same for both."""
    user = {"id": "U0RITA0001", "team_id": "T0ELSE0001", "enterprise_user": grid}
    with directory(user, {"S0QA000001": group("W0RITA0001")}) as (url, _):
        actor = actor_of(url, click_id, Roles(release_manager=(configured_id,), qa=("S0QA000001",)))

    assert actor == Actor(UserId("W0RITA0001"), frozenset({Role.RELEASE_MANAGER, Role.QA}))


def test_a_configured_user_id_has_the_role():
    """Teams without user groups name people, and then no group is read."""
    with directory(MEMBER) as (url, replies):
        actor = actor_of(url, RITA, Roles(release_manager=(RITA,), product=("U0ELSE0001", RITA)))

    assert actor.roles == {Role.RELEASE_MANAGER, Role.PRODUCT}
    assert len(replies.requests) == 1


@pytest.mark.parametrize("managers", [{"S0RELMGR01": group()}, {"S0RELMGR01": {}}, {}])
def test_an_unusable_group_has_nobody(managers: dict[str, dict[str, Any]]):
    """Other groups still count, and Slack leaves out a disabled group."""
    with directory(MEMBER, {**managers, "S0QA000001": group(RITA)}) as (url, _):
        actor = actor_of(url, RITA)

    assert actor.roles == {Role.QA}


@pytest.mark.parametrize(
    "answer",
    [
        error_reply("internal_error"),
        error_reply("missing_scope"),
        Reply(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"}),
        Reply(503, "<html>no</html>"),
        Reply(200, "<html>a proxy</html>"),
    ],
)
def test_a_user_that_slack_does_not_tell_is_unknown(answer: Reply):
    """An unknown user is refused with another error than one without a role."""
    with directory(answer) as (url, _), pytest.raises(IdentityUnknown) as error:
        actor_of(url, RITA)

    assert error.value.user_message.startswith("Slack didn't say who you are (")
    assert "html" not in error.value.user_message


def test_a_group_that_slack_does_not_tell_makes_the_person_unknown():
    """An unknown group is not an empty one."""
    with directory(MEMBER, error_reply("internal_error")) as (url, _), pytest.raises(IdentityUnknown):
        actor_of(url, RITA)


def test_an_unreachable_slack_makes_the_person_unknown():
    """A Slack on a closed port does not answer."""
    with pytest.raises(IdentityUnknown, match=r"\(no_answer\)"):
        actor_of("http://127.0.0.1:1/", RITA)


def test_the_holders_of_a_role_are_read_from_slack(slack: SlackWorld):
    """They are the named people and the members of the groups, each once."""
    client = web_client(slack.server.bot_token, slack.url + "api/")
    roles = Roles(release_manager=("S0RELMGR01", RITA, DEV), qa=("S0GONE0001",))
    identity = Identity(client, roles, checkup.workspace(client))

    assert identity.holders(Role.RELEASE_MANAGER) == [DEV, "U0MAX00001", RITA]
    assert identity.holders(Role.QA) == []
