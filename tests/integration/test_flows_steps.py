"""What people do about a step: cancel one that runs, do a failed one by hand, try it again."""

import time
from dataclasses import replace

import pytest

from bot.domain.actions import RunCheck, SetVariable
from bot.domain.ids import ReleaseId
from bot.domain.plan import Mutation, Step, StepState, Way
from bot.domain.plan_snapshot import plan_digest
from bot.domain.policy import Policy
from bot.domain.release import ReleaseState
from bot.errors import GateClosed, InvalidInput, NotAllowed, RefusedError, StaleButton, StepError, Superseded
from bot.flows import freeze
from bot.flows.deploying import step_clicks
from bot.flows.deploying.plan_snapshot import store_snapshot
from bot.flows.deploying.rollback import judge_rollback
from bot.flows.journal import StepJournal
from bot.flows.step_inspection import plan_of_release
from bot.steps.registry import DOERS
from bot.store import work
from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from checks.registry import Registry
from clients.vercel import commit_of
from sandbox.staging.versions import BRANCH, commit_sha
from tests.fix_bot import GUEST, MANAGER, QA, RESOLVED, MovableClock, Outside, World, checklist, fields_of
from tests.fix_kube import eventually
from tests.fix_vendors import Vendors
from tests.unit.factories import render_stored

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
    said = plan.act(step_clicks.attest, QA, step(plan, release_id, "two").row, "did it in the console s3cret")
    assert said == "Recorded: deploy.two was done by hand."
    plan.run("advance")
    found = step(plan, release_id, "two")
    assert (found.state, found.by, found.note) == (StepState.ATTESTED, QA.user, "did it in the console [redacted]")
    assert plan.view(release_id).release.state is ReleaseState.WATCHING
    assert plan.outside.runs.count("deploy.two") == 1
    assert "deploy.three" in plan.outside.runs
    assert (QA.user, "step.attested") in plan.recorded_events()


def test_not_by_hand_where_the_checklist_does_not_allow_it(plan: World) -> None:
    """Nothing changes."""
    release_id = failing(plan, "one")
    with pytest.raises(RefusedError, match="cannot be done by hand"):
        plan.act(step_clicks.attest, QA, step(plan, release_id, "one").row, "did it")
    with pytest.raises(InvalidInput):
        plan.act(step_clicks.attest, QA, step(plan, release_id, "one").row, " ")
    assert plan.view(release_id).release.state is ReleaseState.DEPLOY_FAILED


def test_who_may_attest_a_step(plan: World) -> None:
    """As a line of the policy says of it; of the other steps whoever may."""
    rules = {"lines": {"deploy.two": {"attest": ["release_manager"]}, "deploy.one": {"attest": ["product"]}}}
    plan.change(policy=Policy.model_validate(rules))
    release_id = failing(plan, "two")
    row = step(plan, release_id, "two").row
    for act in (
        lambda: plan.act(step_clicks.attest, QA, row, "did it"),
        lambda: step_clicks.inspect_attested_step(plan.deps, QA, row),
    ):
        with pytest.raises(NotAllowed, match="takes the role Release Manager"):
            act()
    plan.act(step_clicks.attest, MANAGER, row, "did it")
    assert step(plan, release_id, "two").state is StepState.ATTESTED


def test_not_by_hand_in_a_freeze(plan: World) -> None:
    """It would carry the deploy on."""
    release_id = failing(plan, "two")
    plan.act(freeze.freeze, MANAGER, None, "incident")
    with pytest.raises(GateClosed, match="frozen"):
        plan.act(step_clicks.attest, QA, step(plan, release_id, "two").row, "did it")


def test_what_is_done_by_hand_can_be_looked_at() -> None:
    """Every change that the bot makes by itself; a question and a person's choice change nothing that it could see."""
    assert {action for action, found in DOERS.items() if found.confirm is None} == {SetVariable, RunCheck}


@pytest.fixture
def hands(world: World) -> World:
    """A deploy that a person begins and the bot goes on with, and a rollback that a person ends."""
    ship = {"id": "deploy.ship", "title": "Ship", "action": {"do": "check", "kind": "ask"}}
    back = {"id": "rollback.back", "title": "Back", "action": {"do": "check", "kind": "ask"}}
    drain, fill = (
        {"id": f"{plan}.{name}", "title": name.capitalize(), "action": {"do": "attest"}}
        for plan, name in (("deploy", "drain"), ("rollback", "fill"))
    )
    world.change(checklist=checklist(deploy=(drain, ship), rollback=(back, fill)))
    return world


class TestAPersonsStep:
    """The plan waits for it: nothing is done, and nothing is said to be over, before somebody says that it is done."""

    def test_the_deploy_waits(self, hands: World) -> None:
        """What stands behind it is not done before; who may attest it is asked once, and the plan goes on."""
        release_id = hands.deployed()
        drain, ship = step(hands, release_id, "drain"), step(hands, release_id, "ship")
        hands.deploy(QA, release_id)
        with hands.store.transaction() as tx:
            work.ask(tx, "advance", release_id)
        hands.run("advance")  # a second look finds nothing to do
        view = hands.view(release_id)
        assert (view.release.state, view.awaited) == (ReleaseState.DEPLOYING, drain)
        assert "deploy.ship" not in hands.outside.runs
        assert hands.rows("SELECT subject FROM posts WHERE kind = 'notice'") == [{"subject": f"attest:{drain.row}"}]
        asked = render_stored("notice", f"attest:{drain.row}", view).text
        assert "waits for a person: Drain\nRelease Manager or QA or Product does it" in asked

        with pytest.raises(InvalidInput):
            hands.act(step_clicks.attest, QA, drain.row, "")
        with pytest.raises(NotAllowed):
            hands.act(step_clicks.attest, GUEST, drain.row, "drained")
        with pytest.raises(StaleButton, match="it waits for a person"):
            hands.act(step_clicks.cancel, QA, drain.row)
        with pytest.raises(StaleButton):
            hands.act(step_clicks.retry, QA, drain.row)
        with pytest.raises(RefusedError, match="does not wait for an attestation"):
            hands.act(step_clicks.attest, QA, ship.row, "shipped")
        hands.act(freeze.freeze, MANAGER, None, "incident")  # stops no deploy that has begun
        hands.act(step_clicks.attest, QA, drain.row, "drained s3cret")
        hands.run("advance")
        view, drain = hands.view(release_id), step(hands, release_id, "drain")
        assert (view.release.state, view.awaited) == (ReleaseState.WATCHING, None)
        assert (drain.state, drain.by, drain.note) == (StepState.ATTESTED, QA.user, "drained [redacted]")
        assert hands.outside.runs.count("deploy.ship") == 1
        with pytest.raises(RefusedError, match="does not wait for an attestation"):
            hands.act(step_clicks.attest, MANAGER, drain.row, "again")

    def test_the_rollback_waits_too(self, hands: World) -> None:
        """It can begin while the deploy waits, which is over then; it is not said to be done before a person has done their part."""
        release_id = hands.deployed()
        hands.act(judge_rollback, QA, release_id, "wrong version")
        hands.run("advance")
        view = hands.view(release_id)
        assert step(hands, release_id, "drain").state is StepState.CANCELLED
        assert view.awaited is not None
        assert (view.release.state, view.awaited.id) == (ReleaseState.ROLLING_BACK, "rollback.fill")
        assert "rolled_back" not in {
            row["subject"] for row in hands.rows("SELECT subject FROM posts WHERE kind = 'notice'")
        }
        with pytest.raises(RefusedError):
            hands.act(step_clicks.attest, QA, step(hands, release_id, "drain").row, "drained after all")
        hands.act(freeze.freeze, MANAGER, None, "incident")

        hands.act(step_clicks.attest, QA, view.awaited.row, "filled")
        hands.run("advance")
        view = hands.view(release_id)
        assert view.release.state is ReleaseState.ROLLED_BACK
        said = render_stored("notice", "rolled_back", view).text
        assert f"production runs what it ran before, by the word of <@{QA.user}>: wrong version" in said

    def test_what_the_bot_cannot_do_is_known_before_a_person_begins(self, hands: World) -> None:
        """Nobody is asked to drain for a deploy that ends there; a retry looks again, and then the person is asked."""
        release_id, targets = hands.ready(), hands.deps.targets
        hands.change(targets={})
        hands.deploy(QA, release_id)
        hands.run("advance")
        ship = step(hands, release_id, "ship")
        assert (hands.view(release_id).release.state, ship.state) == (ReleaseState.DEPLOY_FAILED, StepState.FAILED)
        assert ship.summary.startswith("there is no target production")
        assert step(hands, release_id, "drain").started_at is None
        with pytest.raises(StaleButton):
            hands.act(step_clicks.attest, QA, step(hands, release_id, "drain").row, "drained")
        hands.change(targets=targets)
        hands.act(step_clicks.retry, QA, ship.row)
        hands.run("advance")
        assert hands.view(release_id).awaited == step(hands, release_id, "drain")


class TestTagByHand:
    """Its rules hold for a person too: one click does not put past them what nobody has tagged."""

    @pytest.fixture
    def tagged(self, world: World, vendors: Vendors) -> ReleaseId:
        """A deploy that stands at the tag, because the checks of its commit are red."""
        tag = {"id": "deploy.tag", "title": "tag", "by_hand": True, "action": {"do": "tag"}}
        world.change(checklist=checklist(deploy=(tag, STEPS[0])))
        world.on_production(**vendors.parts)
        vendors.faults.set("commit_checks_fail", True)
        release_id = world.start(resolved=replace(RESOLVED, commit=commit_sha(BRANCH)))
        world.run("check")
        world.approve(release_id)
        world.deploy(QA, release_id)
        world.run("advance")
        assert "not green" in step(world, release_id, "tag").summary
        return release_id

    def test_red(self, world: World, vendors: Vendors, tagged: ReleaseId) -> None:
        """Refused while they are red, and while there is no tag; recorded with what was seen once both are as they must be."""
        row = step(world, tagged, "tag").row
        vendors.github.create_tag("v4.8.0", commit_sha(BRANCH), "by hand")
        with pytest.raises(RefusedError, match=r"Not recorded: .* not green: backend tests") as refused:
            step_clicks.inspect_attested_step(world.deps, QA, row)
        assert refused.value.hint == "Wait for them, or fix what they found."
        with pytest.raises(StaleButton):
            world.act(step_clicks.attest, QA, row, "did it")  # nobody has looked
        assert world.view(tagged).release.state is ReleaseState.DEPLOY_FAILED
        vendors.faults.set("commit_checks_fail", False)
        saw = step_clicks.inspect_attested_step(world.deps, QA, row)
        assert (
            world.act(step_clicks.attest, QA, row, "did it", saw) == f"Recorded: deploy.tag was done by hand ({saw})."
        )
        found = step(world, tagged, "tag")
        assert (found.state, found.summary) == (StepState.ATTESTED, f"seen: v4.8.0 is on {commit_sha(BRANCH)[:12]}")
        assert world.last().body["saw"] == saw
        world.run("advance")
        assert world.view(tagged).release.state is ReleaseState.WATCHING

    def test_github_is_away(self, world: World, vendors: Vendors, tagged: ReleaseId) -> None:
        """A person goes on, and it says that nobody could look. Somebody without a role has nobody asked."""
        vendors.breaking = lambda *_: 404
        asked = len(vendors.calls)
        with pytest.raises(NotAllowed):
            step_clicks.inspect_attested_step(world.deps, GUEST, step(world, tagged, "tag").row)
        assert len(vendors.calls) == asked
        vendors.breaking = lambda *_: 401
        row = step(world, tagged, "tag").row
        world.act(step_clicks.attest, QA, row, "did it", step_clicks.inspect_attested_step(world.deps, QA, row))
        assert step(world, tagged, "tag").summary.startswith("not confirmed: GitHub refused GET")


def test_another_plan_than_the_one_that_was_shown_waits_until_it_is_seen(world: World, vendors: Vendors) -> None:
    """Changed at the last moment: nothing is done, what differs is named, and a retry goes with that; both are on record."""
    frontend = {"id": "deploy.frontend", "title": "frontend", "action": {"do": "vercel_deploy", "wait_for_auto": 0}}
    world.change(checklist=checklist(deploy=(frontend,)))
    world.on_production(**vendors.parts)
    vendors.faults.set("vercel_no_auto_deploy", True)
    release_id = world.start(resolved=replace(RESOLVED, commit=commit_sha(BRANCH)))
    world.run("check")
    world.approve(release_id)
    release = world.view(release_id).release
    first = plan_of_release(world.deps, release)
    (seen,) = first[0].changes
    with world.store.transaction() as tx:
        store_snapshot(tx, world.deps, QA, release, first)
        store_snapshot(tx, world.deps, GUEST, release, [replace(first[0], changes=())])  # who only looks is not asked
    world.deploy(QA, release_id)
    vendors.vercel.create(commit_sha("v4.6.0"), "v4.6.0", "somebody")
    eventually("the hotfix to be live", lambda: live_commit(vendors) == commit_sha("v4.6.0"))
    hotfix = vendors.vercel.live() or {}
    asked = vendors.posts()
    world.run("advance")
    found = step(world, release_id, "frontend")
    assert found.summary.startswith(f"the plan is not the one that was shown: {seen.what}: {hotfix['id']}, commit ")
    assert f"(shown: {seen.now} → {seen.after}). Nothing was changed. Press Retry" in found.summary
    assert (vendors.posts(), found.planned) == (asked, None)
    world.act(step_clicks.retry, QA, found.row)
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.WATCHING
    (done,) = step(world, release_id, "frontend").planned or ()
    assert done == replace(
        seen, now=done.now, back=f"the rollback moves production back to {hotfix['id']}"
    )  # not to what was live at the first look
    told = {event.event: fields_of(event) for event in world.events()}
    assert told["plan.shown"]["plan"] == told["deploy.started"]["plan_shown"] == plan_digest({found.id: [seen]})
    assert told["deploy.planned"] == {"plan": plan_digest({found.id: [done]}), "shown": True}


def live_commit(vendors: Vendors) -> str:
    """The commit that production shows on Vercel."""
    return commit_of(vendors.vercel.live() or {})


def test_cancel(plan: World, outside: Outside) -> None:
    """Whoever carries it out can write nothing more; it has failed, and a retry carries it out again."""
    release_id = plan.ready()
    plan.deploy(QA, release_id)

    def stop(name: str) -> None:
        if name == "deploy.two":
            outside.during = lambda _: None
            row = step(plan, release_id, "two").row
            assert plan.act(step_clicks.cancel, QA, row) == "deploy.two is cancelled. Retry it, or roll back."
            with pytest.raises(StaleButton):
                plan.act(step_clicks.cancel, QA, row)

    outside.during = stop
    job = plan.claim("advance")
    assert job is not None
    with pytest.raises(Superseded):
        plan.carry_out(job)
    found = step(plan, release_id, "two")
    assert (found.state, found.attempt, found.summary.split(".")[0]) == (StepState.FAILED, 1, "cancelled")
    assert plan.view(release_id).release.state is ReleaseState.DEPLOY_FAILED
    assert "deploy.three" not in outside.runs
    plan.act(step_clicks.retry, QA, found.row)
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
    plan.deploy(QA, release_id)
    job = plan.claim("advance")
    assert job is not None
    row = step(plan, release_id, "one").row
    StepJournal(plan.deps, job, release_id, row).intent([])
    with pytest.raises(Superseded):
        StepJournal(replace(plan.deps, clock=Standing()), job, release_id, row).intent([])


def test_what_a_step_writes_down_holds_no_secret_at_any_depth(plan: World) -> None:
    """Nor what PostgreSQL refuses; what was planned with a secret in it is still what was planned."""
    release_id = plan.ready()
    plan.deploy(QA, release_id)
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
    shown = replace(change, now="[redacted]")
    kept = step(plan, release_id, "one")
    assert (kept.before, kept.begun, kept.made) == (
        {"mode": "was [redacted]␀", "deep": {"list": ["[redacted]"]}}, (shown,), (),
    )  # fmt: skip
    assert [line["body"] for line in plan.rows("SELECT body FROM journal ORDER BY id")] == [
        {"changes": [shown.body]},
        {"deep": [{"value": "[redacted]"}], "attempt": 1},
        {"changed": ["[redacted]␀"], "image": "app:1"},
    ]
    journal.acted(changes=[change.body])
    assert step(plan, release_id, "one").made == (shown,)
    journal.unmade([change])
    assert step(plan, release_id, "one").begun == ()


def test_a_step_that_asks_has_the_time_that_its_kind_needs(world: World) -> None:
    """Where the checklist says nothing."""
    left: list[float] = []

    class Patient(Kind):
        name, summary, params, timeout = "patient", "asks", Params, 900.0

        def run(self, params: Params, ctx: CheckContext) -> Answer:
            left.append(ctx.deadline - time.monotonic())
            return Answer(Outcome.PASS, "well", Evidence("", "", ""))

    ours = {name: type(world.deps.registry.get(name)) for name in ("ask", "quiet")}
    action = {"do": "check", "kind": "patient"}
    world.change(
        registry=Registry({**ours, "patient": Patient}),
        checklist=checklist(deploy=({"id": "deploy.one", "title": "one", "action": action},)),
    )
    world.deployed()
    assert [round(seconds, -2) for seconds in left] == [900]


@pytest.mark.parametrize("flow", [step_clicks.cancel, step_clicks.retry])
def test_without_a_role(plan: World, flow: object) -> None:
    """Nobody else."""
    release_id = failing(plan, "one")
    with pytest.raises(NotAllowed):
        plan.act(flow, GUEST, step(plan, release_id, "one").row)  # type: ignore[arg-type]
