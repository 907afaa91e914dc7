"""Deploy and rollback of a Deployment, against an API server: where the world is changed, it is changed once."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.domain.actions import RestoreBackend, SetImage
from bot.domain.plan import StepState
from bot.domain.release import ReleaseState
from bot.errors import StepError, Superseded
from bot.flows.deploying import step_clicks
from bot.flows.deploying.rollback import judge_rollback
from bot.steps import kube as steps
from bot.steps.contract import ReleaseReference
from clients.settings import Kubernetes
from clients.target import Target
from tests.checks.replies import Replies, Reply
from tests.clients.test_clients import kube_target
from tests.fix_bot import MANAGER, QA, SOURCE, World, checklist
from tests.fix_kube import Kube, eventually
from tests.fix_proxy import Proxy
from tests.fix_steps import Notes, RecordedPauses, StepHarness
from tests.sandbox.kube_objects import deploy_and_wait, images, is_rolled_out, pods, read, revisions, set_image

OLD, NEW = "app:1", f"{SOURCE.image}@{SOURCE.digest}"
SET = SetImage(do="set_image", version_env="VERSION")
RESTORE = RestoreBackend(do="restore_backend")


class Ship(StepHarness):
    """The surroundings of a step on one Deployment."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        where = Kubernetes(kubeconfig=str(kubeconfig), namespace=namespace, deployment="web", container="main")
        target = Target(name="production", kubernetes=where)
        super().__init__(target, ReleaseReference("v4.8.0", "4.8.0", SOURCE.commit, NEW))

    def deploy(self, seconds: float = 20) -> str:
        """Set the image, after recording what a rollback restores."""
        if self.rollback_target is None:
            self.rollback_target = self.inspect(steps.where_we_are, SET)
        return self.perform(steps.set_image, SET, seconds)

    def restore(self, seconds: float = 20) -> str:
        """Restore what was recorded."""
        return self.perform(steps.restore_backend, RESTORE, seconds)


@pytest.fixture
def ship(kube: Kube) -> Ship:
    """A Deployment with its first version."""
    deploy_and_wait(kube, OLD)
    return Ship(kube.kubeconfig, kube.namespace)


@pytest.fixture
def proxy(kube: Kube, ship: Ship, tmp_path: Path) -> Iterator[Proxy]:
    """A link between the steps and the API server that can lose messages."""
    settings = yaml.safe_load(kube.kubeconfig.read_text(encoding="utf-8"))
    cluster = settings["clusters"][0]["cluster"]
    link = Proxy(int(cluster["server"].rsplit(":", 1)[1]))
    cluster["server"] = f"https://127.0.0.1:{link.port}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert ship.target.kubernetes is not None
    where = ship.target.kubernetes.model_copy(update={"kubeconfig": str(kubeconfig)})
    ship.target = ship.target.model_copy(update={"kubernetes": where})
    yield link
    link.close()


def image(kube: Kube) -> str:
    """The image that the Deployment runs."""
    return str(read(kube).spec.template.spec.containers[0].image)


def template(kube: Kube) -> Any:
    """The pod template as plain data."""
    return kube.api.sanitize_for_serialization(read(kube).spec.template)


def test_an_image_is_deployed_and_rolled_back(kube: Kube, ship: Ship) -> None:
    """The image is set by digest with its version, and the rollback restores the exact template."""
    before, place = template(kube), f"deployment/web in {kube.namespace}"
    assert ship.contradiction_of(steps.confirm_image, SET) == (
        f"image of {place} is {OLD}, not {NEW}; VERSION of {place} is not there, not 4.8.0"
    )
    assert ship.deploy() == ship.inspect(steps.confirm_image, SET) == f"v4.8.0 runs as {NEW}"
    container = read(kube).spec.template.spec.containers[0]
    assert container.image == NEW
    assert {entry.name: entry.value for entry in container.env} == {"MODE": "test", "VERSION": "4.8.0"}
    assert ship.rollback_target is not None
    assert (ship.rollback_target["revision"], ship.rollback_target["image"]) == ("1", OLD)
    assert ship.notes.kinds() == ["intent", "acted", "observed"]
    assert ship.notes.first == {"image": OLD, "revision": "1"}
    assert revisions(kube) == {1: OLD, 2: NEW}
    marks = set()
    message = f"pod template of {place} is revision 2, {NEW}, not revision 1, {OLD}"
    assert ship.contradiction_of(steps.confirm_restore, RESTORE) == message
    for _ in range(2):
        assert ship.restore() == ship.inspect(steps.confirm_restore, RESTORE) == f"back at revision 1: {OLD}"
        assert template(kube) == before
        assert is_rolled_out(kube)
        marks.add(read(kube).metadata.annotations[steps.RESTORE])
    assert len(marks) == 2  # a write each time, so that what is still on its way becomes a conflict
    assert revisions(kube) == {2: NEW, 3: OLD}


def test_a_second_deploy_changes_nothing(kube: Kube, ship: Ship) -> None:
    """After a crash the step looks first and does not patch again."""
    ship.deploy()
    generation, recorded_before = read(kube).metadata.generation, ship.rollback_target
    ship.notes = Notes()
    ship.deploy()
    assert read(kube).metadata.generation == generation
    assert ship.rollback_target == recorded_before
    assert ship.notes.kinds() == ["observed"]


def test_a_rollout_that_never_gets_ready_can_be_retried(kube: Kube, ship: Ship) -> None:
    """The error repeats what the pods say, and a retry succeeds without another patch."""
    images(kube, {NEW: {"never-ready": True}})
    with pytest.raises(StepError, match=r"exceeded its progress deadline: web-.*not ready") as error:
        ship.deploy()
    assert "The old pods still run" in error.value.hint
    assert ship.contradiction_of(steps.confirm_image, SET).startswith(
        "deployment/web: the rollout exceeded its progress"
    )
    generation = read(kube).metadata.generation
    kube.core.replace_namespaced_config_map(
        "testbed-images", kube.namespace, {"metadata": {"name": "testbed-images"}, "data": {}}
    )
    for pod in pods(kube):
        kube.core.delete_namespaced_pod(pod.metadata.name, kube.namespace)
    eventually("the new pods", lambda: is_rolled_out(kube))
    ship.deploy()
    assert (read(kube).metadata.generation, image(kube)) == (generation, NEW)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({"never-ready": True}, r"not ready"),
        ({"crash": True, "ready-after": "5s"}, r"CrashLoopBackOff|restarted [1-9]\d* times"),
        ({"image-pull-error": True}, r"ImagePullBackOff|ErrImagePull"),
    ],
    ids=["never ready", "crash loop", "pull error"],
)
def test_a_failed_rollout_is_rolled_back(kube: Kube, ship: Ship, behaviour: dict[str, bool], message: str) -> None:
    """The rollback restores the template of before, and not Kubernetes' previous revision."""
    before = template(kube)
    images(kube, {NEW: behaviour})
    with pytest.raises(StepError, match=rf"exceeded its progress deadline: web-\S+: ({message})"):
        ship.deploy()
    ship.restore()
    assert template(kube) == before
    assert is_rolled_out(kube)
    assert {pod.spec.containers[0].image for pod in pods(kube)} == {OLD}


def test_the_rollout_history_names_the_release(kube: Kube, ship: Ship) -> None:
    """`kubectl rollout history` shows which revision is which release, and which one was rolled back."""
    ship.deploy()
    ship.restore()
    process = kube.kubectl("rollout", "history", "deployment/web")
    lines = [line.split(maxsplit=1) for line in process.stdout.splitlines() if line[:1].isdigit()]
    assert lines == [["2", "release-bot: v4.8.0"], ["3", "release-bot: back from v4.8.0"]], process.stderr
    assert f"Image:\t{OLD}" in kube.kubectl("rollout", "history", "deployment/web", "--revision=3").stdout
    ship.restore()
    assert kube.kubectl("rollout", "history", "deployment/web").stdout == process.stdout


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"paused": True}, "deployment/web is paused"),
        ({"replicas": 0}, "deployment/web has no replicas, so nothing would run"),
    ],
)
def test_an_unfit_deployment_is_refused(kube: Kube, ship: Ship, patch: dict[str, Any], message: str) -> None:
    """Nothing is recorded or changed."""
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": patch})
    with pytest.raises(StepError, match=message):
        ship.deploy()
    assert (image(kube), ship.rollback_target, ship.notes.lines) == (OLD, None, [])


def test_a_rollback_of_a_paused_deployment_fails_at_once(kube: Kube, ship: Ship) -> None:
    """The error says what to do, since the rollout could not complete."""
    ship.deploy()
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"paused": True}})
    with pytest.raises(StepError) as error:
        ship.restore()
    assert error.value.hint == "kubectl rollout resume deployment/web"


def test_an_unknown_container_is_refused(kube: Kube, ship: Ship) -> None:
    """A strategic merge would add a container."""
    assert ship.target.kubernetes is not None
    where = ship.target.kubernetes.model_copy(update={"container": "api"})
    ship.target = ship.target.model_copy(update={"kubernetes": where})
    with pytest.raises(StepError, match="has no container api") as error:
        ship.deploy()
    assert "It has: main." in error.value.hint


def test_a_change_between_look_and_patch_is_refused(kube: Kube, ship: Ship) -> None:
    """The patch is refused because of its resource version, and the error says so."""

    def interfere() -> None:
        ship.notes.on_intent = lambda: None
        set_image(kube, "app:hotfix")

    ship.notes.on_intent = interfere
    with pytest.raises(StepError, match="was changed by someone else meanwhile"):
        ship.deploy()
    assert image(kube) == "app:hotfix"


def change_mode(kube: Kube, value: str) -> None:
    """Change a variable of the product as somebody else."""
    env = [{"name": "MODE", "value": value}]
    body = {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": env}]}}}}
    kube.apps.patch_namespaced_deployment("web", kube.namespace, body)


def test_a_change_since_the_deploy_began_is_refused(kube: Kube, ship: Ship) -> None:
    """The error names the path without its value; a rollback would undo that change."""
    ship.rollback_target = ship.inspect(steps.where_we_are, SET)
    change_mode(kube, "s3cret")
    with pytest.raises(StepError, match="was changed by someone else since the deploy began") as error:
        ship.deploy()
    assert error.value.user_message.endswith(": spec.containers[main].env[MODE].value")
    assert (image(kube), ship.notes.kinds()) == (OLD, [])


def test_a_change_after_our_patch_is_accepted(kube: Kube, ship: Ship) -> None:
    """A retry deploys on top of what somebody changed after the patch."""
    ship.deploy()
    change_mode(kube, "mended")
    set_image(kube, OLD)
    ship.deploy()
    assert image(kube) == NEW


def test_a_write_of_the_controller_is_no_conflict(kube: Kube, ship: Ship) -> None:
    """Another annotation changes the resource version only, and the patch is tried again."""

    def annotate() -> None:
        ship.notes.on_intent = lambda: None
        kube.apps.patch_namespaced_deployment("web", kube.namespace, {"metadata": {"annotations": {"seen": "1"}}})

    ship.notes.on_intent = annotate
    ship.deploy()
    assert image(kube) == NEW
    assert ship.notes.kinds() == ["intent", "intent", "acted", "observed"]


def test_another_image_during_the_rollout_is_an_error(kube: Kube, ship: Ship) -> None:
    """The step does not report another rollout as its own."""
    images(kube, {NEW: {"ready-after": "30s"}})
    ship.notes.on_intent = lambda: None
    errors: list[StepError] = []

    def carry_out() -> None:
        try:
            ship.deploy()
        except StepError as error:
            errors.append(error)

    thread = threading.Thread(target=carry_out)
    thread.start()
    eventually("the patch", lambda: image(kube) == NEW)
    set_image(kube, "app:hotfix")
    thread.join(20)
    assert [error.user_message for error in errors] == [
        "someone else changed the image to app:hotfix during the rollout"
    ]


def test_a_patch_with_a_lost_reply_is_not_repeated(kube: Kube, ship: Ship, proxy: Proxy) -> None:
    """The step looks again, sees the change and patches nothing twice."""
    ship.notes.on_intent = proxy.lose_next_reply
    ship.deploy()
    assert proxy.has_lost_reply.is_set()
    assert image(kube) == NEW
    assert revisions(kube) == {1: OLD, 2: NEW}
    assert ship.notes.kinds() == ["intent", "acted", "observed"]


def test_a_restoring_patch_with_a_lost_reply_is_not_repeated(kube: Kube, ship: Ship, proxy: Proxy) -> None:
    """The rollback looks again as well."""
    before = template(kube)
    ship.deploy()
    ship.notes = Notes()
    ship.notes.on_intent = proxy.lose_next_reply
    ship.restore()
    assert proxy.has_lost_reply.is_set()
    assert template(kube) == before
    assert ship.notes.kinds() == ["intent", "acted", "observed"]


def test_a_rollback_overtakes_a_delayed_patch(kube: Kube, ship: Ship, proxy: Proxy) -> None:
    """The deploy's patch is still on its way when the rollback finds nothing changed. The rollback writes all the same,
    so the late patch is a conflict and its worker stops.
    """
    errors: list[BaseException] = []

    def carry_out() -> None:
        try:
            ship.deploy()
        except Superseded as error:
            errors.append(error)

    def first_try() -> None:
        proxy.hold()
        ship.notes.on_intent = second_try

    def second_try() -> None:
        raise Superseded

    ship.notes.on_intent = first_try
    thread = threading.Thread(target=carry_out)
    thread.start()
    assert proxy.holds_request.wait(10)
    direct = Ship(kube.kubeconfig, kube.namespace)
    direct.rollback_target = ship.rollback_target
    direct.restore()
    proxy.release()
    thread.join(20)
    assert [type(error) for error in errors] == [Superseded]
    assert image(kube) == OLD


def test_a_pause_of_the_api_server_is_respected(tmp_path: Path) -> None:
    """The step waits before it patches the Deployment again."""
    path = "/apis/apps/v1/namespaces/solvereign/deployments/web"
    deployment_body: dict[str, Any] = {
        "metadata": {"generation": 1, "resourceVersion": "1"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "main", "image": OLD}]}}},
        "status": {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 1, "availableReplicas": 1},
    }
    replies = [Reply(429, {}, {"Retry-After": "7"})]
    routes: dict[str, Any] = {
        f"GET {path}": Reply(200, deployment_body),
        f"PATCH {path}": lambda _: replies.pop() if replies else Reply(200, deployment_body),
    }
    with Replies(routes) as server:
        kube_target(tmp_path, server.url)
        ship = Ship(tmp_path / "kubeconfig", "solvereign")
        pauses = ship.cancelled = RecordedPauses()
        ship.rollback_target = {"revision": "1", "image": OLD, "template": deployment_body["spec"]["template"]}
        assert ship.restore() == f"back at revision 1: {OLD}"
        assert pauses.pauses == [7.0]
        assert [request.method for request in server.requests].count("PATCH") == 2


def test_a_slow_rollout_ends_at_the_deadline(kube: Kube, ship: Ship) -> None:
    """The error says what the pods wait for."""
    images(kube, {NEW: {"ready-after": "30s"}})
    with pytest.raises(StepError, match=r"gave up waiting: \d of 2 new pods are \w+: web-\S+: not ready"):
        ship.deploy(seconds=1.5)
    assert ship.notes.kinds() == ["intent", "acted", "observed"]


def test_a_cancelled_rollout_stops_at_once(kube: Kube, ship: Ship) -> None:
    """If the release has moved on or the process ends, the step has no result."""
    images(kube, {NEW: {"ready-after": "30s"}})
    ship.notes.on_intent = ship.cancelled.set
    with pytest.raises(Superseded):
        ship.deploy()


def test_nothing_is_restored_without_a_record(kube: Kube, ship: Ship) -> None:
    """A deploy that failed before its first change needs no rollback."""
    assert ship.restore() == "nothing was changed, so there is nothing to put back"


def test_a_target_without_a_cluster_is_an_error() -> None:
    """The error names the missing section."""
    ship = Ship(Path("nowhere"), "none")
    ship.target = Target(name="production")
    with pytest.raises(StepError, match="production has no kubernetes section"):
        ship.deploy()


def test_a_deploy_through_the_flows_is_journaled(kube: Kube, ship: Ship, world: World) -> None:
    """The journal has intent, act and result, and the rollback target was recorded before the change."""
    before = template(kube)
    plan = checklist(
        deploy=({"id": "deploy.backend", "title": "Deploy", "action": {"do": "set_image"}},),
        rollback=({"id": "rollback.backend", "title": "Restore", "action": {"do": "restore_backend"}},),
    )
    targets = {**world.deps.targets, "production": ship.target}
    world.deps = replace(world.deps, checklist=plan, targets=targets)
    release_id = world.run_to_approval()
    world.deploy(QA, release_id)
    world.run("advance")
    assert world.view(release_id).release.state is ReleaseState.WATCHING
    assert image(kube) == NEW
    journal = world.rows("SELECT entry FROM journal ORDER BY id")
    assert [row["entry"] for row in journal] == ["intent", "acted", "observed", "result"]
    (early,) = world.rows(
        "SELECT recorded_at < (SELECT at FROM journal WHERE entry = 'intent') AS early FROM rollback_targets"
    )
    assert early == {"early": True}
    world.act(judge_rollback, MANAGER, release_id, "errors")
    world.run("advance")
    view = world.view(release_id)
    assert view.release.state is ReleaseState.ROLLED_BACK
    assert {step.id: step.state for step in view.steps} == {
        "deploy.backend": StepState.DONE,
        "rollback.backend": StepState.DONE,
    }
    assert template(kube) == before
    world.events()


def test_a_retry_records_the_rollback_target_again_before_the_first_patch(kube: Kube, ship: Ship, world: World) -> None:
    """A change by somebody else during an earlier step survives the rollback."""
    plan = checklist(
        deploy=(
            {"id": "deploy.look", "title": "Look", "action": {"do": "check", "kind": "ask"}},
            {"id": "deploy.backend", "title": "Deploy", "action": {"do": "set_image"}},
        ),
        rollback=({"id": "rollback.backend", "title": "Restore", "action": {"do": "restore_backend"}},),
    )
    targets = {**world.deps.targets, "production": ship.target}
    world.deps = replace(world.deps, checklist=plan, targets=targets)
    release_id = world.run_to_approval()
    world.deploy(QA, release_id)
    world.outside.during = lambda name: change_mode(kube, "other") if name == "deploy.look" else None
    world.run("advance")
    view = world.view(release_id)
    assert view.release.state is ReleaseState.DEPLOY_FAILED
    assert "spec.containers[main].env[MODE]" in view.release.reason
    assert image(kube) == OLD
    changed_template = template(kube)
    step = next(step for step in view.steps if step.id == "deploy.backend")
    world.act(step_clicks.retry, QA, step.row)
    world.run("advance")
    assert (world.view(release_id).release.state, image(kube)) == (ReleaseState.WATCHING, NEW)
    world.act(judge_rollback, MANAGER, release_id, "errors")
    world.run("advance")
    assert template(kube) == changed_template
