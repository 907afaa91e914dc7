"""The gate: every state of a check, every signature, every reason."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.checklist import Check, Checklist, Section
from bot.domain.deploy_findings import ChannelAccess, DeployFindings
from bot.domain.gate import CONFIRMED_FOR, deploy_gate, non_blocking_failures, permits, rollback_gate
from bot.domain.ids import CheckId, ReleaseId, UserId
from bot.domain.plan import Mutation, PlanDifference, Way
from bot.domain.policy import Action, Policy, Role
from bot.domain.reasons import Cause, Reason
from bot.domain.release import ReleaseState
from bot.domain.results import CheckStatus, CheckView, RunState
from bot.domain.signoff import Purpose, Verdict
from bot.domain.view import ReleaseView
from bot.texts.gate import name_failures, reason_text
from checks.contract import Outcome
from tests.unit.factories import (
    NOW,
    PAT,
    QUINN,
    RITA,
    ago,
    in_state,
    make_check,
    make_check_view,
    make_checklist,
    make_freeze,
    make_release,
    make_result,
    make_signoff,
    make_view,
    make_waiver,
    referring_checklist,
    with_signoffs,
)

GO = "go.check_1"
MAX = UserId("U0MAX00001")
NOT_OPEN = [state for state in ReleaseState if state is not ReleaseState.OPEN]
AFTER_A_CHANGE = {
    ReleaseState.DEPLOYING,
    ReleaseState.DEPLOY_FAILED,
    ReleaseState.WATCHING,
    ReleaseState.DONE,
    ReleaseState.ROLLBACK_FAILED,
}


def causes(view: ReleaseView) -> list[tuple[Cause, str]]:
    """The causes for which the gate is closed to a deploy by Quinn."""
    return [(reason.cause, reason.about) for reason in deploy_gate(view, QUINN).reasons]


def approved_view(**changes: object) -> ReleaseView:
    """A view in which everything has passed and the release manager has approved, with ``changes``."""
    return replace(with_signoffs(make_view(), Role.RELEASE_MANAGER), **changes)  # type: ignore[arg-type]


def with_check(check_view: object, view: ReleaseView | None = None) -> ReleaseView:
    """The view with this state of one of the ten checks."""
    view = view or approved_view()
    return replace(view, checks={**view.checks, GO: check_view})  # type: ignore[dict-item]


def test_the_gate_is_open_without_a_reason_against_it() -> None:
    """The gate is open if all checks have passed and the required role has approved."""
    assert deploy_gate(approved_view(), QUINN).is_open


@pytest.mark.parametrize("state", NOT_OPEN)
def test_only_an_open_release_can_be_deployed(state: ReleaseState) -> None:
    """In every state but OPEN the state itself is a reason."""
    assert (Cause.STATE, state) in causes(in_state(state))


@pytest.mark.parametrize(
    ("check_view", "words"),
    [
        (make_check_view(GO), "not run yet"),
        (make_check_view(GO, make_result(GO, Outcome.FAIL)), "failed"),
        (make_check_view(GO, make_result(GO, Outcome.ERROR)), "couldn't be checked"),
        (make_check_view(GO, make_result(GO, Outcome.INCONCLUSIVE)), "needs a person"),
        (make_check_view(GO, make_result(GO, finished_at=ago(241))), "expired, run it again"),
        (make_check_view(GO, make_result(GO), running=RunState.WAITING), "waiting to run"),
        (make_check_view(GO, make_result(GO), running=RunState.RUNNING), "running"),
    ],
)
def test_anything_but_a_fresh_pass_closes_the_gate(check_view: object, words: str) -> None:
    """Unknown is not a pass (promise P2), and the reason names the check."""
    (reason,) = deploy_gate(with_check(check_view), QUINN).reasons
    assert (reason.cause, reason.about, reason_text(reason)) == (Cause.CHECK, GO, f"Check of {GO}: {words}")


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE])
def test_a_waiver_opens_the_gate(outcome: Outcome) -> None:
    """A check that did not pass is waived if the checklist allows it and the sign-off includes the waiver."""
    view = with_check(make_check_view(GO, make_result(GO, outcome), make_waiver(GO)))
    assert deploy_gate(with_signoffs(view, Role.RELEASE_MANAGER), QUINN).is_open


def test_a_waiver_of_a_check_that_cannot_be_waived_is_ignored() -> None:
    """A stored waiver does not open the gate for a check that the checklist does not allow to waive."""
    checklist = make_checklist()
    go = checklist.sections[1]
    checks = (make_check(GO, waivable=False), *go.checks[1:])
    sections = (checklist.sections[0], go.model_copy(update={"checks": checks}), checklist.sections[2])
    check_view = make_check_view(GO, make_result(GO, Outcome.FAIL), make_waiver(GO))
    view = make_view(checklist=make_checklist(sections), checks={GO: check_view})
    (reason,) = deploy_gate(with_signoffs(view, Role.RELEASE_MANAGER), QUINN).reasons
    assert reason_text(reason) == f"Check of {GO}: can't be waived"


def test_sections_outside_the_gate_do_not_close_it() -> None:
    """A check of another section that has not run does not close the gate."""
    view = make_view(checks={"migrations.billing": make_check_view("migrations.billing")})
    assert deploy_gate(with_signoffs(view, Role.RELEASE_MANAGER), QUINN).is_open


NOT_PASSED = [
    (make_check_view("migrations.billing"), CheckStatus.MISSING, "not run yet"),
    (make_check_view("migrations.billing", make_result(outcome=Outcome.FAIL)), CheckStatus.FAILED, "failed"),
    (
        make_check_view("migrations.billing", make_result(outcome=Outcome.ERROR)),
        CheckStatus.ERROR,
        "couldn't be checked",
    ),
    (
        make_check_view("migrations.billing", make_result(finished_at=ago(241))),
        CheckStatus.EXPIRED,
        "expired, run it again",
    ),
]


@pytest.mark.parametrize(("check_view", "counts_as", "words"), NOT_PASSED)
def test_non_blocking_failures_are_named(check_view: CheckView, counts_as: CheckStatus, words: str) -> None:
    """A failed check that does not block is named beside Go, and one that passed or was waived is not."""
    view = make_view(checks={"migrations.billing": check_view})
    text = f"Migrations: Check of migrations.billing: {words}"
    (failure,) = non_blocking_failures(view)
    assert (failure.about, failure.status, reason_text(failure)) == ("migrations.billing", counts_as, text)
    assert (
        name_failures(non_blocking_failures(view), 3) == f"1 check that doesn't block the deploy hasn't passed: {text}"
    )
    assert non_blocking_failures(make_view()) == []
    assert name_failures((), 3) == ""
    assert (
        non_blocking_failures(make_view(checks={"migrations.billing": replace(check_view, waiver=make_waiver())})) == []
    )


def test_long_lists_of_failures_are_cut_and_counted() -> None:
    """Only the first failures are named, and the others are counted."""
    lines = non_blocking_failures(
        make_view(checks={one: make_check_view(one) for one in ("migrations.billing", "migrations.rls")})
    )
    text = name_failures(lines, 1)
    assert text.startswith("2 checks that don't block the deploy haven't passed: Migrations: Check of migrations.b")
    assert text.endswith("; … and 1 more")


def blocking() -> Checklist:
    """A checklist whose first section blocks, and has a line that shows the result of one of the ten checks."""
    first, *others = referring_checklist().sections
    return make_checklist([first.model_copy(update={"blocks": True}), *others])


@pytest.mark.parametrize(("check_view", "counts_as", "words"), NOT_PASSED)
def test_a_blocking_section_closes_the_gate(check_view: CheckView, counts_as: CheckStatus, words: str) -> None:
    """A check of a blocking section is a reason that names the section, and is not one of the ten checks."""
    del counts_as
    view = make_view(checklist=blocking(), checks={"migrations.billing": check_view})
    (reason,) = deploy_gate(with_signoffs(view, Role.RELEASE_MANAGER), QUINN).reasons
    text = f"Migrations: Check of migrations.billing: {words}"
    assert (reason.cause, reason.about, reason_text(reason)) == (Cause.CHECK, "migrations.billing", text)
    assert non_blocking_failures(view) == []
    assert len(view.checklist.gate_checks) == 10
    waived_view = make_view(
        checklist=blocking(), checks={"migrations.billing": replace(check_view, waiver=make_waiver())}
    )
    assert deploy_gate(with_signoffs(waived_view, Role.RELEASE_MANAGER), QUINN).is_open


def test_a_check_for_a_person_names_who_may_attest_it() -> None:
    """Such a check is never called not run or to be run again, but names the roles and the Attest button."""
    line = make_check("prep.notes", kind="attest")
    prep = Section(id="prep", title="Preparations", checks=(line,))
    checklist = make_checklist([*make_checklist().sections, prep])
    old = make_check_view(line.id, make_result(line.id, finished_at=ago(241)))
    rules = {"prep": {"attest": ["qa", "product"]}}
    texts = [
        reason_text(
            non_blocking_failures(make_view(checklist=checklist, policy=policy, checks={line.id: check_view}))[0]
        )
        for policy, check_view in ((Policy(), make_check_view(line.id)), (Policy.model_validate({"lines": rules}), old))
    ]
    assert texts == [
        "Preparations: Check of prep.notes: needs a person: Release Manager or QA or Product, with Attest in the thread",
        "Preparations: Check of prep.notes: expired: QA or Product, with Attest in the thread",
    ]


def test_a_result_that_is_shown_twice_is_one_reason() -> None:
    """A line with same_as adds no second reason, and blocks if either of its places blocks."""
    check_view = make_check_view(GO, make_result(GO, Outcome.FAIL))
    view = with_signoffs(make_view(checklist=blocking(), checks={GO: check_view}), Role.RELEASE_MANAGER)
    assert [reason.about for reason in deploy_gate(view, QUINN).reasons] == [GO]
    again = Check(id=CheckId("more.billing"), title="Billing again", same_as=CheckId("migrations.billing"))
    more = Section(id="more", title="More", blocks=True, checks=(again,))
    checklist = make_checklist([*make_checklist().sections, more])
    check_views = {"migrations.billing": make_check_view("migrations.billing")}
    view = with_signoffs(make_view(checklist=checklist, checks=check_views), Role.RELEASE_MANAGER)
    assert [reason.about for reason in deploy_gate(view, QUINN).reasons] == ["more.billing"]


def test_a_missing_signoff_of_a_required_role_closes_the_gate() -> None:
    """Without any sign-off only the required role is missing."""
    assert causes(make_view()) == [(Cause.SIGNOFF_MISSING, Role.RELEASE_MANAGER)]


def test_a_decline_of_an_optional_role_closes_the_gate() -> None:
    """Whoever may sign off may also stop the deploy."""
    view = approved_view()
    no = make_signoff(Role.QA, Verdict.DECLINE, id=99)
    assert causes(replace(view, signoffs=(*view.signoffs, no))) == [(Cause.SIGNOFF_DECLINED, Role.QA)]


def test_a_signoff_for_something_else_is_void() -> None:
    """A later waiver, another digest or another checklist makes a sign-off void (promise P4)."""
    view = approved_view()
    for changed_view in (
        replace(view, release=replace(view.release, digest="sha256:" + "cd" * 32)),
        replace(view, release=replace(view.release, checklist_digest="3" * 64)),
        with_check(make_check_view(GO, make_result(GO), make_waiver(GO)), view),
    ):
        assert causes(changed_view) == [(Cause.SIGNOFF_VOID, Role.RELEASE_MANAGER)]


def test_a_signoff_for_a_rollback_does_not_count_for_a_deploy() -> None:
    """A sign-off counts for its own purpose only."""
    view = approved_view()
    other = replace(view.signoffs[0], purpose=Purpose.ROLLBACK)
    assert causes(replace(view, signoffs=(other,))) == [(Cause.SIGNOFF_MISSING, Role.RELEASE_MANAGER)]


def test_a_role_outside_the_policy_is_ignored() -> None:
    """A decline by a role that the policy does not name does not close the gate."""
    view = approved_view(policy=Policy(optional=()))
    no = make_signoff(Role.QA, Verdict.DECLINE, id=99)
    assert causes(replace(view, signoffs=(*view.signoffs, no))) == []


def test_four_eyes_requires_another_approver_than_the_deployer() -> None:
    """Someone other than the deployer must have approved; without a known deployer the gate is open."""
    view = approved_view()
    assert [reason.cause for reason in deploy_gate(view, RITA).reasons] == [Cause.FOUR_EYES]
    assert deploy_gate(view).is_open
    assert deploy_gate(with_signoffs(make_view(), Role.RELEASE_MANAGER, Role.QA), RITA).is_open
    assert deploy_gate(replace(view, policy=Policy(four_eyes=False)), RITA).is_open


def test_four_eyes_counts_people_not_roles() -> None:
    """One person with two roles is one pair of eyes."""
    view = with_signoffs(make_view(), Role.RELEASE_MANAGER, Role.QA)
    one = tuple(replace(signoff, by=RITA) for signoff in view.signoffs)
    assert [reason.cause for reason in deploy_gate(replace(view, signoffs=one), RITA).reasons] == [Cause.FOUR_EYES]


def two_of_qa(*signers: UserId, **policy: object) -> list[tuple[Cause, str]]:
    """The reasons of the gate if ``signers`` of QA have approved and two are required."""
    view = make_view(policy=Policy.model_validate({"required": ["qa"], "quorum": {"qa": 2}, **policy}))
    approvals = tuple(
        make_signoff(Role.QA, id=number, by=user, fingerprint=view.fingerprint) for number, user in enumerate(signers)
    )
    return [(one.cause, reason_text(one)) for one in deploy_gate(replace(view, signoffs=approvals), MAX).reasons]


def test_a_quorum_counts_people() -> None:
    """Two approvals by the same person do not meet a quorum of two."""
    assert two_of_qa(QUINN) == [(Cause.SIGNOFF_MISSING, "QA: 1 of 2 people have signed off")]
    assert two_of_qa(QUINN, PAT) == []


def test_the_number_of_people_counts_each_person_once() -> None:
    """One person with several roles counts once."""
    assert two_of_qa(QUINN, PAT, min_approvers=3) == [(Cause.PEOPLE, "3 different people must approve; 2 so far")]
    assert two_of_qa(QUINN, PAT, RITA, min_approvers=3) == []


def test_an_expired_approval_does_not_count() -> None:
    """An approval expires after the time of the policy; an expired one of an optional role closes nothing."""
    view = make_view()
    old = [
        make_signoff(role, at=ago(24 * 60 + 1), fingerprint=view.fingerprint)
        for role in (Role.RELEASE_MANAGER, Role.QA)
    ]
    assert causes(replace(view, signoffs=old)) == [(Cause.SIGNOFF_MISSING, Role.RELEASE_MANAGER)]
    fresh = make_signoff(Role.RELEASE_MANAGER, at=ago(24 * 60), fingerprint=view.fingerprint)
    assert causes(replace(view, signoffs=(fresh, old[1]))) == []


def test_a_decline_is_valid_until_it_is_withdrawn() -> None:
    """A decline closes the gate whatever others approve, and even if what was declined has changed."""
    view = approved_view()
    no = make_signoff(Role.QA, Verdict.DECLINE, id=98, by=MAX, fingerprint="other")
    yes = make_signoff(Role.QA, id=99, fingerprint=view.fingerprint)
    assert causes(replace(view, signoffs=(*view.signoffs, no, yes))) == [(Cause.SIGNOFF_DECLINED, Role.QA)]


def test_a_version_without_a_source_closes_the_gate() -> None:
    """If its tag or image is gone, nobody knows what would be deployed."""
    view = approved_view()
    sourceless_view = replace(view, release=replace(view.release, source_problem="the tag v4.8.0 is gone"))
    (reason,) = deploy_gate(sourceless_view, QUINN).reasons
    assert (reason.cause, reason_text(reason)) == (Cause.SOURCE, "the tag v4.8.0 is gone")


def test_the_policy_overrides_an_earlier_waiver() -> None:
    """A waiver does not count if the policy no longer allows it."""
    policy = Policy.model_validate({"lines": {"go": {"waive": []}}})
    check_view = make_check_view(GO, make_result(GO, Outcome.FAIL), make_waiver(GO))
    view = make_view(policy=policy, checks={GO: check_view})
    (reason,) = deploy_gate(replace(with_signoffs(view, Role.RELEASE_MANAGER), policy=policy), QUINN).reasons
    assert reason_text(reason) == f"Check of {GO}: can't be waived"


def test_a_freeze_closes_the_gate() -> None:
    """A freeze is a reason with its own text."""
    (reason,) = deploy_gate(approved_view(freeze=make_freeze()), QUINN).reasons
    assert (reason.cause, reason_text(reason)) == (Cause.FREEZE, "deploys are frozen: incident under way")


def test_every_reason_is_listed() -> None:
    """All reasons are listed in one answer: state, freeze, checks and sign-offs."""
    view = make_view(
        release=make_release(ReleaseState.DEPLOYING), checks={GO: make_check_view(GO)}, freeze=make_freeze()
    )
    assert [cause for cause, _ in causes(view)] == [
        Cause.STATE,
        Cause.FREEZE,
        Cause.CHECK,
        Cause.SIGNOFF_MISSING,
    ]


def findings(view: ReleaseView, **changes: Any) -> DeployFindings:
    """What was read about a view from outside, with ``changes``."""
    return DeployFindings(view.release.id, **{"fingerprint": view.fingerprint, "channel": ChannelAccess(), **changes})


def test_findings_from_outside_are_listed_with_the_other_reasons() -> None:
    """The channel comes first, and a plan that differs from the one people saw comes last."""
    view = approved_view(freeze=make_freeze())
    change = Mutation("image", "a", "b", Way.BACK, "back to a")
    outside = findings(view, channel=ChannelAccess("<#C1> is archived"), plan_changes=(PlanDifference(None, change),))
    assert [(reason.cause, reason_text(reason)) for reason in deploy_gate(view, QUINN, outside).reasons] == [
        (Cause.CHANNEL, "<#C1> is archived, so nothing can be deployed from there"),
        (Cause.FREEZE, "deploys are frozen: incident under way"),
        (Cause.PLAN, "the plan has changed since it was last shown: image: a → b (not shown)"),
    ]


def test_a_confirmation_of_the_source_is_valid_for_two_minutes() -> None:
    """A confirmation counts for exactly the source that was looked at, and for two minutes."""
    view = approved_view()
    stale = replace(view, release=replace(view.release, confirmed_at=None))
    assert deploy_gate(stale, QUINN, findings(stale, confirmed_at=NOW)).is_open
    for outside in (
        findings(stale),
        findings(stale, confirmed_at=NOW, fingerprint="of another commit"),
        findings(stale, confirmed_at=NOW - CONFIRMED_FOR - timedelta(seconds=1)),
    ):
        assert [reason.cause for reason in deploy_gate(stale, QUINN, outside).reasons] == [Cause.SOURCE]


def test_only_the_newest_deploy_can_be_rolled_back() -> None:
    """A release cannot be rolled back before one that was deployed after it."""
    view = make_view(release=make_release(ReleaseState.WATCHING))
    newer = replace(view.release, id=ReleaseId(view.release.id + 1), version="v4.9.0")
    assert rollback_gate(view, view.release).is_open
    (reason,) = rollback_gate(view, newer).reasons
    assert reason_text(reason) == f"v4.9.0 was deployed after {view.release.version}: roll back v4.9.0"


@pytest.mark.parametrize("state", list(ReleaseState))
def test_a_rollback_needs_only_a_change_to_roll_back(state: ReleaseState) -> None:
    """A rollback is allowed in a freeze, without sign-offs and with failed checks (promise P6)."""
    view = make_view(release=make_release(state), checks={GO: make_check_view(GO)}, freeze=make_freeze())
    assert rollback_gate(view).is_open == (state in AFTER_A_CHANGE)


@pytest.mark.parametrize("action", list(Action))
def test_without_a_role_nothing_is_permitted(action: Action) -> None:
    """Without a role no action is permitted (promise P3)."""
    assert not permits(Policy(), action, ())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*Outcome, None]), st.sampled_from(list(RunState)), st.booleans(), st.integers(0, 600)
        ),
        min_size=10,
        max_size=10,
    ),
    st.sets(st.sampled_from(list(Role))),
    st.booleans(),
)
def test_the_gate_opens_only_if_all_ten_checks_pass_or_are_waived(
    check_facts: list[tuple[Outcome | None, RunState, bool, int]], roles: set[Role], is_frozen: bool
) -> None:
    """This is true for any mix of results, ages, waivers, sign-offs and freezes."""
    checks, good = {}, True
    for number, (outcome, running, is_waived, age) in enumerate(check_facts, start=1):
        name = f"go.check_{number}"
        result = make_result(name, outcome, finished_at=ago(age)) if outcome else None
        checks[name] = make_check_view(name, result, make_waiver(name) if is_waived else None, running)
        good &= running is RunState.IDLE and (is_waived or (outcome is Outcome.PASS and age <= 240))
    view = with_signoffs(make_view(checks=checks, freeze=make_freeze() if is_frozen else None), *sorted(roles))
    assert deploy_gate(view, PAT).is_open == (good and not is_frozen and Role.RELEASE_MANAGER in roles)


def test_a_waiver_that_two_lines_show_counts_once() -> None:
    """A line with same_as does not change what people sign off."""
    check_view = make_check_view(GO, make_result(GO, Outcome.FAIL), make_waiver(GO))
    once, twice = (
        make_view(checklist=lines, checks={GO: check_view}) for lines in (make_checklist(), referring_checklist())
    )
    assert twice.checks["migrations.again"].waiver == once.checks[GO].waiver  # type: ignore[index]
    assert twice.fingerprint == once.fingerprint


def subclasses(base: type[Reason]) -> set[type[Reason]]:
    """All classes below it."""
    return {
        subclass
        for direct_subclass in base.__subclasses__()
        for subclass in (direct_subclass, *subclasses(direct_subclass))
    }


@pytest.mark.parametrize("reason_class", sorted(subclasses(Reason), key=str))
def test_each_reason_has_a_text(reason_class: type[Reason]) -> None:
    """Every class of reason has a text and a known cause, so that none is forgotten when it is added."""
    facts = {
        field.name: {"about": Role.QA, "status": CheckStatus.FAILED, "needed": 2, "approved": 1, "changes": ()}.get(
            field.name, "fact"
        )
        for field in fields(reason_class)
    }
    assert reason_text(reason_class(**facts))  # type: ignore[arg-type]
    assert reason_class.cause in Cause
