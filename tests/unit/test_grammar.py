"""What people type after `/release`."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.ids import Version
from bot.slack.commands import read_command
from bot.slack.features import COMMANDS
from bot.slack.grammar import FreezeRequest, Malformed, StartRequest

V480 = Version(4, 8, 0)


@pytest.mark.parametrize(
    ("text", "word", "content"),
    [
        ("", "help", None),
        ("   ", "help", None),
        ("help", "help", None),
        ("help deploy", "help", None),
        ("start v4.8.0", "start", StartRequest(V480)),
        ("Start v4.8.0", "start", StartRequest(V480)),
        ("start  v4.8.0-rc1 ", "start", StartRequest(Version(4, 8, 0, 1))),
        ("start v4.8.0 https://example.com/n?a=1", "start", StartRequest(V480, "https://example.com/n?a=1")),
        ("start v4.8.0 because it was the database", "start", StartRequest(V480, because="it was the database")),
        (
            "start v4.8.0 https://example.com/n Because mended",
            "start",
            StartRequest(V480, "https://example.com/n", "mended"),
        ),
        ("start v4.8.0 <https://example.com/n>", "start", StartRequest(V480, "https://example.com/n")),
        ("start v4.8.0 <https://example.com/n|example.com/n>", "start", StartRequest(V480, "https://example.com/n")),
        (
            "start v4.8.0 https://example.com/n?a=1&amp;b=2",
            "start",
            StartRequest(V480, "https://example.com/n?a=1&b=2"),
        ),
        ("status", "status", None),
        ("status v4.8.0", "status", V480),
        ("plan", "plan", None),
        ("check", "check", "all"),
        ("check all", "check", "all"),
        ("check go", "check", "go"),
        ("check cancel", "check cancel", "all"),
        ("check Cancel go.backup", "check cancel", "go.backup"),
        ("check Go.Backup", "check", "go.backup"),
        ("deploy", "deploy", None),
        ("deploy --break-glass logins fail for all", "deploy --break-glass", "logins fail for all"),
        ("deploy —break-glass logins fail for all", "deploy --break-glass", "logins fail for all"),
        ("deploy –Break-Glass logins fail for all", "deploy --break-glass", "logins fail for all"),
        ("deploy --break-glass", "deploy --break-glass", ""),
        ("rollback", "rollback", ""),
        ("rollback errors &amp; more", "rollback", "errors & more"),
        ("abort superseded by v4.8.1", "abort", "superseded by v4.8.1"),
        ("freeze incident under way", "freeze", FreezeRequest(None, "incident under way")),
        ("freeze 30m incident", "freeze", FreezeRequest(timedelta(minutes=30), "incident")),
        ("freeze 2h incident", "freeze", FreezeRequest(timedelta(hours=2), "incident")),
        ("freeze 1D incident", "freeze", FreezeRequest(timedelta(days=1), "incident")),
        ("freeze 3 alarms open", "freeze", FreezeRequest(None, "3 alarms open")),
        ("freeze 3rd incident today", "freeze", FreezeRequest(None, "3rd incident today")),
        ("unfreeze", "unfreeze", None),
        ("history", "history", None),
        ("report", "report", None),
        ("report v4.8.0", "report", V480),
        ("doctor", "doctor", None),
    ],
)
def test_a_command_is_read(text: str, word: str, content: object) -> None:
    """Every form of a command that the help names is read, also as phones and Slack change it."""
    assert read_command(text) == (COMMANDS[word], content)


@pytest.mark.parametrize(
    ("text", "problem", "example"),
    [
        ("strat v4.8.0", 'There is no command "strat". Did you mean start?', "/release start v4.8.0"),
        ("roll-back", 'There is no command "roll-back". Did you mean rollback?', "/release rollback"),
        ("frobnicate", 'There is no command "frobnicate".', "/release help"),
        ("start", "start needs a version.", "/release start v4.8.0"),
        ("start 4.8.0", '"4.8.0" isn\'t a version. Did you mean v4.8.0?', "/release start v4.8.0"),
        ("status V4.8.0", '"V4.8.0" isn\'t a version. Did you mean v4.8.0?', "/release status v4.8.0"),
        (
            "report 4.8",
            '"4.8" isn\'t a version. Write v4.8.0, or v4.8.0-rc1 for a candidate.',
            "/release report v4.8.0",
        ),
        (
            "start v4.8.0 see the wiki",
            '"see the wiki" isn\'t a link to release notes: write one address that begins with https://.',
            "/release start v4.8.0 https://example.com/notes",
        ),
        (
            "check cancel go backup",
            '"go backup" isn\'t a check. Name one check (go.backup), one section (migrations), or all.',
            "/release check cancel all",
        ),
        (
            "check go backup",
            '"go backup" isn\'t a check. Name one check (go.backup), one section (migrations), or all.',
            "/release check all",
        ),
        ("deploy v4.8.0", 'deploy takes nothing after it, so "v4.8.0" would have no effect.', "/release deploy"),
        (
            "rollback v4.7.0",
            "rollback takes a reason, not a version: it always goes back to what ran before the deploy.",
            "/release rollback errors after the deploy",
        ),
        (
            "freeze 30min incident",
            '"30min" isn\'t a duration. Write 30m, 2h or 1d.',
            "/release freeze 2h incident under way",
        ),
        ("freeze 0m incident", '"0m" isn\'t a duration. Write 30m, 2h or 1d.', "/release freeze 2h incident under way"),
        (
            "freeze -5m incident",
            '"-5m" isn\'t a duration. Write 30m, 2h or 1d.',
            "/release freeze 2h incident under way",
        ),
        (
            "freeze 2h30m incident",
            '"2h30m" isn\'t a duration. Write 30m, 2h or 1d.',
            "/release freeze 2h incident under way",
        ),
        (
            "freeze 99999d incident",
            "A freeze lasts at most 30 days. To freeze until unfreeze, leave the duration out.",
            "/release freeze incident",
        ),
        (
            "freeze 2h",
            "freeze needs a reason: others will want to know why.",
            "/release freeze 2h incident under way",
        ),
        (
            "freeze",
            "freeze needs a reason: others will want to know why.",
            "/release freeze 2h incident under way",
        ),
    ],
)
def test_a_malformed_command_is_answered_with_problem_and_example(text: str, problem: str, example: str) -> None:
    """The answer names the problem and a line that would work."""
    assert read_command(text) == Malformed(problem, example)


def test_a_reason_that_is_too_long_is_refused() -> None:
    """A reason must fit into a message, and the answer asks for a link instead."""
    answer = read_command("abort " + "x" * 1_001)
    assert isinstance(answer, Malformed)
    assert answer.problem == ("The reason has 1001 characters; at most 1000 fit. Write a sentence and link the rest.")


@pytest.mark.parametrize("word", COMMANDS)
def test_every_example_in_an_answer_is_a_valid_command(word: str) -> None:
    """The example that the bot gives for a malformed command can be read itself."""
    for rest in ("", "4.8.0", "!", "1sec", "v4.8.0 x y"):
        answer = read_command(f"{word} {rest}")
        if isinstance(answer, Malformed):
            assert not isinstance(read_command(answer.example.removeprefix("/release ")), Malformed)


@given(st.text(max_size=300))
def test_any_text_is_a_command_or_a_problem_with_an_example(text: str) -> None:
    """Random text is read as a command or answered with a problem and an example."""
    answer = read_command(text)
    assert not isinstance(answer, Malformed) or (answer.problem and answer.example.startswith("/release "))
