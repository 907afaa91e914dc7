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
from bot.steps.registry import HANDLERS
from bot.store import work
from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from checks.registry import Registry
from clients.vercel import commit_of
from sandbox.staging.versions import BRANCH, commit_sha
from tests.fix_bot import GUEST, MANAGER, QA, SOURCE, MovableClock, Outside, World, checklist, fields_of
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
    """A step of the deploy as it is now."""
    return next(entry for entry in world.view(release_id).steps if entry.id == f"deploy.{name}")


def deploy_to_failure(world: World, name: str) -> ReleaseId:
    """Deploy up to a failed step."""
    world.outside.answers = {f"deploy.{name}": Outcome.FAIL}
    release_id = world.run_to_watch()
    assert world.view(release_id).release.state is ReleaseState.DEPLOY_FAILED
    return release_id


def test_a_step_is_attested_by_hand(plan: World) -> None:
    """The step has the person and the note, and the plan continues after it."""
    release_id = deploy_to_failure(plan, "two")
    answer = plan.act(step_clicks.attest, QA, step(plan, release_id, "two").row, "did it in the console s3cret")
    assert answer == "Recorded: deploy.two was done by hand."
    plan.run("advance")
    attested_step = step(plan, release_id, "two")
    assert (attested_step.state, attested_step.by, attested_step.note) == (
        StepState.ATTESTED,
        QA.user,
        "did it in the console [redacted]",
    )
    assert plan.view(release_id).release.state is ReleaseState.WATCHING
    assert plan.outside.runs.count("deploy.two") == 1
    assert "deploy.three" in plan.outside.runs
    assert (QA.user, "step.attested") in plan.recorded_events()


def test_a_step_is_attested_only_where_the_checklist_allows_it(plan: World) -> None:
    """Otherwise the attestation is refused and changes nothing."""
    release_id = deploy_to_failure(plan, "one")
    with pytest.raises(RefusedError, match="can't be done by hand"):
        plan.act(step_clicks.attest, QA, step(plan, release_id, "one").row, "did it")
    with pytest.raises(InvalidInput):
        plan.act(step_clicks.attest, QA, step(plan, release_id, "one").row, " ")
    assert plan.view(release_id).release.state is ReleaseState.DEPLOY_FAILED


def test_the_policy_decides_who_attests_a_step(plan: World) -> None:
    """A rule for the step comes before the general rule."""
    rules = {"lines": {"deploy.two": {"attest": ["release_manager"]}, "deploy.one": {"attest": ["product"]}}}
    plan.change(policy=Policy.model_validate(rules))
    release_id = deploy_to_failure(plan, "two")
    row = step(plan, release_id, "two").row
    for act in (
        lambda: plan.act(step_clicks.attest, QA, row, "did it"),
        lambda: step_clicks.inspect_attested_step(plan.deps, QA, row),
    ):
        with pytest.raises(NotAllowed, match="Only Release Manager can do that"):
            act()
    plan.act(step_clicks.attest, MANAGER, row, "did it")
    assert step(plan, release_id, "two").state is StepState.ATTESTED


def test_a_step_is_not_attested_in_a_freeze(plan: World) -> None:
    """The attestation would continue the deploy."""
    release_id = deploy_to_failure(plan, "two")
    plan.act(freeze.freeze, MANAGER, None, "incident")
    with pytest.raises(GateClosed, match="frozen"):
        plan.act(step_clicks.attest, QA, step(plan, release_id, "two").row, "did it")


def test_every_step_that_changes_something_can_be_confirmed() -> None:
    """Only a question and a choice of a person have nothing to look at."""
    assert {action for action, handler in HANDLERS.items() if handler.confirm is None} == {SetVariable, RunCheck}


@pytest.fixture
def manual_world(world: World) -> World:
    """A deploy that begins with a step for a person, and a rollback that ends with one."""
    ship = {"id": "deploy.ship", "title": "Ship", "action": {"do": "check", "kind": "ask"}}
    back = {"id": "rollback.back", "title": "Back", "action": {"do": "check", "kind": "ask"}}
    drain, fill = (
        {"id": f"{plan}.{name}", "title": name.capitalize(), "action": {"do": "attest"}}
        for plan, name in (("deploy", "drain"), ("rollback", "fill"))
    )
    world.change(checklist=checklist(deploy=(drain, ship), rollback=(back, fill)))
    return world


class TestStepForAPerson:
    """The plan waits for the step: nothing later is done or announced before somebody attests it."""

    def test_the_deploy_waits_for_the_person(self, manual_world: World) -> None:
        """Later steps are not done before, and those who may attest are asked once."""
        release_id = manual_world.run_to_watch()
        drain, ship = step(manual_world, release_id, "drain"), step(manual_world, release_id, "ship")
        manual_world.deploy(QA, release_id)
        with manual_world.store.transaction() as tx:
            work.enqueue(tx, "advance", release_id)
        manual_world.run("advance")  # a second look finds nothing to do
        view = manual_world.view(release_id)
        assert (view.release.state, view.awaited_step) == (ReleaseState.DEPLOYING, drain)
        assert "deploy.ship" not in manual_world.outside.runs
        assert manual_world.rows("SELECT subject FROM posts WHERE kind = 'notice'") == [
            {"subject": f"attest:{drain.row}"}
        ]
        request = render_stored("notice", f"attest:{drain.row}", view).text
        assert "waits for a person: Drain\nRelease Manager or QA or Product: do it" in request

        with pytest.raises(InvalidInput):
            manual_world.act(step_clicks.attest, QA, drain.row, "")
        with pytest.raises(NotAllowed):
            manual_world.act(step_clicks.attest, GUEST, drain.row, "drained")
        with pytest.raises(StaleButton, match="it waits for a person"):
            manual_world.act(step_clicks.cancel, QA, drain.row)
        with pytest.raises(StaleButton):
            manual_world.act(step_clicks.retry, QA, drain.row)
        with pytest.raises(RefusedError, match="isn't waiting for an attestation"):
            manual_world.act(step_clicks.attest, QA, ship.row, "shipped")
        manual_world.act(freeze.freeze, MANAGER, None, "incident")  # stops no deploy that has begun
        manual_world.act(step_clicks.attest, QA, drain.row, "drained s3cret")
        manual_world.run("advance")
        view, drain = manual_world.view(release_id), step(manual_world, release_id, "drain")
        assert (view.release.state, view.awaited_step) == (ReleaseState.WATCHING, None)
        assert (drain.state, drain.by, drain.note) == (StepState.ATTESTED, QA.user, "drained [redacted]")
        assert manual_world.outside.runs.count("deploy.ship") == 1
        with pytest.raises(RefusedError, match="isn't waiting for an attestation"):
            manual_world.act(step_clicks.attest, MANAGER, drain.row, "again")

    def test_the_rollback_waits_for_the_person(self, manual_world: World) -> None:
        """It can begin while the deploy waits, and is complete only after its own attestation."""
        release_id = manual_world.run_to_watch()
        manual_world.act(judge_rollback, QA, release_id, "wrong version")
        manual_world.run("advance")
        view = manual_world.view(release_id)
        assert step(manual_world, release_id, "drain").state is StepState.CANCELLED
        assert view.awaited_step is not None
        assert (view.release.state, view.awaited_step.id) == (ReleaseState.ROLLING_BACK, "rollback.fill")
        assert "rolled_back" not in {
            row["subject"] for row in manual_world.rows("SELECT subject FROM posts WHERE kind = 'notice'")
        }
        with pytest.raises(RefusedError):
            manual_world.act(step_clicks.attest, QA, step(manual_world, release_id, "drain").row, "drained after all")
        manual_world.act(freeze.freeze, MANAGER, None, "incident")

        manual_world.act(step_clicks.attest, QA, view.awaited_step.row, "filled")
        manual_world.run("advance")
        view = manual_world.view(release_id)
        assert view.release.state is ReleaseState.ROLLED_BACK
        text = render_stored("notice", "rolled_back", view).text
        assert f"Production runs what it ran before, as attested by <@{QA.user}>. Reason: wrong version" in text

    def test_what_the_bot_cannot_do_is_known_before_a_person_begins(self, manual_world: World) -> None:
        """Nobody is asked to drain for a deploy that fails there; a retry looks again, and then asks."""
        release_id, targets = manual_world.run_to_approval(), manual_world.deps.targets
        manual_world.change(targets={})
        manual_world.deploy(QA, release_id)
        manual_world.run("advance")
        ship = step(manual_world, release_id, "ship")
        assert (manual_world.view(release_id).release.state, ship.state) == (
            ReleaseState.DEPLOY_FAILED,
            StepState.FAILED,
        )
        assert ship.summary.startswith("there is no target production")
        assert step(manual_world, release_id, "drain").started_at is None
        with pytest.raises(StaleButton):
            manual_world.act(step_clicks.attest, QA, step(manual_world, release_id, "drain").row, "drained")
        manual_world.change(targets=targets)
        manual_world.act(step_clicks.retry, QA, ship.row)
        manual_world.run("advance")
        assert manual_world.view(release_id).awaited_step == step(manual_world, release_id, "drain")


class TestTagByHand:
    """The rules of the tag step are also those of a tag by hand."""

    @pytest.fixture
    def failed_tag(self, world: World, vendors: Vendors) -> ReleaseId:
        """A deploy that failed at the tag, because the checks of its commit are red."""
        tag = {"id": "deploy.tag", "title": "tag", "by_hand": True, "action": {"do": "tag"}}
        world.change(checklist=checklist(deploy=(tag, STEPS[0])))
        world.on_production(**vendors.parts)
        vendors.faults.set("commit_checks_fail", True)
        release_id = world.start(source=replace(SOURCE, commit=commit_sha(BRANCH)))
        world.run("check")
        world.approve(release_id)
        world.deploy(QA, release_id)
        world.run("advance")
        assert "not green" in step(world, release_id, "tag").summary
        return release_id

    def test_a_tag_by_hand_is_refused_while_checks_are_red(
        self, world: World, vendors: Vendors, failed_tag: ReleaseId
    ) -> None:
        """It is recorded with what was seen once the tag exists and the checks are green."""
        row = step(world, failed_tag, "tag").row
        vendors.github.create_tag("v4.8.0", commit_sha(BRANCH), "by hand")
        with pytest.raises(RefusedError, match=r"Not recorded: .* not green: backend tests") as error:
            step_clicks.inspect_attested_step(world.deps, QA, row)
        assert error.value.hint == "Wait for them, or fix what failed."
        with pytest.raises(StaleButton):
            world.act(step_clicks.attest, QA, row, "did it")  # nobody has looked
        assert world.view(failed_tag).release.state is ReleaseState.DEPLOY_FAILED
        vendors.faults.set("commit_checks_fail", False)
        saw = step_clicks.inspect_attested_step(world.deps, QA, row)
        assert (
            world.act(step_clicks.attest, QA, row, "did it", saw) == f"Recorded: deploy.tag was done by hand ({saw})."
        )
        tag_step = step(world, failed_tag, "tag")
        assert (tag_step.state, tag_step.summary) == (
            StepState.ATTESTED,
            f"seen: v4.8.0 is on {commit_sha(BRANCH)[:12]}",
        )
        assert world.last_event().body["saw"] == saw
        world.run("advance")
        assert world.view(failed_tag).release.state is ReleaseState.WATCHING

    def test_a_tag_by_hand_is_unconfirmed_while_github_does_not_answer(
        self, world: World, vendors: Vendors, failed_tag: ReleaseId
    ) -> None:
        """The person continues, and the step says so; for somebody without a role GitHub is not asked."""
        vendors.fault_for = lambda *_: 404
        call_count = len(vendors.calls)
        with pytest.raises(NotAllowed):
            step_clicks.inspect_attested_step(world.deps, GUEST, step(world, failed_tag, "tag").row)
        assert len(vendors.calls) == call_count
        vendors.fault_for = lambda *_: 401
        row = step(world, failed_tag, "tag").row
        world.act(step_clicks.attest, QA, row, "did it", step_clicks.inspect_attested_step(world.deps, QA, row))
        assert step(world, failed_tag, "tag").summary.startswith("not confirmed: GitHub refused GET")


def test_another_plan_than_the_shown_one_waits(world: World, vendors: Vendors) -> None:
    """A last-minute change is named and nothing is done; a retry accepts it, and both are recorded."""
    frontend = {"id": "deploy.frontend", "title": "frontend", "action": {"do": "vercel_deploy", "wait_for_auto": 0}}
    world.change(checklist=checklist(deploy=(frontend,)))
    world.on_production(**vendors.parts)
    vendors.faults.set("vercel_no_auto_deploy", True)
    release_id = world.start(source=replace(SOURCE, commit=commit_sha(BRANCH)))
    world.run("check")
    world.approve(release_id)
    release = world.view(release_id).release
    first = plan_of_release(world.deps, release)
    (shown_change,) = first[0].changes
    with world.store.transaction() as tx:
        store_snapshot(tx, world.deps, QA, release, first)
        store_snapshot(tx, world.deps, GUEST, release, [replace(first[0], changes=())])  # who only looks is not asked
    world.deploy(QA, release_id)
    vendors.vercel.create(commit_sha("v4.6.0"), "v4.6.0", "somebody")
    eventually("the hotfix to be live", lambda: live_commit(vendors) == commit_sha("v4.6.0"))
    hotfix = vendors.vercel.live() or {}
    requests = vendors.posts()
    world.run("advance")
    failed_step = step(world, release_id, "frontend")
    assert failed_step.summary.startswith(
        f"the plan has changed since it was last shown: {shown_change.what}: {hotfix['id']}, commit "
    )
    assert (
        f"(shown: {shown_change.now} → {shown_change.after}). Nothing was changed. Press Retry" in failed_step.summary
    )
    assert (vendors.posts(), failed_step.planned_changes) == (requests, None)
    world.act(step_clicks.retry, QA, failed_step.row)
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.WATCHING
    (change,) = step(world, release_id, "frontend").planned_changes or ()
    assert change == replace(
        shown_change, now=change.now, back=f"the rollback moves production back to {hotfix['id']}"
    )  # not to what was live at the first look
    fields_by_event = {event.event: fields_of(event) for event in world.events()}
    assert (
        fields_by_event["plan.shown"]["plan"]
        == fields_by_event["deploy.started"]["plan_shown"]
        == plan_digest({failed_step.id: [shown_change]})
    )
    assert fields_by_event["deploy.planned"] == {"plan": plan_digest({failed_step.id: [change]}), "shown": True}


def live_commit(vendors: Vendors) -> str:
    """The commit that runs in production on Vercel."""
    return commit_of(vendors.vercel.live() or {})


def test_a_cancelled_step_fails_and_can_be_retried(plan: World, outside: Outside) -> None:
    """The worker of the step can write nothing more, and a retry runs it again."""
    release_id = plan.run_to_approval()
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
    cancelled_step = step(plan, release_id, "two")
    assert (cancelled_step.state, cancelled_step.attempt, cancelled_step.summary.split(".")[0]) == (
        StepState.FAILED,
        1,
        "cancelled",
    )
    assert plan.view(release_id).release.state is ReleaseState.DEPLOY_FAILED
    assert "deploy.three" not in outside.runs
    plan.act(step_clicks.retry, QA, cancelled_step.row)
    plan.run("advance")
    assert step(plan, release_id, "two").attempt == 2
    assert plan.view(release_id).release.state is ReleaseState.WATCHING
    plan.events()


def test_a_process_that_paused_after_its_intent_does_not_act(plan: World) -> None:
    """By then another process may have taken the step over."""

    class SlowClock(MovableClock):
        def steady(self) -> float:
            self.advance(seconds=work.ACT_WITHIN + 1)
            return super().steady()

    release_id = plan.run_to_approval()
    plan.deploy(QA, release_id)
    job = plan.claim("advance")
    assert job is not None
    row = step(plan, release_id, "one").row
    StepJournal(plan.deps, job, release_id, row).record_intent([])
    with pytest.raises(Superseded):
        StepJournal(replace(plan.deps, clock=SlowClock()), job, release_id, row).record_intent([])


def test_the_journal_of_a_step_contains_no_secret(plan: World) -> None:
    """Texts at any depth are redacted and cleaned, and the planned change is still recognised."""
    release_id = plan.run_to_approval()
    plan.deploy(QA, release_id)
    job = plan.claim("advance")
    assert job is not None
    row = step(plan, release_id, "one").row
    change = Mutation("MODE of deployment/api", "s3cret", "off", Way.BACK, "a button")
    journal = StepJournal(plan.deps, job, release_id, row, [change])
    journal.record_state_before(mode="was s3cret\0", deep={"list": ["s3cret"]})
    journal.record_intent([change])
    journal.record_observation(deep=[{"value": "s3cret"}], attempt=1)
    journal.record_action(changed=["s3cret\0"], image="app:1")
    with pytest.raises(StepError, match="has changed since"):
        journal.record_intent([replace(change, now="on")])
    redacted_change = replace(change, now="[redacted]")
    stored_step = step(plan, release_id, "one")
    assert (stored_step.before, stored_step.intended_changes, stored_step.applied_changes) == (
        {"mode": "was [redacted]␀", "deep": {"list": ["[redacted]"]}}, (redacted_change,), (),
    )  # fmt: skip
    assert [line["body"] for line in plan.rows("SELECT body FROM journal ORDER BY id")] == [
        {"changes": [redacted_change.body]},
        {"deep": [{"value": "[redacted]"}], "attempt": 1},
        {"changed": ["[redacted]␀"], "image": "app:1"},
    ]
    journal.record_action(changes=[change.body])
    assert step(plan, release_id, "one").applied_changes == (redacted_change,)
    journal.record_refusal([change])
    assert step(plan, release_id, "one").intended_changes == ()


def test_a_step_with_a_check_has_the_time_limit_of_its_kind(world: World) -> None:
    """The limit of the kind counts if the checklist has none."""
    times_left: list[float] = []

    class Patient(Kind):
        name, summary, params, timeout = "patient", "asks", Params, 900.0

        def run(self, params: Params, ctx: CheckContext) -> Answer:
            times_left.append(ctx.deadline - time.monotonic())
            return Answer(Outcome.PASS, "well", Evidence("", "", ""))

    ours = {name: type(world.deps.registry.get(name)) for name in ("ask", "quiet")}
    action = {"do": "check", "kind": "patient"}
    world.change(
        registry=Registry({**ours, "patient": Patient}),
        checklist=checklist(deploy=({"id": "deploy.one", "title": "one", "action": action},)),
    )
    world.run_to_watch()
    assert [round(seconds, -2) for seconds in times_left] == [900]


@pytest.mark.parametrize("flow", [step_clicks.cancel, step_clicks.retry])
def test_a_step_needs_a_role_to_be_cancelled_or_retried(plan: World, flow: object) -> None:
    """People without a role are refused."""
    release_id = deploy_to_failure(plan, "one")
    with pytest.raises(NotAllowed):
        plan.act(flow, GUEST, step(plan, release_id, "one").row)  # type: ignore[arg-type]
