"""What people type after `/release`."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.ids import Version
from bot.slack.grammar import (
    SUBCOMMANDS,
    Abort,
    BreakGlass,
    CancelChecks,
    Command,
    Deploy,
    Doctor,
    Help,
    History,
    LiftFreeze,
    Malformed,
    Report,
    Rollback,
    RunChecks,
    ShowPlan,
    Start,
    StartFreeze,
    Status,
    Subcommand,
    parse,
)

V480 = Version(4, 8, 0)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("", Help()),
        ("   ", Help()),
        ("help", Help()),
        ("help deploy", Help()),
        ("start v4.8.0", Start(V480)),
        ("Start v4.8.0", Start(V480)),
        ("start  v4.8.0-rc1 ", Start(Version(4, 8, 0, 1))),
        ("start v4.8.0 https://example.com/n?a=1", Start(V480, "https://example.com/n?a=1")),
        ("start v4.8.0 because it was the database", Start(V480, because="it was the database")),
        ("start v4.8.0 https://example.com/n Because mended", Start(V480, "https://example.com/n", "mended")),
        ("start v4.8.0 <https://example.com/n>", Start(V480, "https://example.com/n")),
        ("start v4.8.0 <https://example.com/n|example.com/n>", Start(V480, "https://example.com/n")),
        ("start v4.8.0 https://example.com/n?a=1&amp;b=2", Start(V480, "https://example.com/n?a=1&b=2")),
        ("status", Status()),
        ("status v4.8.0", Status(V480)),
        ("plan", ShowPlan()),
        ("check", RunChecks("all")),
        ("check all", RunChecks("all")),
        ("check go", RunChecks("go")),
        ("check cancel", CancelChecks("all")),
        ("check Cancel go.backup", CancelChecks("go.backup")),
        ("check Go.Backup", RunChecks("go.backup")),
        ("deploy", Deploy()),
        ("deploy --break-glass logins fail for all", BreakGlass("logins fail for all")),
        ("deploy —break-glass logins fail for all", BreakGlass("logins fail for all")),
        ("deploy –Break-Glass logins fail for all", BreakGlass("logins fail for all")),
        ("deploy --break-glass", BreakGlass("")),
        ("rollback", Rollback()),
        ("rollback errors &amp; more", Rollback("errors & more")),
        ("abort superseded by v4.8.1", Abort("superseded by v4.8.1")),
        ("freeze incident under way", StartFreeze(None, "incident under way")),
        ("freeze 30m incident", StartFreeze(timedelta(minutes=30), "incident")),
        ("freeze 2h incident", StartFreeze(timedelta(hours=2), "incident")),
        ("freeze 1D incident", StartFreeze(timedelta(days=1), "incident")),
        ("freeze 3 alarms open", StartFreeze(None, "3 alarms open")),
        ("freeze 3rd incident today", StartFreeze(None, "3rd incident today")),
        ("unfreeze", LiftFreeze()),
        ("history", History()),
        ("report", Report()),
        ("report v4.8.0", Report(V480)),
        ("doctor", Doctor()),
    ],
)
def test_a_command_is_read(text: str, command: Command) -> None:
    """Every form that the help names, and what phones and Slack make of it."""
    assert parse(text) == command


@pytest.mark.parametrize(
    ("text", "wrong", "instead"),
    [
        ("strat v4.8.0", 'There is no command "strat". Did you mean start?', "/release start v4.8.0"),
        ("roll-back", 'There is no command "roll-back". Did you mean rollback?', "/release rollback"),
        ("frobnicate", 'There is no command "frobnicate".', "/release help"),
        ("start", "start needs a version.", "/release start v4.8.0"),
        ("start 4.8.0", '"4.8.0" is no version. Did you mean v4.8.0?', "/release start v4.8.0"),
        ("status V4.8.0", '"V4.8.0" is no version. Did you mean v4.8.0?', "/release status v4.8.0"),
        (
            "report 4.8",
            '"4.8" is no version: a version is v4.8.0, or v4.8.0-rc1 for a candidate.',
            "/release report v4.8.0",
        ),
        (
            "start v4.8.0 see the wiki",
            '"see the wiki" is no link to release notes: that is one address that begins with https://.',
            "/release start v4.8.0 https://example.com/notes",
        ),
        (
            "check cancel go backup",
            '"go backup" is no check: name one check (go.backup), one section (migrations), or all.',
            "/release check cancel all",
        ),
        (
            "check go backup",
            '"go backup" is no check: name one check (go.backup), one section (migrations), or all.',
            "/release check all",
        ),
        ("deploy v4.8.0", 'deploy takes nothing after it, so "v4.8.0" would have no effect.', "/release deploy"),
        (
            "rollback v4.7.0",
            "rollback takes a reason, not a version: it goes back to what was recorded before the deploy.",
            "/release rollback errors after the deploy",
        ),
        (
            "freeze 30min incident",
            '"30min" is no duration: write 30m, 2h or 1d.',
            "/release freeze 2h incident under way",
        ),
        ("freeze 0m incident", '"0m" is no duration: write 30m, 2h or 1d.', "/release freeze 2h incident under way"),
        ("freeze -5m incident", '"-5m" is no duration: write 30m, 2h or 1d.', "/release freeze 2h incident under way"),
        (
            "freeze 2h30m incident",
            '"2h30m" is no duration: write 30m, 2h or 1d.',
            "/release freeze 2h incident under way",
        ),
        (
            "freeze 99999d incident",
            "A freeze lasts at most 30 days. Leave the duration out to freeze until unfreeze.",
            "/release freeze incident",
        ),
        (
            "freeze 2h",
            "freeze needs a reason: the others will want to know why.",
            "/release freeze 2h incident under way",
        ),
        (
            "freeze",
            "freeze needs a reason: the others will want to know why.",
            "/release freeze 2h incident under way",
        ),
    ],
)
def test_a_malformed_command_says_what_was_wrong_and_what_to_type(text: str, wrong: str, instead: str) -> None:
    """The answer names the fault and a line that would work."""
    assert parse(text) == Malformed(wrong, instead)


def test_a_reason_that_is_a_report_is_refused() -> None:
    """A reason fits into a message; the rest is linked."""
    answer = parse("abort " + "x" * 1_001)
    assert isinstance(answer, Malformed)
    assert answer.wrong == "The reason has 1001 characters; 1000 fit. Give it in a sentence and link the rest."


@pytest.mark.parametrize("row", SUBCOMMANDS, ids=lambda row: row.name)
def test_no_example_of_an_answer_is_malformed_itself(row: Subcommand) -> None:
    """What the bot tells people to type works."""
    for rest in ("", "4.8.0", "!", "1sec", "v4.8.0 x y"):
        answer = parse(f"{row.name} {rest}")
        if isinstance(answer, Malformed):
            assert not isinstance(parse(answer.instead.removeprefix("/release ")), Malformed)


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever is typed is a command or an answer that names a command."""
    answer = parse(text)
    assert not isinstance(answer, Malformed) or (answer.wrong and answer.instead.startswith("/release "))
