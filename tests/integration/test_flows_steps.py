"""What people do about a step: cancel one that runs, do a failed one by hand, try it again."""

from dataclasses import replace

import pytest

from bot.domain.ids import ReleaseId
from bot.domain.plan import Mutation, Step, StepState, Way
from bot.domain.release import ReleaseState
from bot.errors import GateClosed, InvalidInput, NotAllowed, RefusedError, StaleButton, StepError, Superseded
from bot.flows import deploy, freeze
from bot.flows.journal import StepJournal
from bot.store import work
from checks.contract import Outcome
from tests.fix_bot import GUEST, MANAGER, QA, MovableClock, Outside, World, checklist

STEPS = tuple(
    {"id": f"deploy.{name}", "title": name, "by_hand": name == "two", "action": {"do": "check", "kind": "ask"}}
    for name in ("one", "two", "three")
)


@pytest.fixture
def plan(world: World) -> World:
    """The flows with three steps, the second of which a person may do by hand."""
    world.change(checklist=checklist(deploy=STEPS))
    return world


def step(world: World, release_id: ReleaseId, name: str) -> Step:
    """A step as it stands."""
    return next(found for found in world.view(release_id).steps if found.id == f"deploy.{name}")


def failing(world: World, name: str) -> ReleaseId:
    """A deploy that stands at a failed step."""
    world.outside.answers = {f"deploy.{name}": Outcome.FAIL}
    release_id = world.deployed()
    assert world.view(release_id).release.state is ReleaseState.DEPLOY_FAILED
    return release_id


def test_done_by_hand(plan: World) -> None:
    """With a name and a note; the plan goes on behind it."""
    release_id = failing(plan, "two")
    said = plan.act(deploy.attest, QA, step(plan, release_id, "two").row, "did it in the console s3cret")
    assert said == "Recorded: deploy.two was done by hand."
    plan.run("advance")
    found = step(plan, release_id, "two")
    assert (found.state, found.by, found.note) == (StepState.ATTESTED, QA.user, "did it in the console [redacted]")
    assert plan.view(release_id).release.state is ReleaseState.WATCHING
    assert plan.outside.runs.count("deploy.two") == 1
    assert "deploy.three" in plan.outside.runs
    assert (QA.user, "step.attested") in plan.told()


def test_not_by_hand_where_the_checklist_does_not_allow_it(plan: World) -> None:
    """Nothing changes."""
    release_id = failing(plan, "one")
    with pytest.raises(RefusedError, match="cannot be done by hand"):
        plan.act(deploy.attest, QA, step(plan, release_id, "one").row, "did it")
    with pytest.raises(InvalidInput):
        plan.act(deploy.attest, QA, step(plan, release_id, "one").row, " ")
    assert plan.view(release_id).release.state is ReleaseState.DEPLOY_FAILED


def test_not_by_hand_in_a_freeze(plan: World) -> None:
    """It would carry the deploy on."""
    release_id = failing(plan, "two")
    plan.act(freeze.freeze, MANAGER, None, "incident")
    with pytest.raises(GateClosed, match="frozen"):
        plan.act(deploy.attest, QA, step(plan, release_id, "two").row, "did it")


def test_cancel(plan: World, outside: Outside) -> None:
    """Whoever carries it out can write nothing more; it has failed, and a retry carries it out again."""
    release_id = plan.ready()
    plan.act(deploy.deploy, QA, release_id)

    def stop(name: str) -> None:
        if name == "deploy.two":
            outside.during = lambda _: None
            row = step(plan, release_id, "two").row
            assert plan.act(deploy.cancel, QA, row) == "deploy.two is cancelled. Retry it, or roll back."
            with pytest.raises(StaleButton):
                plan.act(deploy.cancel, QA, row)

    outside.during = stop
    job = plan.claim("advance")
    assert job is not None
    with pytest.raises(Superseded):
        plan.carry_out(job)
    found = step(plan, release_id, "two")
    assert (found.state, found.attempt, found.summary.split(".")[0]) == (StepState.FAILED, 1, "cancelled")
    assert plan.view(release_id).release.state is ReleaseState.DEPLOY_FAILED
    assert "deploy.three" not in outside.runs
    plan.act(deploy.retry, QA, found.row)
    plan.run("advance")
    assert step(plan, release_id, "two").attempt == 2
    assert plan.view(release_id).release.state is ReleaseState.WATCHING
    plan.events()


def test_a_process_that_stood_still_after_its_intent_does_not_act(plan: World) -> None:
    """The step may be somebody else's by then, although nobody has taken it yet."""

    class Standing(MovableClock):
        def steady(self) -> float:
            self.advance(seconds=work.ACT_WITHIN + 1)
            return super().steady()

    release_id = plan.ready()
    plan.act(deploy.deploy, QA, release_id)
    job = plan.claim("advance")
    assert job is not None
    row = step(plan, release_id, "one").row
    StepJournal(plan.deps, job, release_id, row).intent([])
    with pytest.raises(Superseded):
        StepJournal(replace(plan.deps, clock=Standing()), job, release_id, row).intent([])


def test_what_a_step_writes_down_holds_no_secret_at_any_depth(plan: World) -> None:
    """Nor what PostgreSQL refuses; what was planned with a secret in it is still what was planned."""
    release_id = plan.ready()
    plan.act(deploy.deploy, QA, release_id)
    job = plan.claim("advance")
    assert job is not None
    row = step(plan, release_id, "one").row
    change = Mutation("MODE of deployment/api", "s3cret", "off", Way.BACK, "a button")
    journal = StepJournal(plan.deps, job, release_id, row, [change])
    journal.before(mode="was s3cret\0", deep={"list": ["s3cret"]})
    journal.intent([change])
    journal.observed(deep=[{"value": "s3cret"}], attempt=1)
    journal.acted(changed=["s3cret\0"], image="app:1")
    with pytest.raises(StepError, match="has changed since"):
        journal.intent([replace(change, now="on")])
    assert step(plan, release_id, "one").before == {"mode": "was [redacted]␀", "deep": {"list": ["[redacted]"]}}
    assert [line["body"] for line in plan.rows("SELECT body FROM journal ORDER BY id")] == [
        {"changes": [replace(change, now="[redacted]").body]},
        {"deep": [{"value": "[redacted]"}], "attempt": 1},
        {"changed": ["[redacted]␀"], "image": "app:1"},
    ]


@pytest.mark.parametrize("flow", [deploy.cancel, deploy.retry])
def test_without_a_role(plan: World, flow: object) -> None:
    """Nobody else."""
    release_id = failing(plan, "one")
    with pytest.raises(NotAllowed):
        plan.act(flow, GUEST, step(plan, release_id, "one").row)  # type: ignore[arg-type]
