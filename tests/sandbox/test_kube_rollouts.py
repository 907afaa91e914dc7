"""Rollouts, revisions, undo and pods: what a release sees of a cluster, on the simulator and on a real API server."""

import pytest
from kubernetes.client.exceptions import ApiException

from tests.fix_kube import Json, Kube, eventually
from tests.sandbox.kube_objects import (
    deploy,
    deployed,
    images,
    is_rolled_out,
    pods,
    progressing,
    read,
    revisions,
    set_image,
)


def test_a_new_image_rolls_out_as_the_next_revision(kube: Kube) -> None:
    """Both pods run the new image at the end, and the history has both revisions."""
    deployed(kube)
    set_image(kube, "app:2")
    eventually("the rollout", lambda: is_rolled_out(kube) and len(pods(kube)) == 2)
    assert {pod.spec.containers[0].image for pod in pods(kube)} == {"app:2"}
    assert revisions(kube) == {1: "app:1", 2: "app:2"}
    assert progressing(kube) == "NewReplicaSetAvailable"


def test_a_patch_by_container_name_leaves_the_rest_of_the_template(kube: Kube) -> None:
    """A strategic merge patch joins containers and variables by name."""
    deployed(kube)
    set_image(kube, "app:2")
    container = read(kube).spec.template.spec.containers[0]
    assert (container.image, container.env[0].value) == ("app:2", "test")


def test_a_patch_that_changes_nothing_is_no_new_generation(kube: Kube) -> None:
    """Setting the image that is set already starts nothing."""
    deployed(kube)
    before = read(kube).metadata
    set_image(kube, "app:1")
    after = read(kube).metadata
    assert (after.generation, after.resource_version) == (before.generation, before.resource_version)


def test_the_controller_observes_a_generation_later(kube: Kube) -> None:
    """The answer to a patch has the new generation, and the status still the old one."""
    deployed(kube)
    patch = {"spec": {"template": {"metadata": {"annotations": {"touched": "yes"}}}}}
    answer = kube.apps.patch_namespaced_deployment("web", kube.namespace, patch)
    assert (answer.metadata.generation, answer.status.observed_generation) == (2, 1)
    eventually("the observation", lambda: read(kube).status.observed_generation == 2)


def test_old_pods_stay_while_the_new_ones_are_not_ready(kube: Kube) -> None:
    """A rollout that never gets ready costs no available pod, and exceeds its deadline."""
    deployed(kube, progressDeadlineSeconds=1)
    images(kube, {"app:2": {"never-ready": True}})
    set_image(kube, "app:2")
    eventually("the deadline", lambda: progressing(kube) == "ProgressDeadlineExceeded")
    found = read(kube)
    assert (found.status.available_replicas, found.status.updated_replicas, found.status.replicas) == (2, 1, 3)
    assert {c.type: c.status for c in found.status.conditions} == {"Available": "True", "Progressing": "False"}


def test_going_back_reuses_the_replica_set_under_a_new_number(kube: Kube) -> None:
    """After 1, 2 and back: revisions 2 and 3, and the old number is in the annotation revision-history."""
    deployed(kube)
    name = pods(kube)[0].metadata.labels["pod-template-hash"]
    set_image(kube, "app:2")
    eventually("the rollout", lambda: is_rolled_out(kube))
    set_image(kube, "app:1")
    eventually("the way back", lambda: is_rolled_out(kube) and len(pods(kube)) == 2)
    assert revisions(kube) == {2: "app:2", 3: "app:1"}
    assert {pod.metadata.labels["pod-template-hash"] for pod in pods(kube)} == {name}
    reused = kube.apps.read_namespaced_replica_set(f"web-{name}", kube.namespace)
    assert reused.metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"
    assert read(kube).metadata.annotations["deployment.kubernetes.io/revision"] == "3"


def test_history_beyond_the_limit_is_deleted(kube: Kube) -> None:
    """The limit counts the old ReplicaSets that are kept; the running one always is."""
    deployed(kube, revisionHistoryLimit=1)
    for image in ("app:2", "app:3"):
        set_image(kube, image)
        eventually("the rollout", lambda: is_rolled_out(kube))
    eventually("the clean-up", lambda: len(revisions(kube)) == 2)
    assert revisions(kube)[3] == "app:3"


def test_a_paused_deployment_does_not_roll_out(kube: Kube) -> None:
    """A paused one observes the change, but makes no ReplicaSet of it until it is resumed."""
    deployed(kube)
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"paused": True}})
    eventually("the pause", lambda: progressing(kube) == "DeploymentPaused")
    set_image(kube, "app:2")
    eventually("the observation", lambda: read(kube).status.observed_generation == 3)
    assert revisions(kube) == {1: "app:1"}
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"paused": False}})
    eventually("the rollout", lambda: is_rolled_out(kube))
    assert revisions(kube) == {1: "app:1", 2: "app:2"}


def test_scaling_changes_pods_but_no_revision(kube: Kube) -> None:
    """The scale subresource answers with a Scale, and the template stays."""
    deployed(kube)
    answer = kube.apps.patch_namespaced_deployment_scale("web", kube.namespace, {"spec": {"replicas": 3}})
    assert (answer.kind, answer.spec.replicas) == ("Scale", 3)
    eventually("three pods", lambda: is_rolled_out(kube) and len(pods(kube)) == 3)
    assert revisions(kube) == {1: "app:1"}


def test_annotations_of_the_deployment_are_copied_to_the_new_replica_set(kube: Kube) -> None:
    """So that the cause of a change is in the history; the revision is not copied."""
    deployed(kube)
    patch: Json = {"metadata": {"annotations": {"kubernetes.io/change-cause": "v2"}}}
    patch |= {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "app:2"}]}}}}
    kube.apps.patch_namespaced_deployment("web", kube.namespace, patch)
    eventually("the rollout", lambda: is_rolled_out(kube))
    sets = kube.apps.list_namespaced_replica_set(kube.namespace).items
    causes = {s.spec.template.spec.containers[0].image: s.metadata.annotations for s in sets}
    assert causes["app:2"]["kubernetes.io/change-cause"] == "v2"
    assert causes["app:2"]["deployment.kubernetes.io/revision"] == "2"


def test_a_deleted_pod_is_replaced(kube: Kube) -> None:
    """The ReplicaSet makes up for a pod that somebody deletes."""
    deployed(kube)
    gone = pods(kube)[0].metadata.name
    kube.core.delete_namespaced_pod(gone, kube.namespace)
    eventually("a new pod", lambda: len(pods(kube)) == 2 and gone not in [p.metadata.name for p in pods(kube)])


def test_what_a_deployment_owns_goes_with_it(kube: Kube) -> None:
    """Deleting it in the background takes ReplicaSets and pods away."""
    deployed(kube)
    kube.apps.delete_namespaced_deployment("web", kube.namespace)
    eventually("the end of its ReplicaSets", lambda: not kube.apps.list_namespaced_replica_set(kube.namespace).items)
    eventually("the end of its pods", lambda: not kube.core.list_namespaced_pod(kube.namespace).items)


def test_a_crashing_image_shows_in_states_and_logs(kube: Kube) -> None:
    """Back-off, restart count, exit code of the last run, and its log."""
    images(kube, {"app:*-bad": {"crash": True, "exit-code": 3, "log": ["boot", "Traceback: boom"]}})
    deploy(kube, "app:1-bad", replicas=1)

    def looping():
        return next((p for p in pods(kube) if p.status.container_statuses and _waits(p) == "CrashLoopBackOff"), None)

    pod = eventually("the crash loop", looping)
    eventually("a restart", lambda: pods(kube)[0].status.container_statuses[0].restart_count >= 1)
    status = pod.status.container_statuses[0]
    assert status.last_state.terminated.exit_code == 3
    log = kube.core.read_namespaced_pod_log(pod.metadata.name, kube.namespace, previous=True)
    assert log == "boot\nTraceback: boom\n"


def test_a_container_that_waits_has_no_log(kube: Kube) -> None:
    """Asking for the log of an image that cannot be pulled is a bad request, not an empty log."""
    deploy(kube, replicas=1, annotations={"testbed/image-pull-error": "true"})
    eventually("the pull back-off", lambda: [_waits(pod) for pod in pods(kube)] == ["ImagePullBackOff"])
    pod = pods(kube)[0]
    with pytest.raises(ApiException) as refused:
        kube.core.read_namespaced_pod_log(pod.metadata.name, kube.namespace)
    assert refused.value.status == 400
    assert "trying and failing to pull image" in str(refused.value.body)


def test_logs_are_cut_as_asked(kube: Kube) -> None:
    """tailLines, limitBytes, timestamps, and no previous instance."""
    deployed(kube, annotations={"testbed/log": "one\ntwo\nthree"}, replicas=1)
    name = pods(kube)[0].metadata.name

    def log(**options):
        return kube.core.read_namespaced_pod_log(name, kube.namespace, **options)

    assert log() == "one\ntwo\nthree\n"
    assert log(tail_lines=2, container="main") == "two\nthree\n"
    assert log(limit_bytes=5) == "one\nt"
    assert log(tail_lines=1, timestamps=True).endswith("Z three\n")
    assert log(since_seconds=60).count("\n") == 3
    with pytest.raises(ApiException) as refused:
        log(previous=True)
    assert refused.value.status == 400


def test_kubectl_agrees_on_a_rollout_its_failure_and_undo(kube: Kube) -> None:
    """Status, history and undo of a rollout say what they say on a real cluster."""
    deployed(kube)
    images(kube, {"app:2": {"never-ready": True}})
    assert kube.kubectl("set", "image", "deployment/web", "main=app:2").returncode == 0
    failed = kube.kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    assert failed.returncode == 1
    assert 'error: deployment "web" exceeded its progress deadline' in failed.stderr
    assert _history(kube) == ["1", "2"]
    undone = kube.kubectl("rollout", "undo", "deployment/web")
    assert "deployment.apps/web rolled back" in undone.stdout, undone.stderr
    done = kube.kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    assert 'deployment "web" successfully rolled out' in done.stdout, done.stderr
    assert _history(kube) == ["2", "3"]
    assert read(kube).spec.template.spec.containers[0].image == "app:1"
    shown = kube.kubectl("get", "deployment", "web")
    assert shown.stdout.split()[5:9] == ["web", "2/2", "2", "2"], shown.stderr


def _history(kube: Kube) -> list[str]:
    shown = kube.kubectl("rollout", "history", "deployment/web").stdout
    return [line.split()[0] for line in shown.splitlines() if line[:1].isdigit()]


def _waits(pod) -> str:
    statuses = pod.status.container_statuses or []
    return next((s.state.waiting.reason for s in statuses if s.state.waiting), "")
