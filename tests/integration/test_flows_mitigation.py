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
from clients.cluster import Kubernetes
from clients.target import Target
from tests.fix_bot import GUEST, MANAGER, QA, World, checklist
from tests.fix_kube import Kube
from tests.sandbox.kube_objects import deployed, images, is_rolled_out, read
from tests.unit.factories import render_stored
from tests.unit.slack_rules import assert_slack_accepts

NAME = "MODE"  # which the Deployment of the tests has, with the value test
OFFER = {"do": "set_variable", "name": NAME, "value": "off", "remind": "4h"}


@pytest.fixture
def production(world: World, kube: Kube) -> World:
    """The flows, with a Deployment whose rollback offers the switch."""
    deployed(kube, "app:1")
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


def rolled_back(world: World) -> ReleaseId:
    """A release that was taken back."""
    release_id = world.deployed()
    world.act(judge_rollback, QA, release_id, "billing is broken")
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.ROLLED_BACK
    return release_id


def offer(world: World, release_id: ReleaseId) -> int:
    """The row of the step that offers it."""
    return next(step.row for step in world.view(release_id).steps if step.id == "rollback.billing")


def only(world: World, release_id: ReleaseId) -> Mitigation:
    """The one mitigation."""
    (found,) = world.view(release_id).mitigations
    return found


def go_on(world: World) -> None:
    """What is to be done about it now, once: a reminder is always to come."""
    job = world.claim("mitigation")
    assert job is not None
    world.carry_out(job)


def announced(world: World) -> list[Head]:
    """The heads of the record that the channel is told, the oldest first."""
    subjects = [row["subject"].split(":") for row in world.rows("SELECT subject FROM posts WHERE kind = 'record'")]
    return sorted((Head(int(seq), head) for seq, head in subjects), key=lambda head: head.seq or 0)


def report(world: World, release_id: ReleaseId) -> str:
    """What the evidence pack says of it in words."""
    with world.store.transaction() as tx:
        facts, _ = gather(tx, world.view(release_id), world.deps.redact, 3)
    words = markdown.render({**facts, "messages": []}, [])
    assert ("MODE=off" in words) == ("MODE=off" in page.render({**facts, "messages": []}, []))
    return words[words.index("## Mitigations") :]


def paused(kube: Kube, on: bool) -> None:
    """Somebody pauses the Deployment, or lets it go on."""
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"paused": on}})


def variables(kube: Kube) -> dict[str, str]:
    """What the pods start with."""
    return {entry.name: entry.value for entry in read(kube).spec.template.spec.containers[0].env or []}


def test_off_and_on_again(production: World, kube: Kube) -> None:
    """Set by one press, owned, reminded of, put back by another; the steps and messages say so all along."""
    release_id = rolled_back(production)
    template = kube.api.sanitize_for_serialization(read(kube).spec.template)
    said = production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    assert said.startswith("Setting MODE=off. You own it")
    assert "already" in production.act(mitigation.apply, QA, offer(production, release_id), "again")
    go_on(production)
    found = only(production, release_id)
    assert (found.state, found.owner, found.what) == (MitigationState.SET, QA.user, "MODE=off")
    assert variables(kube) == {NAME: "off"}
    assert is_rolled_out(kube)
    step = next(step for step in production.view(release_id).steps if step.id == "rollback.billing")
    assert (step.state, step.summary, step.by) == (StepState.DONE, "MODE is off", QA.user)
    assert "*MODE=off* is in force" in str(render_stored("closeout", "", production.view(release_id)).blocks)
    production.clock.advance(hours=4)
    job = production.claim("mitigation")
    assert job is not None
    due = production.carry_out(job)
    assert due == production.clock.now() + timedelta(hours=4)
    assert production.rows("SELECT subject FROM posts WHERE subject LIKE 'mitigation:%%'") == [
        {"subject": f"mitigation:{found.id}:1"}
    ]
    assert production.act(mitigation.resolve, MANAGER, found.id).startswith("Putting back")
    go_on(production)
    assert only(production, release_id).state is MitigationState.LIFTED
    assert only(production, release_id).resolved_by == MANAGER.user
    assert kube.api.sanitize_for_serialization(read(kube).spec.template) == template
    assert "already" in production.act(mitigation.resolve, MANAGER, found.id)
    for kind, subject in (("mitigation", str(found.id)), ("notice", f"mitigation:{found.id}:1")):
        shown = render_stored(kind, subject, production.view(release_id))
        assert_slack_accepts(shown)
        assert "is put back" in shown.text
    assert [event for _, event in production.recorded_events()[-5:]] == [
        "mitigation.set", "mitigation.reminded", "mitigation.resolving", "mitigation.lifted", "release.closed",
    ]  # fmt: skip


def test_a_release_does_not_close_over_it(production: World, kube: Kube) -> None:
    """Pressed while the rollback is under way: set after it, and the release stays open until it is back."""
    release_id = production.deployed()
    production.act(judge_rollback, QA, release_id, "billing is broken")
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    job = production.claim("mitigation")
    assert job is not None
    assert production.carry_out(job) is not None  # the rollback has the Deployment in its hands
    assert variables(kube) == {NAME: "test"}
    production.run("advance")
    view = production.view(release_id)
    assert (view.release.state, view.release.closed) == (ReleaseState.ROLLED_BACK, False)
    assert announced(production) == []
    go_on(production)
    assert variables(kube) == {NAME: "off"}
    production.act(mitigation.resolve, QA, only(production, release_id).id)
    assert not production.view(release_id).release.closed
    go_on(production)
    assert production.view(release_id).release.closed
    assert [head.seq for head in announced(production)] == [production.last().seq]


def test_a_closed_release_is_opened_again_and_closed_again(production: World) -> None:
    """Its record is announced twice, the record holds against both, and the evidence names the mitigation."""
    release_id = rolled_back(production)
    (first,) = announced(production)
    closed_at = production.view(release_id).release.closed_at
    assert closed_at is not None
    production.clock.advance(minutes=1)
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    assert not production.view(release_id).release.closed
    go_on(production)
    production.clock.advance(minutes=1)
    found = only(production, release_id)
    assert "it is not put back yet" in report(production, release_id)
    production.act(mitigation.resolve, MANAGER, found.id)
    assert announced(production) == [first]
    job = production.claim("mitigation")
    assert job is not None
    production.carry_out(job)
    with pytest.raises(Superseded):  # a process that was overtaken meanwhile
        production.carry_out(job)
    assert production.view(release_id).release.closed_at == closed_at + timedelta(minutes=2)
    heads = announced(production)
    assert (heads[0], heads[-1].seq, len(heads)) == (first, production.last().seq, 2)
    assert production.recorded_events()[-2:] == [("system", "mitigation.lifted"), ("system", "release.closed")]
    assert examine_record(production.events(), heads).first_break is None
    assert f"put back by {MANAGER.user}, " in report(production, release_id)


def test_nothing_is_deployed_meanwhile(production: World) -> None:
    """The gate of the next release names it."""
    release_id = rolled_back(production)
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    go_on(production)
    other = production.ready("v4.8.1")
    with pytest.raises(GateClosed, match="MODE=off is still in force and must be put back first"):
        production.deploy(QA, other)


def test_a_rollout_that_fails(production: World, kube: Kube) -> None:
    """It says why and waits for somebody; pressed again it goes on, and it can be put back at any time."""
    release_id = rolled_back(production)
    images(kube, {"app:1": {"never-ready": True}})
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    go_on(production)
    found = only(production, release_id)
    assert (found.state, found.open) == (MitigationState.SETTING, True)
    assert "exceeded its progress deadline" in found.trouble
    production.clock.advance(hours=4)
    go_on(production)
    assert only(production, release_id).reminders == 1  # stuck or not
    shown = render_stored("mitigation", str(found.id), production.view(release_id))
    assert_slack_accepts(shown)
    assert [button["action_id"] for button in shown.blocks[1]["elements"]] == [
        "mitigation.apply", "mitigation.resolve", "mitigation.attest",
    ]  # fmt: skip
    kube.core.replace_namespaced_config_map(
        "testbed-images", kube.namespace, {"metadata": {"name": "testbed-images"}, "data": {}}
    )
    production.act(mitigation.resolve, QA, found.id)
    go_on(production)
    assert only(production, release_id).state is MitigationState.LIFTED
    assert variables(kube) == {NAME: "test"}


def test_put_back_by_hand_where_the_bot_cannot(production: World, kube: Kube) -> None:
    """Only where it is stuck, with a note and a name; then nothing is held up any more, and the release is closed."""
    release_id = rolled_back(production)
    production.act(mitigation.apply, QA, offer(production, release_id), "invoices are wrong")
    go_on(production)
    found = only(production, release_id)
    with pytest.raises(StaleButton, match="not stuck"):
        production.act(mitigation.attest, QA, found.id, "by hand")
    kube.apps.delete_namespaced_deployment("web", kube.namespace)
    production.act(mitigation.resolve, QA, found.id)
    go_on(production)
    with pytest.raises(InvalidInput):
        production.act(mitigation.attest, QA, found.id, " ")
    with pytest.raises(NotAllowed):
        production.act(mitigation.attest, GUEST, found.id, "I did")
    assert not production.view(release_id).release.closed
    production.act(mitigation.attest, MANAGER, found.id, "moved to another cluster, s3cret is on there")
    assert production.view(release_id).release.closed
    assert production.recorded_events()[-2:] == [(MANAGER.user, "mitigation.attested"), ("system", "release.closed")]
    assert "already" in production.act(mitigation.attest, QA, found.id, "me too")
    words = "by hand: moved to another cluster, [redacted] is on there"
    for kind, subject in (("mitigation", str(found.id)), ("closeout", "")):
        assert words in str(render_stored(kind, subject, production.view(release_id)).blocks)
    assert "by hand: moved to another cluster, " in report(production, release_id)


def test_who_and_when(production: World) -> None:
    """A role, a reason, and a rollback."""
    release_id = production.deployed()
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


def test_a_second_run_of_the_rollback_keeps_it(production: World, kube: Kube) -> None:
    """Set between two runs: set again after the second, which offers no other one of the same, and then put back."""
    release_id = production.deployed()
    paused(kube, True)
    production.act(judge_rollback, QA, release_id, "billing is broken")
    production.run("advance")
    assert production.view(release_id).release.state is ReleaseState.ROLLBACK_FAILED
    paused(kube, False)
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
    assert production.view(release_id).release.closed
    assert variables(kube) == {NAME: "test"}
