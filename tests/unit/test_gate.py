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
from bot.domain.policy import Action, Policy, Role
from bot.domain.reasons import Cause, Reason
from bot.domain.release import ReleaseState
from bot.domain.results import CheckStatus, CheckView, Running
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
    """What the gate has against a deploy by Quinn."""
    return [(reason.cause, reason.about) for reason in deploy_gate(view, QUINN).reasons]


def approved(**changes: object) -> ReleaseView:
    """All has passed, the release manager has approved; then ``changes``."""
    return replace(with_signoffs(make_view(), Role.RELEASE_MANAGER), **changes)  # type: ignore[arg-type]


def with_check(known: object, view: ReleaseView | None = None) -> ReleaseView:
    """One of the ten checks as given."""
    view = view or approved()
    return replace(view, checks={**view.checks, GO: known})  # type: ignore[dict-item]


def test_open() -> None:
    """Nothing speaks against it."""
    assert deploy_gate(approved(), QUINN).allowed


@pytest.mark.parametrize("state", NOT_OPEN)
def test_only_an_open_release(state: ReleaseState) -> None:
    """Whatever its checks say."""
    assert (Cause.STATE, state) in causes(in_state(state))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (make_check_view(GO), "has not run"),
        (make_check_view(GO, make_result(GO, Outcome.FAIL)), "failed"),
        (make_check_view(GO, make_result(GO, Outcome.ERROR)), "could not find out"),
        (make_check_view(GO, make_result(GO, Outcome.INCONCLUSIVE)), "needs a person to say"),
        (make_check_view(GO, make_result(GO, finished_at=ago(241))), "passed too long ago, run it again"),
        (make_check_view(GO, make_result(GO), running=Running.WAITING), "waits to run"),
        (make_check_view(GO, make_result(GO), running=Running.RUNNING), "is running"),
    ],
)
def test_anything_but_a_fresh_pass_closes_it(known: object, words: str) -> None:
    """Unknown is not a pass (promise P2); the reason names the check."""
    (reason,) = deploy_gate(with_check(known), QUINN).reasons
    assert (reason.cause, reason.about, reason_text(reason)) == (Cause.CHECK, GO, f"Check of {GO}: {words}")


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE])
def test_a_waiver_lets_one_go(outcome: Outcome) -> None:
    """Where the checklist allows it, and the signature is for that."""
    view = with_check(make_check_view(GO, make_result(GO, outcome), make_waiver(GO)))
    assert deploy_gate(with_signoffs(view, Role.RELEASE_MANAGER), QUINN).allowed


def test_a_waiver_that_must_not_be() -> None:
    """A row alone does not open the gate for a check that can never be waived."""
    checklist = make_checklist()
    go = checklist.sections[1]
    checks = (make_check(GO, waivable=False), *go.checks[1:])
    sections = (checklist.sections[0], go.model_copy(update={"checks": checks}), checklist.sections[2])
    waived = make_check_view(GO, make_result(GO, Outcome.FAIL), make_waiver(GO))
    view = make_view(checklist=make_checklist(sections), checks={GO: waived})
    (reason,) = deploy_gate(with_signoffs(view, Role.RELEASE_MANAGER), QUINN).reasons
    assert reason_text(reason) == f"Check of {GO}: cannot be waived"


def test_other_sections_do_not_decide() -> None:
    """They are shown, and do not hold up the deploy."""
    view = make_view(checks={"migrations.billing": make_check_view("migrations.billing")})
    assert deploy_gate(with_signoffs(view, Role.RELEASE_MANAGER), QUINN).allowed


NOT_PASSED = [
    (make_check_view("migrations.billing"), CheckStatus.MISSING, "has not run"),
    (make_check_view("migrations.billing", make_result(outcome=Outcome.FAIL)), CheckStatus.FAILED, "failed"),
    (
        make_check_view("migrations.billing", make_result(outcome=Outcome.ERROR)),
        CheckStatus.ERROR,
        "could not find out",
    ),
    (
        make_check_view("migrations.billing", make_result(finished_at=ago(241))),
        CheckStatus.EXPIRED,
        "passed too long ago, run it again",
    ),
]


@pytest.mark.parametrize(("known", "counts_as", "words"), NOT_PASSED)
def test_what_does_not_decide_is_named(known: CheckView, counts_as: CheckStatus, words: str) -> None:
    """A red line beside a Go cannot be overlooked; one that passed or was waived is not named."""
    view = make_view(checks={"migrations.billing": known})
    text = f"Migrations: Check of migrations.billing: {words}"
    (failure,) = non_blocking_failures(view)
    assert (failure.about, failure.status, reason_text(failure)) == ("migrations.billing", counts_as, text)
    assert (
        name_failures(non_blocking_failures(view), 3)
        == f"1 other line is not PASS, and does not hold up the deploy: {text}"
    )
    assert non_blocking_failures(make_view()) == []
    assert name_failures((), 3) == ""
    assert non_blocking_failures(make_view(checks={"migrations.billing": replace(known, waiver=make_waiver())})) == []


def test_only_the_first_are_named() -> None:
    """The rest is counted."""
    lines = non_blocking_failures(
        make_view(checks={one: make_check_view(one) for one in ("migrations.billing", "migrations.rls")})
    )
    said = name_failures(lines, 1)
    assert said.startswith(
        "2 other lines are not PASS, and do not hold up the deploy: Migrations: Check of migrations.b"
    )
    assert said.endswith("; … and 1 more")


def blocking() -> Checklist:
    """The first section holds up the deploy; a line of it shows the result of one of the ten."""
    first, *others = referring_checklist().sections
    return make_checklist([first.model_copy(update={"blocks": True}), *others])


@pytest.mark.parametrize(("known", "counts_as", "words"), NOT_PASSED)
def test_a_section_that_blocks(known: CheckView, counts_as: CheckStatus, words: str) -> None:
    """Its lines are reasons, with their section, and no rows of the ten."""
    del counts_as
    view = make_view(checklist=blocking(), checks={"migrations.billing": known})
    (reason,) = deploy_gate(with_signoffs(view, Role.RELEASE_MANAGER), QUINN).reasons
    text = f"Migrations: Check of migrations.billing: {words}"
    assert (reason.cause, reason.about, reason_text(reason)) == (Cause.CHECK, "migrations.billing", text)
    assert non_blocking_failures(view) == []
    assert len(view.checklist.gate_checks) == 10
    waived = make_view(checklist=blocking(), checks={"migrations.billing": replace(known, waiver=make_waiver())})
    assert deploy_gate(with_signoffs(waived, Role.RELEASE_MANAGER), QUINN).allowed


def test_what_only_a_person_knows_names_who_may_say_it_and_where() -> None:
    """It never runs, so nobody is told that it has not; once too old it is said again, not run again."""
    line = make_check("prep.notes", kind="attest")
    prep = Section(id="prep", title="Preparations", checks=(line,))
    checklist = make_checklist([*make_checklist().sections, prep])
    old = make_check_view(line.id, make_result(line.id, finished_at=ago(241)))
    rules = {"prep": {"attest": ["qa", "product"]}}
    said = [
        reason_text(non_blocking_failures(make_view(checklist=checklist, policy=policy, checks={line.id: known}))[0])
        for policy, known in ((Policy(), make_check_view(line.id)), (Policy.model_validate({"lines": rules}), old))
    ]
    assert said == [
        "Preparations: Check of prep.notes: needs a person to say so: Release Manager or QA or Product, with Attest in the thread",
        "Preparations: Check of prep.notes: was said too long ago: QA or Product, with Attest in the thread",
    ]


def test_a_result_in_two_places_is_one_reason() -> None:
    """A line that shows the result of one of the ten says nothing more; one that blocks in one place blocks."""
    failed = make_check_view(GO, make_result(GO, Outcome.FAIL))
    view = with_signoffs(make_view(checklist=blocking(), checks={GO: failed}), Role.RELEASE_MANAGER)
    assert [reason.about for reason in deploy_gate(view, QUINN).reasons] == [GO]
    again = Check(id=CheckId("more.billing"), title="Billing again", same_as=CheckId("migrations.billing"))
    more = Section(id="more", title="More", blocks=True, checks=(again,))
    checklist = make_checklist([*make_checklist().sections, more])
    missing = {"migrations.billing": make_check_view("migrations.billing")}
    view = with_signoffs(make_view(checklist=checklist, checks=missing), Role.RELEASE_MANAGER)
    assert [reason.about for reason in deploy_gate(view, QUINN).reasons] == ["more.billing"]


def test_no_signature() -> None:
    """Only the required role is missed."""
    assert causes(make_view()) == [(Cause.SIGNOFF_MISSING, Role.RELEASE_MANAGER)]


def test_a_no_of_an_optional_role_counts() -> None:
    """Whoever may sign may stop it."""
    view = approved()
    no = make_signoff(Role.QA, Verdict.DECLINE, id=99)
    assert causes(replace(view, signoffs=(*view.signoffs, no))) == [(Cause.SIGNOFF_DECLINED, Role.QA)]


def test_a_signature_for_something_else() -> None:
    """A waiver afterwards, another digest, another checklist: it is void (promise P4)."""
    view = approved()
    for changed in (
        replace(view, release=replace(view.release, digest="sha256:" + "cd" * 32)),
        replace(view, release=replace(view.release, checklist_digest="3" * 64)),
        with_check(make_check_view(GO, make_result(GO), make_waiver(GO)), view),
    ):
        assert causes(changed) == [(Cause.SIGNOFF_VOID, Role.RELEASE_MANAGER)]


def test_a_signature_for_a_rollback_is_none_for_a_deploy() -> None:
    """Purposes do not mix."""
    view = approved()
    other = replace(view.signoffs[0], purpose=Purpose.ROLLBACK)
    assert causes(replace(view, signoffs=(other,))) == [(Cause.SIGNOFF_MISSING, Role.RELEASE_MANAGER)]


def test_a_role_outside_of_the_policy_neither_opens_nor_closes() -> None:
    """A row of it is not looked at."""
    view = approved(policy=Policy(optional=()))
    no = make_signoff(Role.QA, Verdict.DECLINE, id=99)
    assert causes(replace(view, signoffs=(*view.signoffs, no))) == []


def test_four_eyes() -> None:
    """Somebody other than the deployer must have approved; the card, which knows no deployer, is open."""
    view = approved()
    assert [reason.cause for reason in deploy_gate(view, RITA).reasons] == [Cause.FOUR_EYES]
    assert deploy_gate(view).allowed
    assert deploy_gate(with_signoffs(make_view(), Role.RELEASE_MANAGER, Role.QA), RITA).allowed
    assert deploy_gate(replace(view, policy=Policy(four_eyes=False)), RITA).allowed


def test_four_eyes_counts_people_not_roles() -> None:
    """One person with two roles is one pair of eyes."""
    view = with_signoffs(make_view(), Role.RELEASE_MANAGER, Role.QA)
    one = tuple(replace(signoff, by=RITA) for signoff in view.signoffs)
    assert [reason.cause for reason in deploy_gate(replace(view, signoffs=one), RITA).reasons] == [Cause.FOUR_EYES]


def two_of_qa(*signers: UserId, **policy: object) -> list[tuple[Cause, str]]:
    """What the gate says when ``signers`` of QA have approved and two are needed."""
    view = make_view(policy=Policy.model_validate({"required": ["qa"], "quorum": {"qa": 2}, **policy}))
    approvals = tuple(
        make_signoff(Role.QA, id=number, by=user, fingerprint=view.fingerprint) for number, user in enumerate(signers)
    )
    return [(one.cause, reason_text(one)) for one in deploy_gate(replace(view, signoffs=approvals), MAX).reasons]


def test_a_quorum_counts_people() -> None:
    """Two of QA, not one twice."""
    assert two_of_qa(QUINN) == [(Cause.SIGNOFF_MISSING, "QA: 1 of 2 people have signed off")]
    assert two_of_qa(QUINN, PAT) == []


def test_people_in_all() -> None:
    """One person with every role is one person."""
    assert two_of_qa(QUINN, PAT, people=3) == [(Cause.PEOPLE, "3 different people must approve, so far 2 have")]
    assert two_of_qa(QUINN, PAT, RITA, people=3) == []


def test_an_old_approval_has_expired() -> None:
    """After the time that the policy gives it; an optional one that is too old holds nothing up."""
    view = make_view()
    old = [
        make_signoff(role, at=ago(24 * 60 + 1), fingerprint=view.fingerprint)
        for role in (Role.RELEASE_MANAGER, Role.QA)
    ]
    assert causes(replace(view, signoffs=old)) == [(Cause.SIGNOFF_MISSING, Role.RELEASE_MANAGER)]
    fresh = make_signoff(Role.RELEASE_MANAGER, at=ago(24 * 60), fingerprint=view.fingerprint)
    assert causes(replace(view, signoffs=(fresh, old[1]))) == []


def test_a_decline_stands_whatever_others_say() -> None:
    """It blocks until it is withdrawn, whether what it was said about has changed or not."""
    view = approved()
    no = make_signoff(Role.QA, Verdict.DECLINE, id=98, by=MAX, fingerprint="other")
    yes = make_signoff(Role.QA, id=99, fingerprint=view.fingerprint)
    assert causes(replace(view, signoffs=(*view.signoffs, no, yes))) == [(Cause.SIGNOFF_DECLINED, Role.QA)]


def test_a_version_that_means_nothing_any_more() -> None:
    """Its tag or image is gone: nobody knows what would be deployed."""
    view = approved()
    gone = replace(view, release=replace(view.release, unbound="the tag v4.8.0 is gone"))
    (reason,) = deploy_gate(gone, QUINN).reasons
    assert (reason.cause, reason_text(reason)) == (Cause.SOURCE, "the tag v4.8.0 is gone")


def test_what_the_policy_forbids_to_waive_is_not_let_go() -> None:
    """Even when a waiver was given under an earlier policy."""
    policy = Policy.model_validate({"lines": {"go": {"waive": []}}})
    waived = make_check_view(GO, make_result(GO, Outcome.FAIL), make_waiver(GO))
    view = make_view(policy=policy, checks={GO: waived})
    (reason,) = deploy_gate(replace(with_signoffs(view, Role.RELEASE_MANAGER), policy=policy), QUINN).reasons
    assert reason_text(reason) == f"Check of {GO}: cannot be waived"


def test_a_freeze() -> None:
    """Stops a deploy, by name."""
    (reason,) = deploy_gate(approved(freeze=make_freeze()), QUINN).reasons
    assert (reason.cause, reason_text(reason)) == (Cause.FREEZE, "deploys are frozen: incident under way")


def test_every_reason_is_listed() -> None:
    """In one answer: state, freeze, checks, signatures."""
    view = make_view(
        release=make_release(ReleaseState.DEPLOYING), checks={GO: make_check_view(GO)}, freeze=make_freeze()
    )
    assert [cause for cause, _ in causes(view)] == [
        Cause.STATE,
        Cause.FREEZE,
        Cause.CHECK,
        Cause.SIGNOFF_MISSING,
    ]


def findings(view: ReleaseView, **found: Any) -> DeployFindings:
    """What was found out about a view from outside."""
    return DeployFindings(view.release.id, **{"fingerprint": view.fingerprint, "channel": ChannelAccess(), **found})


def test_what_was_found_outside_is_listed_with_the_rest() -> None:
    """The channel first, where nothing may begin; last a plan that is not the one people saw."""
    view = approved(freeze=make_freeze())
    found = findings(view, channel=ChannelAccess("<#C1> is archived"), plan_changes=("image: a → b (not shown)",))
    assert [(reason.cause, reason_text(reason)) for reason in deploy_gate(view, QUINN, found).reasons] == [
        (Cause.CHANNEL, "<#C1> is archived, so nothing is deployed from there"),
        (Cause.FREEZE, "deploys are frozen: incident under way"),
        (Cause.PLAN, "the plan is not the one that was shown: image: a → b (not shown)"),
    ]


def test_a_confirmation_counts_for_what_was_looked_at() -> None:
    """And for two minutes, as one that is stored does."""
    view = approved()
    stale = replace(view, release=replace(view.release, confirmed_at=None))
    assert deploy_gate(stale, QUINN, findings(stale, confirmed_at=NOW)).allowed
    for found in (
        findings(stale),
        findings(stale, confirmed_at=NOW, fingerprint="of another commit"),
        findings(stale, confirmed_at=NOW - CONFIRMED_FOR - timedelta(seconds=1)),
    ):
        assert [reason.cause for reason in deploy_gate(stale, QUINN, found).reasons] == [Cause.SOURCE]


def test_a_rollback_of_the_newest_goes_first() -> None:
    """What was deployed after it stands on it."""
    view = make_view(release=make_release(ReleaseState.WATCHING))
    newer = replace(view.release, id=ReleaseId(view.release.id + 1), version="v4.9.0")
    assert rollback_gate(view, view.release).allowed
    (reason,) = rollback_gate(view, newer).reasons
    assert reason_text(reason) == f"v4.9.0 was deployed after {view.release.version}: roll that one back"


@pytest.mark.parametrize("state", list(ReleaseState))
def test_rollback_needs_a_change_and_nothing_else(state: ReleaseState) -> None:
    """In a freeze, unsigned, with every check red (promise P6)."""
    view = make_view(release=make_release(state), checks={GO: make_check_view(GO)}, freeze=make_freeze())
    assert rollback_gate(view).allowed == (state in AFTER_A_CHANGE)


@pytest.mark.parametrize("action", list(Action))
def test_without_a_role_nothing_is_permitted(action: Action) -> None:
    """Deny by default (promise P3)."""
    assert not permits(Policy(), action, ())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*Outcome, None]), st.sampled_from(list(Running)), st.booleans(), st.integers(0, 600)
        ),
        min_size=10,
        max_size=10,
    ),
    st.sets(st.sampled_from(list(Role))),
    st.booleans(),
)
def test_it_opens_only_if_all_ten_pass_or_are_waived(
    known: list[tuple[Outcome | None, Running, bool, int]], roles: set[Role], frozen: bool
) -> None:
    """For any mix of results, ages, waivers, signatures and freezes."""
    checks, good = {}, True
    for number, (outcome, running, waived, age) in enumerate(known, start=1):
        name = f"go.check_{number}"
        result = make_result(name, outcome, finished_at=ago(age)) if outcome else None
        checks[name] = make_check_view(name, result, make_waiver(name) if waived else None, running)
        good &= running is Running.IDLE and (waived or (outcome is Outcome.PASS and age <= 240))
    view = with_signoffs(make_view(checks=checks, freeze=make_freeze() if frozen else None), *sorted(roles))
    assert deploy_gate(view, PAT).allowed == (good and not frozen and Role.RELEASE_MANAGER in roles)


def test_a_waiver_that_two_lines_show_is_one() -> None:
    """What people sign does not change because a check is shown in a second place."""
    waived = make_check_view(GO, make_result(GO, Outcome.FAIL), make_waiver(GO))
    once, twice = (
        make_view(checklist=lines, checks={GO: waived}) for lines in (make_checklist(), referring_checklist())
    )
    assert twice.checks["migrations.again"].waiver == once.checks[GO].waiver  # type: ignore[index]
    assert twice.fingerprint == once.fingerprint


def subclasses(of: type[Reason]) -> set[type[Reason]]:
    """All classes below it."""
    return {below for one in of.__subclasses__() for below in (one, *subclasses(one))}


@pytest.mark.parametrize("kind", sorted(subclasses(Reason), key=str))
def test_each_reason_has_its_words(kind: type[Reason]) -> None:
    """Whoever adds one cannot forget them."""
    facts = {
        field.name: {"about": Role.QA, "status": CheckStatus.FAILED, "needed": 2, "approved": 1}.get(field.name, "fact")
        for field in fields(kind)
    }
    assert reason_text(kind(**facts))  # type: ignore[arg-type]
    assert kind.cause in Cause
