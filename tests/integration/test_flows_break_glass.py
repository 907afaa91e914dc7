"""Break-glass through the flows: past the gate under its lock, loudly, once, and reviewed by somebody else."""

import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from psycopg.errors import CheckViolation

from bot.domain.ids import CheckId, ReleaseId, StepId
from bot.domain.plan import Mutation, PlanKind, StepState, Way
from bot.domain.policy import Action, BreakGlassRule, Policy, Role
from bot.domain.release import ReleaseState
from bot.domain.signoff import Verdict
from bot.errors import GateClosed, InvalidInput, NotAllowed, RefusedError, StaleButton, VendorError
from bot.flows import break_glass, check, freeze, reminders, sign, upkeep
from bot.flows.deploying import step_clicks
from bot.flows.deploying.judge import judge_break_glass
from bot.flows.deploying.prepare import prepare_deploy
from bot.flows.deploying.rollback import judge_rollback
from bot.slack import report
from bot.store import plan_snapshots
from checks.contract import Outcome
from tests.fix_bot import GUEST, MANAGER, PRODUCT, QA, Outside, World
from tests.fix_tags import OTHER_DIGEST, Tags
from tests.unit.factories import QUINN, RITA

WHY = "logins fail for all s3cret customers"


@pytest.fixture
def glass(world: World) -> World:
    """The flows under a policy that allows break-glass."""
    allow(world)
    return world


def allow(world: World, **rule: bool) -> None:
    """Allow break-glass, with more rules."""
    world.change(policy=Policy(break_glass=BreakGlassRule(allowed=True, **rule)))


def start_unsigned(world: World, version: str = "v4.8.0") -> ReleaseId:
    """Start a release whose checks have passed and that nobody has approved."""
    release_id = world.start(version)
    world.run("check")
    return release_id


def use_break_glass(world: World, version: str = "v4.8.0") -> ReleaseId:
    """Deploy a release with break-glass."""
    release_id = start_unsigned(world, version)
    world.break_glass(MANAGER, release_id, WHY)
    return release_id


def finish_with_break_glass(world: World, version: str = "v4.8.0") -> ReleaseId:
    """Deploy a release with break-glass to the end of its watch."""
    release_id = use_break_glass(world, version)
    world.run("advance")
    world.clock.advance(minutes=16)
    world.poll()
    return release_id


def test_a_break_glass_is_announced_and_recorded(glass: World) -> None:
    """The row, the record and a message in the channel name what was overridden, and the plan begins as usual."""
    release_id = start_unsigned(glass)
    answer = glass.break_glass(MANAGER, release_id, WHY)
    view = glass.view(release_id)
    assert "Deploying v4.8.0" in answer
    assert (view.release.state, view.release.deployer) == (ReleaseState.DEPLOYING, RITA)
    assert [step.state for step in view.steps if step.plan is PlanKind.DEPLOY] == [
        StepState.PENDING, StepState.PENDING, StepState.PENDING,
    ]  # fmt: skip
    entry = view.break_glass
    assert entry is not None
    assert (entry.by, entry.reason) == (RITA, "logins fail for all [redacted] customers")
    assert [one.text for one in entry.overridden_reasons] == ["Release Manager has not signed off"]
    posts = glass.rows("SELECT channel, parent FROM posts WHERE kind = 'break_glass'")
    assert posts == [{"channel": "C0RELEASES1", "parent": None}]
    assert glass.recorded_events()[-2:] == [(RITA, "deploy.started"), (RITA, "break_glass.used")]
    assert glass.last_fields() == {
        "reason": entry.reason,
        "passed": [
            {"cause": "signoff_missing", "about": "release_manager", "text": "Release Manager has not signed off"}
        ],
    }


def test_break_glass_is_refused_by_default(world: World) -> None:
    """Unless the policy allows it, break-glass is refused and nothing is stored."""
    release_id = start_unsigned(world)
    with pytest.raises(RefusedError, match="doesn't allow break-glass"):
        world.break_glass(MANAGER, release_id, WHY)
    assert world.view(release_id).release.state is ReleaseState.OPEN
    assert world.rows("SELECT FROM break_glass") == []


def test_only_the_release_manager_may_use_break_glass(glass: World) -> None:
    """By default only the release manager may use break-glass."""
    release_id = start_unsigned(glass)
    for actor in (QA, GUEST):
        with pytest.raises(NotAllowed):
            glass.break_glass(actor, release_id, WHY)


def test_break_glass_needs_a_reason(glass: World) -> None:
    """The reason has to be a sentence that a reviewer can judge."""
    release_id = start_unsigned(glass)
    with pytest.raises(InvalidInput, match="at least 4 words"):
        glass.break_glass(MANAGER, release_id, "please do it now")


def test_break_glass_is_refused_if_the_gate_is_open(glass: World) -> None:
    """With an open gate there is nothing to override; that the only approval is one's own is a reason."""
    release_id = glass.run_to_approval()
    glass.approve(release_id, PRODUCT)
    with pytest.raises(RefusedError, match="break-glass isn't needed"):
        glass.break_glass(MANAGER, release_id, WHY)
    glass.act(sign.revoke, PRODUCT, release_id, Role.PRODUCT)
    assert "Deploying" in glass.break_glass(MANAGER, release_id, WHY)


def test_break_glass_overrides_checks_that_could_be_waived(glass: World, outside: Outside) -> None:
    """A check that can't be waived is overridden only if the policy says so."""
    outside.answers = {"go.one": Outcome.FAIL, "go.two": Outcome.FAIL}
    release_id = start_unsigned(glass)
    with pytest.raises(GateClosed) as error:
        glass.break_glass(MANAGER, release_id, WHY)
    assert error.value.user_message.splitlines()[1:] == ["• Check of go.two: failed"]
    allow(glass, never_waivable=True)
    adopt(glass)
    glass.break_glass(MANAGER, release_id, WHY)
    entry = glass.view(release_id).break_glass
    assert entry is not None
    assert [one.about for one in entry.overridden_reasons] == ["go.one", "go.two", "release_manager"]


def adopt(world: World) -> None:
    """Restart the process with another policy."""
    with world.store.transaction() as tx:
        upkeep.adopt_policy(tx, world.deps)


def test_break_glass_does_not_override_a_decline(glass: World) -> None:
    """A decline by any role still closes the gate."""
    release_id = start_unsigned(glass)
    glass.act(
        sign.sign, QA, release_id, role=Role.QA, verdict=Verdict.DECLINE, reason="the export is broken", permalink=""
    )
    with pytest.raises(GateClosed, match="QA declined"):
        glass.break_glass(MANAGER, release_id, WHY)


def test_break_glass_overrides_a_freeze_only_if_the_policy_says_so(world: World, outside: Outside) -> None:
    """The deploy can be retried in the overridden freeze, and not in a later one with the same reason."""
    outside.answers = {"deploy.health": Outcome.FAIL}
    allow(world)
    release_id = start_unsigned(world)
    world.act(freeze.freeze, MANAGER, None, "incident")
    with pytest.raises(GateClosed, match="deploys are frozen: incident"):
        world.break_glass(MANAGER, release_id, WHY)
    allow(world, in_freeze=True)
    adopt(world)
    world.break_glass(MANAGER, release_id, WHY)
    world.run("advance")
    (failed_step,) = [step for step in world.view(release_id).steps if step.state is StepState.FAILED]
    assert "again" in world.act(step_clicks.retry, QA, failed_step.row)
    world.run("advance")
    world.act(freeze.freeze, MANAGER, None, "incident")
    with pytest.raises(GateClosed, match="frozen: incident"):
        world.act(step_clicks.retry, QA, failed_step.row)


def test_the_source_is_resolved_before_break_glass(glass: World, tags: Tags) -> None:
    """Without an answer nothing is deployed, and nobody is asked if the deploy would be refused anyway."""
    glass.change(sources=tags.sources())
    release_id = start_unsigned(glass)
    prepare_deploy(glass.deps, MANAGER, release_id)
    assert tags.requests == []
    prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    assert tags.requests != []
    glass.clock.advance(minutes=3)
    tags.away = True
    with pytest.raises(VendorError):
        prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    with pytest.raises(GateClosed, match="nobody has confirmed yet"):
        glass.break_glass(MANAGER, release_id, WHY)


def test_a_source_that_has_changed_is_shown_first(glass: World, tags: Tags) -> None:
    """A change makes checks and approvals void, which break-glass overrides, so the person must see it first."""
    allow(glass, never_waivable=True)
    glass.change(sources=tags.sources())
    release_id = start_unsigned(glass)
    glass.clock.advance(seconds=1)
    tags.digest = OTHER_DIGEST
    for _ in range(2):  # by a delivery that is handled once more too
        prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
        with pytest.raises(GateClosed, match="means another commit or image"):
            glass.break_glass(MANAGER, release_id, WHY)
    assert glass.view(release_id).release.digest == OTHER_DIGEST
    glass.clock.advance(minutes=2)
    findings = prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    assert "Deploying" in glass.act(judge_break_glass, MANAGER, findings, WHY)


def test_another_plan_than_the_shown_one_is_refused_once(glass: World, tags: Tags) -> None:
    """The first attempt shows the difference, and the second one deploys."""
    glass.change(
        policy=Policy(break_glass=BreakGlassRule(allowed=True), permissions={Action.DEPLOY: (Role.QA,)}),
        sources=tags.sources(),
    )
    release_id = start_unsigned(glass)
    change = Mutation("image of deployment/web", "a", "b", Way.BACK, "the rollback")
    with glass.store.transaction() as tx:
        plan_snapshots.store(tx, release_id, {StepId("deploy.tag"): [change]}, glass.clock.now(), QUINN)
    findings = prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    with pytest.raises(GateClosed, match="has changed since it was last shown"):
        glass.act(judge_break_glass, MANAGER, findings, WHY)
    findings = prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    assert "Deploying" in glass.act(judge_break_glass, MANAGER, findings, WHY)


def test_many_clicks_are_one_break_glass(glass: World) -> None:
    """Simultaneous clicks are stored and announced once."""
    release_id = start_unsigned(glass)
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: glass.break_glass(MANAGER, release_id, WHY), range(6)))
    assert sum("being deployed already" in one for one in answers) == 5
    assert [event for _, event in glass.recorded_events()].count("break_glass.used") == 1
    assert len(glass.rows("SELECT FROM posts WHERE kind = 'break_glass'")) == 1


def test_a_second_person_reviews_a_break_glass(glass: World) -> None:
    """The review comes after the release, has a note, and is refused to the person who used break-glass."""
    release_id = use_break_glass(glass)
    with pytest.raises(StaleButton, match="DEPLOYING"):
        glass.act(break_glass.review, QA, release_id, "it was right")
    glass.run("advance")
    glass.clock.advance(minutes=16)
    glass.poll()
    assert glass.view(release_id).release.state is ReleaseState.DONE
    with pytest.raises(RefusedError, match="yourself"):
        glass.act(break_glass.review, MANAGER, release_id, "it was right")
    with pytest.raises(CheckViolation):
        glass.rows("UPDATE break_glass SET reviewed_by = by_whom, reviewed_at = at RETURNING release_id")
    with pytest.raises(NotAllowed):
        glass.act(break_glass.review, GUEST, release_id, "it was right")
    with pytest.raises(InvalidInput):
        glass.act(break_glass.review, QA, release_id, " ")
    assert "Recorded" in glass.act(break_glass.review, QA, release_id, "right, but s3cret alarms are missing")
    assert "already reviewed that" in glass.act(break_glass.review, PRODUCT, release_id, "me too")
    entry = glass.view(release_id).break_glass
    assert entry is not None
    assert (entry.reviewed_by, entry.review_note) == (QUINN, "right, but [redacted] alarms are missing")
    assert glass.recorded_events()[-1] == (QUINN, "break_glass.reviewed")


def test_people_are_reminded_of_an_open_review(glass: World) -> None:
    """Replicas send each reminder once, also during another release, until the review."""
    first = finish_with_break_glass(glass)

    def count_reminders() -> int:
        for _ in range(2):
            reminders.remind_if_due(glass.deps)
        return len(glass.rows("SELECT FROM posts WHERE subject LIKE 'waiting:%%'"))

    counts = [count_reminders()]
    glass.clock.advance(hours=4)
    counts.append(count_reminders())
    glass.run_to_watch("v4.8.1")
    glass.clock.advance(hours=4)
    counts.append(count_reminders())
    assert counts == [0, 1, 2]
    assert glass.last_fields() == {"what": "nobody has reviewed its break-glass", "round": 2}
    glass.act(break_glass.review, QA, first, "it was right")
    glass.clock.advance(hours=4)
    assert count_reminders() == 2


def test_a_normal_deploy_has_no_review(glass: World) -> None:
    """A release that went through the gate cannot be reviewed."""
    release_id = glass.run_to_done()
    with pytest.raises(StaleButton, match="went through the gate"):
        glass.act(break_glass.review, QA, release_id, "it was right")


def test_a_second_break_glass_waits_for_the_review(glass: World) -> None:
    """Another break-glass is refused until the first one is reviewed."""
    first = finish_with_break_glass(glass)
    second = start_unsigned(glass, "v4.8.1")
    with pytest.raises(RefusedError, match=r"The break-glass of v4\.8\.0 was never reviewed"):
        glass.break_glass(MANAGER, second, WHY)
    glass.act(break_glass.review, QA, first, "it was right")
    assert "Deploying v4.8.1" in glass.break_glass(MANAGER, second, WHY)


def test_a_normal_release_does_not_wait_for_the_review(glass: World) -> None:
    """A release through the gate is possible while a review is open."""
    finish_with_break_glass(glass)
    assert glass.view(glass.run_to_watch("v4.8.1")).release.state is ReleaseState.WATCHING


def test_a_break_glass_can_be_rolled_back(glass: World) -> None:
    """The release is rolled back as usual, and reviewed afterwards."""
    release_id = use_break_glass(glass)
    glass.run("advance")
    glass.act(judge_rollback, QA, release_id, "errors")
    glass.run("advance")
    assert glass.view(release_id).release.state is ReleaseState.ROLLED_BACK
    assert "Recorded" in glass.act(break_glass.review, QA, release_id, "it was wrong")


def test_the_evidence_has_the_break_glass(glass: World) -> None:
    """Both reports name what was overridden and the result of the review."""
    release_id = finish_with_break_glass(glass)
    for finding, text in (("", "nobody has reviewed it yet"), ("it was right", f"by {QUINN}")):
        if finding:
            glass.act(break_glass.review, QA, release_id, finding)
        with glass.store.transaction() as tx:
            content = report.make(tx, glass.view(release_id), glass.deps.redact)
        with zipfile.ZipFile(BytesIO(content)) as pack:
            for name, head in (("report.md", "## Break-glass"), ("report.html", "<h2>Break-glass</h2>")):
                _, _, part = pack.read(name).decode().replace("\\", "").partition(head)
                part = re.split("## Deploy|<h2>Deploy", part)[0]
                assert "logins fail for all [redacted] customers" in part
                assert "Release Manager has not signed off" in part
                assert text in part


def test_a_waived_check_is_not_overridden(glass: World, outside: Outside) -> None:
    """A waived check is no reason, so break-glass does not name it."""
    outside.answers = {"go.one": Outcome.FAIL}
    release_id = start_unsigned(glass)
    glass.act(check.waive, MANAGER, release_id, CheckId("go.one"), "known")
    glass.break_glass(MANAGER, release_id, WHY)
    entry = glass.view(release_id).break_glass
    assert entry is not None
    assert [one.cause for one in entry.overridden_reasons] == ["signoff_missing"]
