"""Break-glass: what is passed over, what never, which reason is one, and how it is shown."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.break_glass import REVIEWED_IN, holds_back, judge_past_gate, says_why
from bot.domain.deploy_findings import ChannelAccess, DeployFindings
from bot.domain.events import PassedReason
from bot.domain.gate import frozen
from bot.domain.ids import SYSTEM
from bot.domain.mitigation import Mitigation, MitigationState
from bot.domain.policy import BreakGlassRule, Policy, Role
from bot.domain.reasons import Cause
from bot.domain.release import ReleaseState
from bot.domain.signoff import Verdict
from bot.domain.view import BreakGlass, Freeze, ReleaseView
from checks.contract import Outcome
from tests.unit.factories import (
    NOW,
    PAT,
    QUINN,
    RITA,
    in_state,
    make_check,
    make_check_view,
    make_checklist,
    make_freeze,
    make_result,
    make_signoff,
    make_view,
    render_stored,
    with_signoffs,
)
from tests.unit.slack_rules import assert_slack_accepts, mrkdwn

GO = "go.check_1"
LINES = make_checklist()
STRICT = make_checklist(
    tuple(
        section.model_copy(update={"checks": tuple(make_check(check.id, waivable=False) for check in section.checks)})
        for section in LINES.sections
    )
)
FAILED = {GO: make_check_view(GO, make_result(GO, Outcome.FAIL))}
OWED = Mitigation(1, make_view().release.id, 1, MitigationState.SET, "MODE=off", RITA, "why", NOW, NOW)
YES = make_signoff(Role.RELEASE_MANAGER, Verdict.APPROVE, fingerprint="of something else")


def ruled(view: ReleaseView, **rule: bool) -> ReleaseView:
    """The same under a policy that allows break-glass."""
    return replace(view, policy=view.policy.model_copy(update={"break_glass": BreakGlassRule(allowed=True, **rule)}))


def gone(**release: Any) -> ReleaseView:
    """All signed and passed, but for what the release itself is."""
    view = with_signoffs(make_view(), Role.RELEASE_MANAGER)
    return replace(view, release=replace(view.release, **release))


NEVER, ALWAYS, FREEZES, CHECKS = "never", "always", "in_freeze", "never_waivable"
CASES = [
    (Cause.SIGNOFF_MISSING, make_view(), ALWAYS),
    (Cause.SIGNOFF_VOID, make_view(signoffs=(YES,)), ALWAYS),
    (Cause.PEOPLE, with_signoffs(make_view(policy=Policy(people=2)), Role.RELEASE_MANAGER), ALWAYS),
    (Cause.FOUR_EYES, with_signoffs(make_view(), Role.RELEASE_MANAGER), ALWAYS),
    (Cause.CHECK, make_view(checks=FAILED), ALWAYS),
    (Cause.CHECK, make_view(checklist=STRICT, checks=FAILED), CHECKS),
    (Cause.FREEZE, make_view(freeze=make_freeze()), FREEZES),
    (Cause.SIGNOFF_DECLINED, make_view(signoffs=(make_signoff(Role.QA, Verdict.DECLINE),)), NEVER),
    (Cause.SOURCE, gone(unbound="There is no tag."), NEVER),
    (Cause.MITIGATION, make_view(debts=(OWED,)), NEVER),
    (Cause.KNOWN_BAD, make_view(known_bad="v4.7.0 was rolled back"), NEVER),
    (Cause.STATE, in_state(ReleaseState.WATCHING), NEVER),
    (Cause.CHANNEL, make_view(), NEVER),
    (Cause.PLAN, make_view(), NEVER),
]
FINDINGS = {
    Cause.CHANNEL: DeployFindings(make_view().release.id, "", ChannelAccess(refusal="It is archived")),
    Cause.PLAN: DeployFindings(make_view().release.id, "", ChannelAccess(), plan_changes=("image: nothing → b",)),
}


@pytest.mark.parametrize(("cause", "view", "when"), CASES, ids=[f"{cause}-{when}" for cause, _, when in CASES])
def test_what_is_passed_over(cause: Cause, view: ReleaseView, when: str) -> None:
    """Each cause, under each policy: what people have not said, what could be waived, and more only where it is set."""
    for rule in ({}, {FREEZES: True}, {CHECKS: True}, {FREEZES: True, CHECKS: True}):
        judged = judge_past_gate(ruled(view, **rule), RITA, FINDINGS.get(cause))
        assert (cause in {one.cause for one in judged.passed}) is (when == ALWAYS or when in rule)
        assert (cause in {one.cause for one in judged.against}) is not (when == ALWAYS or when in rule)


def test_every_cause_is_decided_on() -> None:
    """A new cause of the gate has to be thought about."""
    assert {cause for cause, _, _ in CASES} == set(Cause)


def test_where_it_is_off_nothing_is_passed_over() -> None:
    """Whatever else the policy says."""
    for _, view, _ in CASES:
        assert judge_past_gate(view, RITA).passed == ()


@pytest.mark.parametrize(
    ("reason", "enough"),
    [
        ("", False),
        ("urgent", False),
        ("please do it now", False),
        ("productionisdownforeverybody", False),
        ("logins fail for everybody", True),
    ],
)
def test_a_reason_is_a_sentence(reason: str, enough: bool) -> None:
    """Four words and twenty characters."""
    assert says_why(reason) is enough


def passed_over(freeze: Freeze) -> PassedReason:
    """That freeze, as the record keeps it."""
    return PassedReason(cause=Cause.FREEZE, about=frozen(freeze).about, text="deploys are frozen")


def test_a_deploy_goes_on_only_in_the_freeze_that_it_was_let_past() -> None:
    """A later one stops it as any other, also where it says the same: each has an id, or an end on the calendar."""
    held = make_view(freeze=make_freeze())
    assert held.freeze is not None
    passed = BreakGlass(RITA, "logins fail for everybody", (passed_over(held.freeze),), NOW)
    assert holds_back(held)
    assert not holds_back(make_view())
    assert not holds_back(replace(held, break_glass=passed))
    assert holds_back(replace(held, break_glass=passed, freeze=make_freeze(id=4)))
    weekend = Freeze(SYSTEM, "weekend", NOW)
    passed = replace(passed, passed=(passed_over(weekend),))
    assert not holds_back(replace(held, break_glass=passed, freeze=weekend))
    assert holds_back(replace(held, break_glass=passed, freeze=replace(weekend, until=NOW + timedelta(days=7))))
    assert holds_back(replace(held, break_glass=replace(passed, passed=())))


def broken(state: ReleaseState, **review: Any) -> ReleaseView:
    """A release that Rita deployed past a missing sign-off."""
    passed = (PassedReason(cause="signoff_missing", about="qa", text="QA has not signed off"),)
    return replace(
        in_state(state), break_glass=BreakGlass(RITA, "logins fail <!here> for everybody", passed, NOW, **review)
    )


def test_the_message_pages_the_channel_and_names_all() -> None:
    """Who, why and past what; only our own markup pages."""
    shown = render_stored("break_glass", "", broken(ReleaseState.DEPLOYING))
    assert_slack_accepts(shown, pages=True)
    words = "\n".join(mrkdwn(shown.blocks))
    assert f":rotating_light: <!channel> *Break-glass: <@{RITA}> deploys" in words
    assert "logins fail &lt;!here&gt; for everybody" in words
    assert "• QA has not signed off" in words
    assert shown.text.startswith("<!channel> Break-glass")


@pytest.mark.parametrize("kind", ["break_glass", "closeout"])
@pytest.mark.parametrize("state", ReleaseState)
def test_the_review_is_offered_when_it_is_over(kind: str, state: ReleaseState) -> None:
    """Once it is done nobody is offered it any more."""
    offered = "break_glass.review" in str(render_stored(kind, "", broken(state)).blocks)
    assert offered is (state in REVIEWED_IN)
    reviewed = broken(state, reviewed_by=QUINN, reviewed_at=NOW, finding="it was right")
    assert "break_glass.review" not in str(render_stored(kind, "", reviewed).blocks)


def test_the_close_out_has_it_as_open_until_it_is_reviewed() -> None:
    """The card and the word that it is done say so too."""
    view = broken(ReleaseState.DONE)
    assert "somebody else still has to review it" in "\n".join(mrkdwn(render_stored("closeout", "", view).blocks))
    assert "its break-glass is still to be reviewed" in render_stored("notice", "done", view).text
    assert "not reviewed yet" in "\n".join(mrkdwn(render_stored("card", "", view).blocks))
    done = broken(ReleaseState.DONE, reviewed_by=PAT, reviewed_at=NOW, finding="it was right")
    assert f"Break-glass reviewed by <@{PAT}>" in "\n".join(mrkdwn(render_stored("closeout", "", done).blocks))
    assert "still" not in render_stored("notice", "done", done).text
    assert f"reviewed by <@{PAT}>" in "\n".join(mrkdwn(render_stored("card", "", done).blocks))
