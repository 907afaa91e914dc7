"""A switch that is off for a while: who owns it, what it holds up, and that it comes back; on an API server."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.audit import Head, examine_record
from bot.domain.ids import ReleaseId
from bot.domain.mitigation import Mitigation, MitigationState
from bot.domain.plan import PlanKind, StepState
from bot.domain.release import ReleaseState
from bot.errors import GateClosed, InvalidInput, NotAllowed, StaleButton, Superseded
from bot.evidence import markdown, page
from bot.flows import mitigation
from bot.flows.deploying import step_clicks
from bot.flows.deploying.rollback import judge_rollback
from bot.flows.report import gather
from clients.settings import Kubernetes
from clients.target import Target
from tests.fix_bot import GUEST, MANAGER, QA, World, checklist
from tests.fix_kube import Kube
from tests.sandbox.kube_objects import deploy_and_wait, images, is_rolled_out, read
from tests.unit.factories import render_stored
from tests.unit.slack_rules import assert_slack_accepts

NAME = "MODE"  # which the Deployment of the tests has, with the value test
OFFER = {"do": "set_variable", "name": NAME, "value": "off", "remind_after": "4h"}


@pytest.fixture
def production(world: World, kube: Kube) -> World:
    """The flows with a Deployment whose rollback offers to set a variable."""
    deploy_and_wait(kube, "app:1")
    where = Kubernetes(kubeconfig=str(kube.kubeconfig), namespace=kube.namespace, deployment="web", container="main")
    world.deps = replace(
        world.deps,
        checklist=checklist(
            deploy=({"id": "deploy.backend", "title": "Deploy", "action": {"do": "set_image"}},),
            rollback=(
                {"id": "rollback.backend", "title": "Restore", "action": {"do": "restore_backend"}},
                {"id": "rollback.billing", "title": "If billing issues", "action": OFFER},
            ),
        ),
        targets={**world.deps.targets, "production": Target(name="production", kubernetes=where)},
    )
    return world


def roll_back(world: World) -> ReleaseId:
    """Deploy a release and roll it back."""
    release_id = world.run_to_watch()
    world.act(judge_rollback, QA, release_id, "billing is broken")
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.ROLLED_BACK
    return release_id


def offer(world: World, release_id: ReleaseId) -> int:
    """The row of the step that offers the mitigation."""
    return next(step.row for step in world.view(release_id).steps if step.id == "rollback.billing")


def only(world: World, release_id: ReleaseId) -> Mitigation:
    """The only mitigation of a release."""
    (mitigation_row,) = world.view(release_id).mitigations
    return mitigation_row


def go_on(world: World) -> None:
    """Run the due work of the mitigation once."""
    job = world.claim("mitigation")
    assert job is not None
    world.carry_out(job)


def announced_heads(world: World) -> list[Head]:
    """The heads of the record that were announced, the oldest first."""
    subjects = [row["subject"].split(":") for row in world.rows("SELECT subject FROM posts WHERE kind = 'record'")]
    return sorted((Head(int(seq), head) for seq, head in subjects), key=lambda head: head.seq or 0)


def report(world: World, release_id: ReleaseId) -> str:
    """The text of the evidence pack about mitigations."""
    with world.store.transaction() as tx:
        facts, _ = gather(tx, world.view(release_id), world.deps.redact, 3)
    words = markdown.render({**facts, "messages": []}, [])
    assert ("MODE=off" in words) == ("MODE=off" in page.render({**facts, "messages": []}, []))
    return words[words.index("## Mitigations") :]


def pause(kube: Kube, on: bool) -> None:
    """Pause the Deployment, or let it continue."""
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"paused": on}})


def variables(kube: Kube) -> dict[str, str]:
    """The variables with which the pods start."""
    return {entry.name: entry.value for entry in read(kube).spec.template.spec.containers[0].env or []}


def test_a_mitigation_is_set_and_lifted(production: World, kube: Kube) -> None:
    """Set and lifted by a button each, it has an owner and reminders, and all messages show its state."""
    release_id = roll_back(production)
    template = kube.api.sanitize_for_serialization(read(kube).spec.template)
    answer = production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    assert answer.startswith("Setting MODE=off. You own it")
    assert "already" in production.act(mitigation.apply, QA, offer(production, release_id), "again")
    go_on(production)
    entry = only(production, release_id)
    assert (entry.state, entry.owner, entry.what) == (MitigationState.SET, QA.user, "MODE=off")
    assert variables(kube) == {NAME: "off"}
    assert is_rolled_out(kube)
    step = next(step for step in production.view(release_id).steps if step.id == "rollback.billing")
    assert (step.state, step.summary, step.by) == (StepState.DONE, "MODE is off", QA.user)
    assert "*MODE=off* is set" in str(render_stored("closeout", "", production.view(release_id)).blocks)
    production.clock.advance(hours=4)
    job = production.claim("mitigation")
    assert job is not None
    due = production.carry_out(job)
    assert due == production.clock.now() + timedelta(hours=4)
    assert production.rows("SELECT subject FROM posts WHERE subject LIKE 'mitigation:%%'") == [
        {"subject": f"mitigation:{entry.id}:1"}
    ]
    assert production.act(mitigation.resolve, MANAGER, entry.id).startswith("Putting back")
    go_on(production)
    assert only(production, release_id).state is MitigationState.LIFTED
    assert only(production, release_id).resolved_by == MANAGER.user
    assert kube.api.sanitize_for_serialization(read(kube).spec.template) == template
    assert "already" in production.act(mitigation.resolve, MANAGER, entry.id)
    for kind, subject in (("mitigation", str(entry.id)), ("notice", f"mitigation:{entry.id}:1")):
        message = render_stored(kind, subject, production.view(release_id))
        assert_slack_accepts(message)
        assert "is put back" in message.text
    assert [event for _, event in production.recorded_events()[-5:]] == [
        "mitigation.set", "mitigation.reminded", "mitigation.resolving", "mitigation.lifted", "release.closed",
    ]  # fmt: skip


def test_a_release_stays_open_with_a_mitigation(production: World, kube: Kube) -> None:
    """A mitigation that is requested during the rollback is set after it, and keeps the release open."""
    release_id = production.run_to_watch()
    production.act(judge_rollback, QA, release_id, "billing is broken")
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    job = production.claim("mitigation")
    assert job is not None
    assert production.carry_out(job) is not None  # the rollback has the Deployment in its hands
    assert variables(kube) == {NAME: "test"}
    production.run("advance")
    view = production.view(release_id)
    assert (view.release.state, view.release.is_closed) == (ReleaseState.ROLLED_BACK, False)
    assert announced_heads(production) == []
    go_on(production)
    assert variables(kube) == {NAME: "off"}
    production.act(mitigation.resolve, QA, only(production, release_id).id)
    assert not production.view(release_id).release.is_closed
    go_on(production)
    assert production.view(release_id).release.is_closed
    assert [head.seq for head in announced_heads(production)] == [production.last_event().seq]


def test_a_closed_release_is_opened_and_closed_again(production: World) -> None:
    """The record is announced twice and agrees with both heads, and the evidence names the mitigation."""
    release_id = roll_back(production)
    (first,) = announced_heads(production)
    closed_at = production.view(release_id).release.closed_at
    assert closed_at is not None
    production.clock.advance(minutes=1)
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    assert not production.view(release_id).release.is_closed
    go_on(production)
    production.clock.advance(minutes=1)
    entry = only(production, release_id)
    assert "not put back yet" in report(production, release_id)
    production.act(mitigation.resolve, MANAGER, entry.id)
    assert announced_heads(production) == [first]
    job = production.claim("mitigation")
    assert job is not None
    production.carry_out(job)
    with pytest.raises(Superseded):  # a process that was overtaken meanwhile
        production.carry_out(job)
    assert production.view(release_id).release.closed_at == closed_at + timedelta(minutes=2)
    heads = announced_heads(production)
    assert (heads[0], heads[-1].seq, len(heads)) == (first, production.last_event().seq, 2)
    assert production.recorded_events()[-2:] == [("system", "mitigation.lifted"), ("system", "release.closed")]
    assert examine_record(production.events(), heads).first_break is None
    assert f"put back by {MANAGER.user}, " in report(production, release_id)


def test_a_mitigation_closes_the_gate_of_the_next_release(production: World) -> None:
    """The gate names the mitigation that has to be lifted first."""
    release_id = roll_back(production)
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    go_on(production)
    other = production.run_to_approval("v4.8.1")
    with pytest.raises(GateClosed, match="MODE=off is still set and must be put back first"):
        production.deploy(QA, other)


def test_a_failed_rollout_waits_for_a_person(production: World, kube: Kube) -> None:
    """The mitigation shows the reason, can be set again with a click, and can be lifted at any time."""
    release_id = roll_back(production)
    images(kube, {"app:1": {"never-ready": True}})
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    go_on(production)
    entry = only(production, release_id)
    assert (entry.state, entry.is_open) == (MitigationState.SETTING, True)
    assert "exceeded its progress deadline" in entry.trouble
    production.clock.advance(hours=4)
    go_on(production)
    assert only(production, release_id).reminders == 1  # stuck or not
    message = render_stored("mitigation", str(entry.id), production.view(release_id))
    assert_slack_accepts(message)
    assert [button["action_id"] for button in message.blocks[1]["elements"]] == [
        "mitigation.apply", "mitigation.resolve", "mitigation.attest",
    ]  # fmt: skip
    kube.core.replace_namespaced_config_map(
        "testbed-images", kube.namespace, {"metadata": {"name": "testbed-images"}, "data": {}}
    )
    production.act(mitigation.resolve, QA, entry.id)
    go_on(production)
    assert only(production, release_id).state is MitigationState.LIFTED
    assert variables(kube) == {NAME: "test"}


def test_a_mitigation_that_is_stuck_can_be_attested(production: World, kube: Kube) -> None:
    """With a note a person confirms that it was lifted by hand, and the release is closed."""
    release_id = roll_back(production)
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    go_on(production)
    entry = only(production, release_id)
    with pytest.raises(StaleButton, match="not stuck"):
        production.act(mitigation.attest, QA, entry.id, "by hand")
    kube.apps.delete_namespaced_deployment("web", kube.namespace)
    production.act(mitigation.resolve, QA, entry.id)
    go_on(production)
    with pytest.raises(InvalidInput):
        production.act(mitigation.attest, QA, entry.id, " ")
    with pytest.raises(NotAllowed):
        production.act(mitigation.attest, GUEST, entry.id, "I did")
    assert not production.view(release_id).release.is_closed
    production.act(mitigation.attest, MANAGER, entry.id, "moved to another cluster, s3cret is on there")
    assert production.view(release_id).release.is_closed
    assert production.recorded_events()[-2:] == [(MANAGER.user, "mitigation.attested"), ("system", "release.closed")]
    assert "already" in production.act(mitigation.attest, QA, entry.id, "me too")
    words = "by hand: moved to another cluster, [redacted] is on there"
    for kind, subject in (("mitigation", str(entry.id)), ("closeout", "")):
        assert words in str(render_stored(kind, subject, production.view(release_id)).blocks)
    assert "by hand: moved to another cluster, " in report(production, release_id)


def test_a_mitigation_needs_a_role_a_reason_and_a_rollback(production: World) -> None:
    """Without one of them it is refused."""
    release_id = production.run_to_watch()
    backend = next(step.row for step in production.view(release_id).steps if step.plan is PlanKind.DEPLOY)
    with pytest.raises(StaleButton):
        production.act(mitigation.apply, QA, backend, "no such offer")
    production.act(judge_rollback, QA, release_id, "")
    row = offer(production, release_id)
    with pytest.raises(NotAllowed):
        production.act(mitigation.apply, GUEST, row, "reason")
    with pytest.raises(InvalidInput):
        production.act(mitigation.apply, QA, row, " ")
    production.act(step_clicks.attest, QA, row, "no billing issues")
    with pytest.raises(StaleButton):
        production.act(mitigation.apply, QA, row, "after all")
    assert production.view(release_id).mitigations == []


def test_a_second_rollback_keeps_the_mitigation(production: World, kube: Kube) -> None:
    """A mitigation between two rollbacks is set again after the second one, and can be lifted."""
    release_id = production.run_to_watch()
    pause(kube, True)
    production.act(judge_rollback, QA, release_id, "billing is broken")
    production.run("advance")
    assert production.view(release_id).release.state is ReleaseState.ROLLBACK_FAILED
    pause(kube, False)
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    go_on(production)
    production.act(judge_rollback, QA, release_id, "once more")
    production.run("advance")
    assert variables(kube) == {NAME: "test"}
    go_on(production)
    assert variables(kube) == {NAME: "off"}
    assert "is set already" in production.act(mitigation.apply, QA, offer(production, release_id), "again")
    production.act(mitigation.resolve, QA, only(production, release_id).id)
    go_on(production)
    assert only(production, release_id).state is MitigationState.LIFTED
    assert production.view(release_id).release.is_closed
    assert variables(kube) == {NAME: "test"}
