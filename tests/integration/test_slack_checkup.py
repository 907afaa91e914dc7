"""What the bot finds out about its own place in Slack, and that a good start says nothing of trouble."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from bot.app import Application
from bot.domain.policy import Policy
from bot.errors import NotAllowed
from bot.flows.start import refuse_channel
from bot.redact import Redactor
from bot.settings import Roles, Settings, SharedChannel, Slack
from bot.slack.checkup import channel_access, examine, needed_scopes, workspace
from bot.slack.client import SlackError, web_client
from bot.slack.identity import Installation
from bot.slack.role_checkup import examine_roles
from checks.checkup.finding import Finding, State
from sandbox.slack.manifest import read_manifest
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.integration.slack_bot import MAX, Bot
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, GENERAL, GUS, QUINN, RELEASES, RITA, SlackWorld, eventually

MANIFEST = Path(__file__).parents[2] / "manifest.yml"
pytestmark = CLIENT_LEAKS_SOCKETS
GOOD_TOKEN = Finding(State.OK, "the bot token works for the workspace solvereign")
ALL_SCOPES = Finding(State.OK, "the token has every scope the bot needs")

BOT_TOKEN = (
    "Set SLACK_BOT_TOKEN to the bot token (xoxb-…): OAuth & Permissions on the app's page, once the app is installed."
)
APP_TOKEN = (
    "Set SLACK_APP_TOKEN to the app-level token (xapp-…) with connections:write: Basic Information on the app's page."
)


def examine_slack(api_url: str, settings: Slack, token: str = "xoxb-1") -> list[Finding]:
    """The findings with a token and settings, under a policy that can be met."""
    return examine(web_client(token, api_url), settings, None)


def examine_channel(
    channel: dict[str, Any] | str, *, lacks: str = "", rule: SharedChannel = SharedChannel.REFUSE
) -> list[Finding]:
    """The findings if #releases is ``channel`` or an error, and the token lacks the scope ``lacks``."""
    scopes = ",".join(sorted(needed_scopes() - {lacks}))
    channel_body = {"ok": False, "error": channel} if isinstance(channel, str) else {"ok": True, "channel": channel}
    auth = Reply(200, {"ok": True, "team": "solvereign", "team_id": "T1", "user_id": "U1"}, {"x-oauth-scopes": scopes})
    info = Reply(200, channel_body)
    with Replies({"POST /auth.test": auth, "GET /conversations.info": info, "POST /conversations.info": info}) as slack:
        return examine_slack(slack.url + "/", Slack(channel=RELEASES, shared_channel=rule))


def test_the_workspace_of_the_token_is_read(slack: SlackWorld):
    """auth.test says where the app is installed."""
    client = web_client(slack.server.bot_token, slack.url + "api/")

    assert workspace(client) == Installation(team="T0SOLVE001", enterprise="", bot_user="U0BOT00001")


def test_a_wrong_token_is_an_error_at_the_start(slack: SlackWorld):
    """Without a workspace the bot cannot know its members."""
    with pytest.raises(SlackError, match=r"Slack answered invalid_auth to auth\.test\.") as error:
        workspace(web_client("xoxb-wrong", slack.url + "api/"))
    assert error.value.hint == BOT_TOKEN
    with Replies({"POST /auth.test": Reply(200, {"ok": True, "app_id": "A1"})}) as of_the_app:
        with pytest.raises(SlackError) as app:
            workspace(web_client("xapp-1", of_the_app.url + "/"))
        (finding,) = examine_slack(of_the_app.url + "/", Slack(channel=RELEASES), "xapp-1")
    assert finding == Finding(State.MISSING, "Slack refuses the bot token: not_allowed_token_type", BOT_TOKEN)
    assert (app.value.code, app.value.hint) == ("not_allowed_token_type", BOT_TOKEN)


@pytest.mark.parametrize(
    ("method", "code", "hint"),
    [
        ("apps.connections.open", "not_allowed_token_type", APP_TOKEN),
        ("apps.connections.open", "missing_scope", APP_TOKEN),
        ("apps.connections.open", "socket_mode_not_enabled", "Turn on Socket Mode "),
        ("pins.add", "token_revoked", BOT_TOKEN),
        ("pins.add", "missing_scope", "Install the app again from manifest.yml."),
        ("auth.test", "no_answer", "Check slack.api_url"),
        ("pins.add", "too_many_pins", ""),
    ],
)
def test_an_error_of_slack_has_a_hint(method: str, code: str, hint: str):
    """The hint names the token and where it comes from, or is empty if nobody can do anything."""
    error = SlackError(method, code)
    assert error.hint.startswith(hint)
    assert bool(error.hint) is bool(hint)


def test_a_complete_setup_has_good_findings():
    """Token, scopes and channel have one sentence each."""
    assert examine_channel({"name": "releases", "is_member": True}) == [
        GOOD_TOKEN, ALL_SCOPES, Finding(State.OK, "the bot is in #releases"),
    ]  # fmt: skip


def test_a_wrong_token_is_the_only_finding(slack: SlackWorld):
    """Nothing else can be examined with a wrong token."""
    assert examine_slack(slack.url + "api/", Slack(channel=RELEASES), "xoxb-wrong") == [
        Finding(
            State.MISSING,
            "Slack refuses the bot token: invalid_auth",
            BOT_TOKEN,
        )
    ]


def test_an_unreachable_slack_is_the_only_finding():
    """The token is not called wrong."""
    assert examine_slack(closed_port_url() + "/", Slack(channel=RELEASES)) == [
        Finding(
            State.UNREACHABLE,
            "Slack doesn't answer",
            "Check slack.api_url, and that Slack can be reached from here.",
        )
    ]


def test_a_missing_scope_is_named():
    """The finding names the scope and what to do."""
    assert examine_channel({"name": "releases", "is_member": True}, lacks="pins:write")[1] == Finding(
        State.MISSING, "the token lacks pins:write", "Install the app again from manifest.yml."
    )


@pytest.mark.parametrize(
    ("channel", "findings"),
    [
        (
            {"name": "releases", "is_member": False},
            [Finding(State.MISSING, "the bot is not in #releases", "Type /invite @Release Bot in #releases.")],
        ),
        (
            {"name": "releases", "is_member": True, "is_archived": True},
            [
                Finding(State.OK, "the bot is in #releases"),
                Finding(State.MISSING, "#releases is archived", "Unarchive it, or set another slack.channel."),
            ],
        ),
        (
            "channel_not_found",
            [
                Finding(
                    State.MISSING,
                    "Slack doesn't show the channel C0RELEASES1: channel_not_found",
                    "Check that it is the channel's id (C…). If the channel is private, type /invite @Release Bot in it.",
                )
            ],
        ),
    ],
)
def test_a_problem_with_the_channel_is_named(channel: dict[str, Any] | str, findings: list[Finding]):
    """Each problem with the channel has a hint."""
    assert examine_channel(channel) == [GOOD_TOKEN, ALL_SCOPES, *findings]


READ_BY_OTHERS = "People of the other organisation see every message. The bot refuses their clicks."
TAKE_OUT = "Take the other organisation out of the channel, or set another slack.channel."


@pytest.mark.parametrize(
    ("flag", "rule", "finding"),
    [
        ("is_ext_shared", SharedChannel.REFUSE, (State.MISSING, "shared with another organisation", TAKE_OUT)),
        ("is_ext_shared", SharedChannel.WARN, (State.NOTE, "shared with another organisation", READ_BY_OTHERS)),
        *[
            (flag, rule, (State.NOTE, "about to be shared with another organisation", "Once they accept"))
            for flag in ("is_pending_ext_shared", "pending_connected_team_ids")
            for rule in SharedChannel
        ],
        (
            "is_org_shared",
            SharedChannel.REFUSE,
            (State.NOTE, "shared with other workspaces of your", "People of those"),
        ),
    ],
)
def test_a_shared_channel_is_a_problem_only_if_it_is_not_allowed(
    flag: str, rule: SharedChannel, finding: tuple[State, str, str]
):
    """Somebody has to act only if another organisation reads already and that is not allowed."""
    last_finding = examine_channel({"name": "releases", "is_member": True, flag: ["T2"]}, rule=rule)[-1]

    assert last_finding.state is finding[0]
    assert last_finding.what.startswith(f"#releases is {finding[1]}")
    assert last_finding.hint.startswith(finding[2])


def test_a_missing_channel_is_named(slack: SlackWorld):
    """The finding says how to set the channel."""
    assert examine_slack(slack.url + "api/", Slack(), slack.server.bot_token)[-1] == Finding(
        State.MISSING, "no channel is set", "Set slack.channel to the id of #releases (C…)."
    )


def test_a_channel_without_the_bot_is_named(slack: SlackWorld):
    """The bot is not in #general of the sandbox."""
    assert examine_slack(slack.url + "api/", Slack(channel=GENERAL), slack.server.bot_token)[-1] == Finding(
        State.MISSING, "the bot is not in #general", "Type /invite @Release Bot in #general."
    )


def test_the_roles_are_examined(slack: SlackWorld):
    """The findings have the number of people of each role, unknown ids, and whether the policy can be met."""

    def role_findings(roles: Roles, policy: Policy) -> list[tuple[State, str]]:
        client = web_client(slack.server.bot_token, slack.url + "api/")
        findings = examine(client, Slack(channel=RELEASES, roles=roles), policy)
        return [(one.state, one.what) for one in findings if "role" in one.what or "deploy" in one.what]

    good = Roles(release_manager=("S0RELMGR01",), qa=(QUINN, "S0QA000001"), product=())
    assert role_findings(good, Policy()) == [
        (State.OK, "slack.roles.release_manager: 2 people"),
        (State.OK, "slack.roles.qa: 1 person"),
    ]
    bad = Roles(release_manager=("S0TYPO0001", "U0NOBODY01"), qa=(GUS, QUINN))
    assert role_findings(bad, Policy()) == [
        (State.MISSING, "slack.roles.release_manager names S0TYPO0001, which isn't a user group"),
        (State.MISSING, "slack.roles.release_manager names U0NOBODY01, and Slack knows nobody with that id"),
        (State.MISSING, "slack.roles.release_manager: 0 people"),
        (
            State.MISSING,
            f"slack.roles.qa names {GUS}, whom the bot refuses: You belong to another workspace. Only members of this one can do that",
        ),
        (State.OK, "slack.roles.qa: 1 person"),
        (
            State.MISSING,
            "nobody could ever deploy: Release Manager needs one person to sign off, but slack.roles names 0",
        ),
    ]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            {"ok": True, "usergroups": [{"id": "S1A", "handle": "qa", "users": ["U1"], "date_delete": 1700000000}]},
            "slack.roles.qa names the user group @qa (S1A), which is disabled",
        ),
        (
            {"ok": True, "usergroups": [{"id": "S1A", "handle": "qa", "users": []}]},
            "slack.roles.qa names the user group @qa (S1A), which is empty",
        ),
        (
            {"ok": False, "error": "missing_scope"},
            "Slack doesn't say who has the roles: Slack answered missing_scope to usergroups.list",
        ),
    ],
    ids=["disabled", "empty", "scope"],
)
def test_an_unusable_user_group_has_nobody(groups: dict[str, Any], message: str):
    """A group that counts for nobody at a click counts for nobody here."""
    with Replies({f"{verb} /usergroups.list": Reply(200, groups) for verb in ("GET", "POST")}) as server:
        client = web_client("xoxb-1", server.url + "/")
        findings = examine_roles(client, Roles(qa=("S1A",)), Installation("T1", "", "U0"), None)
    assert (findings[0].state, findings[0].what) == (State.MISSING, message)
    assert findings[0].hint
    assert all(not one.good for one in findings)


def start_in_shared_channel(live: Bot, rule: SharedChannel) -> list[str]:
    """The answers to `/release start` if a guest of another company is in #releases."""
    live.allow_shared_channel(rule)
    routes = {
        "GET /repos/solvereign/solvereign/git/ref/tags/v4.8.0": Reply(
            200, {"object": {"type": "commit", "sha": "c0ffee" * 6 + "c0ff"}}
        ),
        "HEAD /v2/solvereign/api/manifests/v4.8.0": Reply(200, "", {"Docker-Content-Digest": "sha256:" + "ab" * 32}),
    }
    with Replies(routes) as vendors:
        live.ask_vendors_at(vendors.url + "/")
        live.command("start v4.8.0")
    return live.reply_texts(RITA)


def test_no_release_starts_in_a_shared_channel(live: Bot):
    """By default the start is refused and recorded, and nothing is shown in the channel."""
    where = f"<#{RELEASES}> is shared with another organisation, so no release can begin there."

    assert start_in_shared_channel(live, SharedChannel.REFUSE) == [f"{where} {TAKE_OUT}"]
    assert live.rows("SELECT FROM releases") == []
    assert live.recorded_events() == [(RITA, "command.refused")]


@pytest.mark.parametrize(
    ("channel", "message", "hint"),
    [
        (
            {"is_member": False},
            f"The bot is not in <#{RELEASES}>, so no release can begin there.",
            f"Type /invite @Release Bot in <#{RELEASES}>.",
        ),
        (
            {"is_member": True, "is_archived": True},
            f"<#{RELEASES}> is archived, so no release can begin there.",
            "Unarchive it, or set another slack.channel.",
        ),
        (
            "channel_not_found",  # a private channel, after the bot was taken out of it
            f"Slack doesn't show the bot <#{RELEASES}>, so no release can begin there.",
            "Check that it is the channel's id (C…). If the channel is private, type /invite @Release Bot in it.",
        ),
    ],
    ids=["left", "archived", "private"],
)
def test_no_release_starts_where_the_bot_cannot_post(channel: dict[str, Any] | str, message: str, hint: str):
    """The card and its buttons would not be visible."""
    info = Reply(200, {"ok": False, "error": channel} if isinstance(channel, str) else {"ok": True, "channel": channel})
    with (
        Replies({"GET /conversations.info": info, "POST /conversations.info": info}) as slack,
        pytest.raises(NotAllowed) as error,
    ):
        refuse_channel(channel_access(web_client("xoxb-1", slack.url + "/"), RELEASES, SharedChannel.WARN))
    assert (error.value.user_message, error.value.hint) == (message, hint)


def test_a_release_may_start_in_a_shared_channel_with_a_warning(live: Bot):
    """The setting of the team allows it."""
    (answer,) = start_in_shared_channel(live, SharedChannel.WARN)

    assert answer.endswith(f"<#{RELEASES}> is shared with another organisation. {READ_BY_OTHERS}")
    assert len(live.rows("SELECT FROM releases")) == 1


@pytest.mark.parametrize("is_button", [True, False], ids=["button", "command"])
def test_nothing_is_deployed_in_a_channel_that_is_shared_by_now(live: Bot, is_button: bool):
    """The channel is examined again before the deploy, including whether the bot is still in it."""
    release_id = live.open_release()
    live.publish_all(release_id)

    def deploy() -> str:
        if is_button:
            value = json.dumps({"release": release_id})
            live.click(RITA, live.ts(release_id), "release.deploy", value=value, forged=True)
        else:
            live.command("deploy")
        return live.reply_texts(RITA)[-1]

    live.allow_shared_channel(SharedChannel.REFUSE)
    message = f"<#{RELEASES}> is shared with another organisation, so nothing can be deployed from there. {TAKE_OUT}"
    assert deploy() == message
    assert live.rows("SELECT state FROM releases") == [{"state": "OPEN"}]
    live.allow_shared_channel(SharedChannel.WARN)
    live.change(lambda tx: tx.execute("UPDATE releases SET channel = %s", [GENERAL]))  # the bot is not in it
    assert deploy() == (
        f"The bot is not in <#{GENERAL}>, so nothing can be deployed from there. Type /invite @Release Bot in <#{GENERAL}>."
    )
    live.change(
        lambda tx: tx.execute("UPDATE releases SET state = 'DEPLOYING', deployer = manager, channel = %s", [RELEASES])
    )
    answer = deploy()
    assert answer.startswith("v4.8.0 is being deployed already")
    assert answer.endswith(f"<#{RELEASES}> is shared with another organisation. {READ_BY_OTHERS}")


def test_no_release_starts_while_slack_does_not_answer(live: Bot):
    """Then nobody knows who reads the channel, and unknown is no pass."""
    live.slack.post("slack-faults", error={"conversations.info": {"n": 1, "error": "internal_error"}})

    assert start_in_shared_channel(live, SharedChannel.WARN)[0].startswith(
        "Slack answered internal_error to conversations.info."
    )
    assert live.rows("SELECT FROM releases") == []


def settings_for(slack: SlackWorld, database_url: str, **changes: Any) -> Settings:
    """The configuration of a whole bot at the workspace, with targets that nobody asks."""
    return Settings.model_validate(
        {
            "slack": {
                "channel": RELEASES,
                "shared_channel": "warn",
                "roles": {"release_manager": [RITA, MAX], "qa": [QUINN]},
                "api_url": slack.url + "api/",
                "bot_token": slack.server.bot_token,
                "app_token": slack.server.app_token,
                **changes,
            },
            "targets": {"staging": {}, "production": {}},
            "github": {"url": "http://127.0.0.1:1/", "repository": "solvereign/solvereign"},
            "registry": {"url": "http://127.0.0.1:1/", "image": "ghcr.io/solvereign/api"},
            "database_url": database_url,
            "http": {"port": 0},
        }
    )


def test_a_good_start_logs_no_warning(slack: SlackWorld, empty_database: str, caplog: pytest.LogCaptureFixture):
    """The whole bot starts, answers a command and stops, and logs no warning and no token."""
    slack.server._workspace.manifest = read_manifest(MANIFEST)  # the app as a team installs it
    with caplog.at_level(logging.INFO):
        application = Application(settings_for(slack, empty_database), Redactor())
        application.start()
        slack.command("/release help")
        eventually(lambda: slack.messages(RITA))
        application.stop()

    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert "ready" in caplog.messages
    assert slack.server.bot_token not in caplog.text
    assert slack.server.app_token not in caplog.text


def test_a_start_in_a_shared_channel_warns(slack: SlackWorld, empty_database: str, caplog: pytest.LogCaptureFixture):
    """The bot starts for releases under way, and log and doctor say that no release begins."""
    application = Application(settings_for(slack, empty_database, shared_channel="refuse"), Redactor())
    application.start()
    slack.command("/release doctor")
    eventually(lambda: len(slack.messages(RITA)) > 1)
    application.stop()
    first_answer, report = slack.messages(RITA)
    blocks = str(report["blocks"])

    warning = f"{TAKE_OUT} Until then no release starts."
    assert f"#releases is shared with another organisation. {warning}" in caplog.messages
    assert first_answer["text"].startswith("Asking Slack, The bot's database, ")
    assert f":x: *Slack*: #releases is shared with another organisation. {warning}" in blocks
    assert ":x: *Database of staging*: targets.staging.database_url is not set." in blocks
    assert ":white_check_mark: *The bot's database*: works and is up to date." in blocks


def test_a_start_in_a_channel_without_the_bot_warns(
    slack: SlackWorld, empty_database: str, caplog: pytest.LogCaptureFixture
):
    """The bot starts, and the log says what to do."""
    application = Application(settings_for(slack, empty_database, channel=GENERAL), Redactor())
    application.start()
    application.stop()

    assert "the bot is not in #general. Type /invite @Release Bot in #general." in caplog.messages
