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
from bot.flows import break_glass, check, freeze, remind, sign, upkeep
from bot.flows.deploying import step_clicks
from bot.flows.deploying.judge import judge_break_glass
from bot.flows.deploying.prepare import prepare_deploy
from bot.flows.deploying.rollback import judge_rollback
from bot.slack import report
from bot.store import plan_snapshots
from checks.contract import Outcome
from tests.fix_bot import GUEST, MANAGER, PRODUCT, QA, Outside, World
from tests.fix_tags import REBUILT, Tags
from tests.unit.factories import QUINN, RITA

WHY = "logins fail for all s3cret customers"


@pytest.fixture
def glass(world: World) -> World:
    """The flows under a policy that allows it."""
    allow(world)
    return world


def allow(world: World, **rule: bool) -> None:
    """Allow it, and more."""
    world.change(policy=Policy(break_glass=BreakGlassRule(allowed=True, **rule)))


def unsigned(world: World, version: str = "v4.8.0") -> ReleaseId:
    """A release whose checks have passed and that nobody has signed."""
    release_id = world.start(version)
    world.run("check")
    return release_id


def broken(world: World, version: str = "v4.8.0") -> ReleaseId:
    """A release on its way past the gate."""
    release_id = unsigned(world, version)
    world.break_glass(MANAGER, release_id, WHY)
    return release_id


def over(world: World, version: str = "v4.8.0") -> ReleaseId:
    """The same, and its watch is over."""
    release_id = broken(world, version)
    world.run("advance")
    world.clock.advance(minutes=16)
    world.poll()
    return release_id


def test_it_is_loud_and_written_down(glass: World) -> None:
    """What was passed over is in the row, in the record and in a message to the channel; the plan begins as in any deploy."""
    release_id = unsigned(glass)
    said = glass.break_glass(MANAGER, release_id, WHY)
    view = glass.view(release_id)
    assert "Deploying v4.8.0" in said
    assert (view.release.state, view.release.deployer) == (ReleaseState.DEPLOYING, RITA)
    assert [step.state for step in view.steps if step.plan is PlanKind.DEPLOY] == [
        StepState.PENDING, StepState.PENDING, StepState.PENDING,
    ]  # fmt: skip
    found = view.break_glass
    assert found is not None
    assert (found.by, found.reason) == (RITA, "logins fail for all [redacted] customers")
    assert [one.text for one in found.passed] == ["Release Manager has not signed off"]
    posted = glass.rows("SELECT channel, parent FROM posts WHERE kind = 'break_glass'")
    assert posted == [{"channel": "C0RELEASES1", "parent": None}]
    assert glass.recorded_events()[-2:] == [(RITA, "deploy.started"), (RITA, "break_glass.used")]
    assert glass.last_fields() == {
        "reason": found.reason,
        "passed": [
            {"cause": "signoff_missing", "about": "release_manager", "text": "Release Manager has not signed off"}
        ],
    }


def test_it_is_off_by_default(world: World) -> None:
    """Nobody has it who has not asked for it, and nothing is written."""
    release_id = unsigned(world)
    with pytest.raises(RefusedError, match="allows no break-glass"):
        world.break_glass(MANAGER, release_id, WHY)
    assert world.view(release_id).release.state is ReleaseState.OPEN
    assert world.rows("SELECT FROM break_glass") == []


def test_only_who_may(glass: World) -> None:
    """By default the release manager."""
    release_id = unsigned(glass)
    for actor in (QA, GUEST):
        with pytest.raises(NotAllowed):
            glass.break_glass(actor, release_id, WHY)


def test_it_needs_a_reason(glass: World) -> None:
    """One that somebody can judge later."""
    release_id = unsigned(glass)
    with pytest.raises(InvalidInput, match="at least 4 words"):
        glass.break_glass(MANAGER, release_id, "please do it now")


def test_nothing_to_pass_over(glass: World) -> None:
    """Where the gate is open it is refused; that the only approval is one's own is something to pass over."""
    release_id = glass.ready()
    glass.approve(release_id, PRODUCT)
    with pytest.raises(RefusedError, match="no glass is to be broken"):
        glass.break_glass(MANAGER, release_id, WHY)
    glass.act(sign.revoke, PRODUCT, release_id, Role.PRODUCT)
    assert "Deploying" in glass.break_glass(MANAGER, release_id, WHY)


def test_checks_that_could_be_waived(glass: World, outside: Outside) -> None:
    """`go.one` is passed over; `go.two`, which can never be waived, only where the policy says so."""
    outside.answers = {"go.one": Outcome.FAIL, "go.two": Outcome.FAIL}
    release_id = unsigned(glass)
    with pytest.raises(GateClosed) as closed:
        glass.break_glass(MANAGER, release_id, WHY)
    assert closed.value.user_message.splitlines()[1:] == ["• Check of go.two: failed"]
    allow(glass, never_waivable=True)
    adopt(glass)
    glass.break_glass(MANAGER, release_id, WHY)
    found = glass.view(release_id).break_glass
    assert found is not None
    assert [one.about for one in found.passed] == ["go.one", "go.two", "release_manager"]


def adopt(world: World) -> None:
    """The process starts again with another policy."""
    with world.store.transaction() as tx:
        upkeep.adopt_policy(tx, world.deps)


def test_a_no_stands(glass: World) -> None:
    """Somebody has said that it must not go."""
    release_id = unsigned(glass)
    glass.act(
        sign.sign, QA, release_id, role=Role.QA, verdict=Verdict.DECLINE, reason="the export is broken", permalink=""
    )
    with pytest.raises(GateClosed, match="QA declined"):
        glass.break_glass(MANAGER, release_id, WHY)


def test_a_freeze_stands_unless_the_policy_says_so(world: World, outside: Outside) -> None:
    """Let past it, the deploy is retried in that freeze, and not in a later one, though it has the same reason."""
    outside.answers = {"deploy.health": Outcome.FAIL}
    allow(world)
    release_id = unsigned(world)
    world.act(freeze.freeze, MANAGER, None, "incident")
    with pytest.raises(GateClosed, match="deploys are frozen: incident"):
        world.break_glass(MANAGER, release_id, WHY)
    allow(world, in_freeze=True)
    adopt(world)
    world.break_glass(MANAGER, release_id, WHY)
    world.run("advance")
    (failed,) = [step for step in world.view(release_id).steps if step.state is StepState.FAILED]
    assert "again" in world.act(step_clicks.retry, QA, failed.row)
    world.run("advance")
    world.act(freeze.freeze, MANAGER, None, "incident")
    with pytest.raises(GateClosed, match="frozen: incident"):
        world.act(step_clicks.retry, QA, failed.row)


def test_what_it_means_is_looked_up_before(glass: World, tags: Tags) -> None:
    """As before any deploy; where nobody answers, nothing is deployed. Nobody is asked where it would be refused anyway."""
    glass.change(sources=tags.sources())
    release_id = unsigned(glass)
    prepare_deploy(glass.deps, MANAGER, release_id)
    assert tags.requests == []
    prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    assert tags.requests != []
    glass.clock.advance(minutes=3)
    tags.away = True
    with pytest.raises(VendorError):
        prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    with pytest.raises(GateClosed, match="not looked up just now"):
        glass.break_glass(MANAGER, release_id, WHY)


def test_what_has_moved_is_not_deployed_unseen(glass: World, tags: Tags) -> None:
    """The move makes checks and sign-offs void, which break-glass passes over: so its person has to see it first."""
    allow(glass, never_waivable=True)
    glass.change(sources=tags.sources())
    release_id = unsigned(glass)
    glass.clock.advance(seconds=1)
    tags.digest = REBUILT
    for _ in range(2):  # by a delivery that is handled once more too
        prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
        with pytest.raises(GateClosed, match="means another commit or image"):
            glass.break_glass(MANAGER, release_id, WHY)
    assert glass.view(release_id).release.digest == REBUILT
    glass.clock.advance(minutes=2)
    findings = prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    assert "Deploying" in glass.act(judge_break_glass, MANAGER, findings, WHY)


def test_another_plan_than_the_one_people_saw_is_told_once(glass: World, tags: Tags) -> None:
    """Also to somebody who may not deploy: what differs is seen by that, and the next time means it."""
    glass.change(
        policy=Policy(break_glass=BreakGlassRule(allowed=True), may={Action.DEPLOY: (Role.QA,)}), sources=tags.sources()
    )
    release_id = unsigned(glass)
    change = Mutation("image of deployment/web", "a", "b", Way.BACK, "the rollback")
    with glass.store.transaction() as tx:
        plan_snapshots.store(tx, release_id, {StepId("deploy.tag"): [change]}, glass.clock.now(), QUINN)
    findings = prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    with pytest.raises(GateClosed, match="is not the one that was shown"):
        glass.act(judge_break_glass, MANAGER, findings, WHY)
    findings = prepare_deploy(glass.deps, MANAGER, release_id, Action.BREAK_GLASS)
    assert "Deploying" in glass.act(judge_break_glass, MANAGER, findings, WHY)


def test_at_once_it_is_one(glass: World) -> None:
    """Pressed by many, once in the rows and once in the channel."""
    release_id = unsigned(glass)
    with ThreadPoolExecutor(6) as threads:
        said = list(threads.map(lambda _: glass.break_glass(MANAGER, release_id, WHY), range(6)))
    assert sum("being deployed already" in one for one in said) == 5
    assert [event for _, event in glass.recorded_events()].count("break_glass.used") == 1
    assert len(glass.rows("SELECT FROM posts WHERE kind = 'break_glass'")) == 1


def test_a_second_person_reviews_it(glass: World) -> None:
    """Once it is over, with a note; not whoever broke the glass, neither by the flow nor by the database."""
    release_id = broken(glass)
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
    assert "has reviewed that already" in glass.act(break_glass.review, PRODUCT, release_id, "me too")
    found = glass.view(release_id).break_glass
    assert found is not None
    assert (found.reviewed_by, found.finding) == (QUINN, "right, but [redacted] alarms are missing")
    assert glass.recorded_events()[-1] == (QUINN, "break_glass.reviewed")


def test_people_are_reminded_of_a_review_that_is_owed(glass: World) -> None:
    """Also while another release is under way; once a round, by whichever replica; not any more once it is reviewed."""
    first = over(glass)

    def reminded() -> int:
        for _ in range(2):
            remind.remind_if_due(glass.deps)
        return len(glass.rows("SELECT FROM posts WHERE subject LIKE 'waiting:%%'"))

    found = [reminded()]
    glass.clock.advance(hours=4)
    found.append(reminded())
    glass.deployed("v4.8.1")
    glass.clock.advance(hours=4)
    found.append(reminded())
    assert found == [0, 1, 2]
    assert glass.last_fields() == {"what": "nobody has reviewed its break-glass", "round": 2}
    glass.act(break_glass.review, QA, first, "it was right")
    glass.clock.advance(hours=4)
    assert reminded() == 2


def test_what_went_through_the_gate_has_no_review(glass: World) -> None:
    """There is nothing to look at."""
    release_id = glass.done()
    with pytest.raises(StaleButton, match="went through the gate"):
        glass.act(break_glass.review, QA, release_id, "it was right")


def test_the_next_one_waits_for_the_review(glass: World) -> None:
    """An ordinary release does not."""
    first = over(glass)
    second = unsigned(glass, "v4.8.1")
    with pytest.raises(RefusedError, match=r"The break-glass of v4\.8\.0 was never reviewed"):
        glass.break_glass(MANAGER, second, WHY)
    glass.act(break_glass.review, QA, first, "it was right")
    assert "Deploying v4.8.1" in glass.break_glass(MANAGER, second, WHY)


def test_an_ordinary_release_waits_for_no_review(glass: World) -> None:
    """Only the shortcut does."""
    over(glass)
    assert glass.view(glass.deployed("v4.8.1")).release.state is ReleaseState.WATCHING


def test_it_can_be_taken_back_and_reviewed_then(glass: World) -> None:
    """A rollback is as ever."""
    release_id = broken(glass)
    glass.run("advance")
    glass.act(judge_rollback, QA, release_id, "errors")
    glass.run("advance")
    assert glass.view(release_id).release.state is ReleaseState.ROLLED_BACK
    assert "Recorded" in glass.act(break_glass.review, QA, release_id, "it was wrong")


def test_the_evidence_has_it(glass: World) -> None:
    """In both reports, with what was passed over and what became of the review."""
    release_id = over(glass)
    for finding, said in (("", "nobody has reviewed it yet"), ("it was right", f"by {QUINN}")):
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
                assert said in part


def test_a_waived_check_is_not_passed_over(glass: World, outside: Outside) -> None:
    """What was let go as it should be is nothing to break glass for."""
    outside.answers = {"go.one": Outcome.FAIL}
    release_id = unsigned(glass)
    glass.act(check.waive, MANAGER, release_id, CheckId("go.one"), "known")
    glass.break_glass(MANAGER, release_id, WHY)
    found = glass.view(release_id).break_glass
    assert found is not None
    assert [one.cause for one in found.passed] == ["signoff_missing"]
