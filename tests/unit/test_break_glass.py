"""Break-glass: what is passed over, what never, which reason is one, and how it is shown."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.break_glass import REVIEWED_IN, is_stopped_by_freeze, judge_past_gate, says_why
from bot.domain.deploy_findings import ChannelAccess, DeployFindings
from bot.domain.events import PassedReason
from bot.domain.gate import freeze_reason
from bot.domain.ids import SYSTEM
from bot.domain.mitigation import Mitigation, MitigationState
from bot.domain.plan import PlanDifference
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
FAILED_CHECKS = {GO: make_check_view(GO, make_result(GO, Outcome.FAIL))}
OPEN_MITIGATION = Mitigation(1, make_view().release.id, 1, MitigationState.SET, "MODE=off", RITA, "why", NOW, NOW)
YES = make_signoff(Role.RELEASE_MANAGER, Verdict.APPROVE, fingerprint="of something else")


def allow_break_glass(view: ReleaseView, **rule: bool) -> ReleaseView:
    """A copy of ``view`` under a policy that allows break-glass, with ``rule`` on top."""
    return replace(view, policy=view.policy.model_copy(update={"break_glass": BreakGlassRule(allowed=True, **rule)}))


def view_with_release(**release: Any) -> ReleaseView:
    """A passed and approved view whose release has other values."""
    view = with_signoffs(make_view(), Role.RELEASE_MANAGER)
    return replace(view, release=replace(view.release, **release))


NEVER, ALWAYS, FREEZES, CHECKS = "never", "always", "in_freeze", "never_waivable"
CASES = [
    (Cause.SIGNOFF_MISSING, make_view(), ALWAYS),
    (Cause.SIGNOFF_VOID, make_view(signoffs=(YES,)), ALWAYS),
    (Cause.PEOPLE, with_signoffs(make_view(policy=Policy(min_approvers=2)), Role.RELEASE_MANAGER), ALWAYS),
    (Cause.FOUR_EYES, with_signoffs(make_view(), Role.RELEASE_MANAGER), ALWAYS),
    (Cause.CHECK, make_view(checks=FAILED_CHECKS), ALWAYS),
    (Cause.CHECK, make_view(checklist=STRICT, checks=FAILED_CHECKS), CHECKS),
    (Cause.FREEZE, make_view(freeze=make_freeze()), FREEZES),
    (Cause.SIGNOFF_DECLINED, make_view(signoffs=(make_signoff(Role.QA, Verdict.DECLINE),)), NEVER),
    (Cause.SOURCE, view_with_release(source_problem="There is no tag."), NEVER),
    (Cause.MITIGATION, make_view(environment_mitigations=(OPEN_MITIGATION,)), NEVER),
    (Cause.KNOWN_BAD, make_view(known_bad="v4.7.0 was rolled back"), NEVER),
    (Cause.STATE, in_state(ReleaseState.WATCHING), NEVER),
    (Cause.CHANNEL, make_view(), NEVER),
    (Cause.PLAN, make_view(), NEVER),
]
FINDINGS = {
    Cause.CHANNEL: DeployFindings(make_view().release.id, "", ChannelAccess(refusal="It is archived")),
    Cause.PLAN: DeployFindings(make_view().release.id, "", ChannelAccess(), plan_changes=(PlanDifference(None, None),)),
}


@pytest.mark.parametrize(("cause", "view", "when"), CASES, ids=[f"{cause}-{when}" for cause, _, when in CASES])
def test_each_cause_is_overridden_only_where_the_policy_allows_it(cause: Cause, view: ReleaseView, when: str) -> None:
    """Break-glass always overrides missing approvals and waivable checks, and freezes or other checks only if allowed."""
    for rule in ({}, {FREEZES: True}, {CHECKS: True}, {FREEZES: True, CHECKS: True}):
        judgement = judge_past_gate(allow_break_glass(view, **rule), RITA, FINDINGS.get(cause))
        assert (cause in {one.cause for one in judgement.overridden_reasons}) is (when == ALWAYS or when in rule)
        assert (cause in {one.cause for one in judgement.remaining_reasons}) is not (when == ALWAYS or when in rule)


def test_every_cause_of_the_gate_is_covered() -> None:
    """A new cause of the gate needs a decision whether break-glass overrides it."""
    assert {cause for cause, _, _ in CASES} == set(Cause)


def test_break_glass_overrides_nothing_unless_the_policy_allows_it() -> None:
    """Without permission in the policy, break-glass overrides no cause at all."""
    for _, view, _ in CASES:
        assert judge_past_gate(view, RITA).overridden_reasons == ()


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
    """A reason needs at least four words and twenty characters."""
    assert says_why(reason) is enough


def overridden_reason(freeze: Freeze) -> PassedReason:
    """The reason of a freeze as the record keeps it."""
    return PassedReason(cause=Cause.FREEZE, about=freeze_reason(freeze).about, text="deploys are frozen")


def test_break_glass_overrides_only_the_freeze_it_was_given_for() -> None:
    """A later freeze stops the deploy even with the same reason, because each freeze has its own id or end."""
    frozen_view = make_view(freeze=make_freeze())
    assert frozen_view.freeze is not None
    break_glass = BreakGlass(RITA, "logins fail for everybody", (overridden_reason(frozen_view.freeze),), NOW)
    assert is_stopped_by_freeze(frozen_view)
    assert not is_stopped_by_freeze(make_view())
    assert not is_stopped_by_freeze(replace(frozen_view, break_glass=break_glass))
    assert is_stopped_by_freeze(replace(frozen_view, break_glass=break_glass, freeze=make_freeze(id=4)))
    weekend = Freeze(SYSTEM, "weekend", NOW)
    break_glass = replace(break_glass, overridden_reasons=(overridden_reason(weekend),))
    assert not is_stopped_by_freeze(replace(frozen_view, break_glass=break_glass, freeze=weekend))
    assert is_stopped_by_freeze(
        replace(frozen_view, break_glass=break_glass, freeze=replace(weekend, until=NOW + timedelta(days=7)))
    )
    assert is_stopped_by_freeze(replace(frozen_view, break_glass=replace(break_glass, overridden_reasons=())))


def view_with_break_glass(state: ReleaseState, **review: Any) -> ReleaseView:
    """A release that Rita deployed without the required sign-off of QA."""
    overridden = (PassedReason(cause="signoff_missing", about="qa", text="QA has not signed off"),)
    return replace(
        in_state(state), break_glass=BreakGlass(RITA, "logins fail <!here> for everybody", overridden, NOW, **review)
    )


def test_the_message_mentions_the_channel_and_says_who_and_why() -> None:
    """The message names the person, the reason and what was overridden; only our own mention notifies the channel."""
    message = render_stored("break_glass", "", view_with_break_glass(ReleaseState.DEPLOYING))
    assert_slack_accepts(message, pages=True)
    words = "\n".join(mrkdwn(message.blocks))
    assert f":rotating_light: <!channel> *Break-glass: <@{RITA}> deploys" in words
    assert "logins fail &lt;!here&gt; for everybody" in words
    assert "• QA has not signed off" in words
    assert message.text.startswith("<!channel> Break-glass")


@pytest.mark.parametrize("kind", ["break_glass", "closeout"])
@pytest.mark.parametrize("state", ReleaseState)
def test_the_review_is_offered_once_the_release_is_over(kind: str, state: ReleaseState) -> None:
    """The review button appears when the release is over, and disappears after the review."""
    is_offered = "break_glass.review" in str(render_stored(kind, "", view_with_break_glass(state)).blocks)
    assert is_offered is (state in REVIEWED_IN)
    reviewed_view = view_with_break_glass(state, reviewed_by=QUINN, reviewed_at=NOW, review_note="it was right")
    assert "break_glass.review" not in str(render_stored(kind, "", reviewed_view).blocks)


def test_break_glass_is_open_in_the_close_out_until_it_is_reviewed() -> None:
    """Close-out, card and final notice say that a review is missing, and afterwards who reviewed it."""
    view = view_with_break_glass(ReleaseState.DONE)
    assert "someone else still has to review it" in "\n".join(mrkdwn(render_stored("closeout", "", view).blocks))
    assert "Someone else still has to review its break-glass" in render_stored("notice", "done", view).text
    assert "not reviewed yet" in "\n".join(mrkdwn(render_stored("card", "", view).blocks))
    reviewed_view = view_with_break_glass(
        ReleaseState.DONE, reviewed_by=PAT, reviewed_at=NOW, review_note="it was right"
    )
    assert f"Break-glass reviewed by <@{PAT}>" in "\n".join(mrkdwn(render_stored("closeout", "", reviewed_view).blocks))
    assert "still" not in render_stored("notice", "done", reviewed_view).text
    assert f"reviewed by <@{PAT}>" in "\n".join(mrkdwn(render_stored("card", "", reviewed_view).blocks))
