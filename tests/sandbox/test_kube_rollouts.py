"""Rollouts, revisions and the way back: what a release sees of a cluster, on the simulator and on a real API server."""

from tests.fix_kube import Json, Kube, eventually
from tests.sandbox.kube_objects import (
    deploy,
    deploy_and_wait,
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
    deploy_and_wait(kube)
    set_image(kube, "app:2")
    eventually("the rollout", lambda: is_rolled_out(kube) and len(pods(kube)) == 2)
    assert {pod.spec.containers[0].image for pod in pods(kube)} == {"app:2"}
    assert revisions(kube) == {1: "app:1", 2: "app:2"}
    assert progressing(kube) == "NewReplicaSetAvailable"


def test_a_patch_by_container_name_leaves_the_rest_of_the_template(kube: Kube) -> None:
    """A strategic merge patch joins containers and variables by name."""
    deploy_and_wait(kube)
    set_image(kube, "app:2")
    container = read(kube).spec.template.spec.containers[0]
    assert (container.image, container.env[0].value) == ("app:2", "test")


def test_a_patch_that_changes_nothing_is_no_new_generation(kube: Kube) -> None:
    """Setting the image that is set already starts nothing."""
    deploy_and_wait(kube)
    before = read(kube).metadata
    set_image(kube, "app:1")
    after = read(kube).metadata
    assert (after.generation, after.resource_version) == (before.generation, before.resource_version)


def test_the_controller_observes_a_generation_later(kube: Kube) -> None:
    """The answer to a patch has the new generation, and the status still the old one."""
    deploy_and_wait(kube)
    patch = {"spec": {"template": {"metadata": {"annotations": {"touched": "yes"}}}}}
    answer = kube.apps.patch_namespaced_deployment("web", kube.namespace, patch)
    assert (answer.metadata.generation, answer.status.observed_generation) == (2, 1)
    eventually("the observation", lambda: read(kube).status.observed_generation == 2)


def test_old_pods_stay_while_the_new_ones_are_not_ready(kube: Kube) -> None:
    """A rollout that never gets ready costs no available pod, and exceeds its deadline."""
    deploy_and_wait(kube, progressDeadlineSeconds=1)
    images(kube, {"app:2": {"never-ready": True}})
    set_image(kube, "app:2")
    eventually("the deadline", lambda: progressing(kube) == "ProgressDeadlineExceeded")
    deployment = read(kube)
    assert (deployment.status.available_replicas, deployment.status.updated_replicas, deployment.status.replicas) == (
        2,
        1,
        3,
    )
    assert {c.type: c.status for c in deployment.status.conditions} == {"Available": "True", "Progressing": "False"}


def test_going_back_reuses_the_replica_set_under_a_new_number(kube: Kube) -> None:
    """After 1, 2 and back: revisions 2 and 3, and the old number is in the annotation revision-history."""
    deploy_and_wait(kube)
    name = pods(kube)[0].metadata.labels["pod-template-hash"]
    set_image(kube, "app:2")
    eventually("the rollout", lambda: is_rolled_out(kube))
    set_image(kube, "app:1")
    eventually("the way back", lambda: is_rolled_out(kube) and len(pods(kube)) == 2)
    assert revisions(kube) == {2: "app:2", 3: "app:1"}
    assert {pod.metadata.labels["pod-template-hash"] for pod in pods(kube)} == {name}
    replica_set = kube.apps.read_namespaced_replica_set(f"web-{name}", kube.namespace)
    assert replica_set.metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"
    assert read(kube).metadata.annotations["deployment.kubernetes.io/revision"] == "3"


def test_history_beyond_the_limit_is_deleted(kube: Kube) -> None:
    """The limit counts the old ReplicaSets that are kept; the running one always is."""
    deploy_and_wait(kube, revisionHistoryLimit=1)
    for image in ("app:2", "app:3"):
        set_image(kube, image)
        eventually("the rollout", lambda: is_rolled_out(kube))
    eventually("the clean-up", lambda: len(revisions(kube)) == 2)
    assert revisions(kube)[3] == "app:3"


def test_a_paused_deployment_does_not_roll_out(kube: Kube) -> None:
    """A paused one observes the change, but makes no ReplicaSet of it until it is resumed."""
    deploy_and_wait(kube)
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"paused": True}})
    eventually("the pause", lambda: progressing(kube) == "DeploymentPaused")
    set_image(kube, "app:2")
    eventually("the observation", lambda: read(kube).status.observed_generation == 3)
    assert revisions(kube) == {1: "app:1"}
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"paused": False}})
    eventually("the rollout", lambda: is_rolled_out(kube))
    assert revisions(kube) == {1: "app:1", 2: "app:2"}


def test_scaling_changes_pods_but_no_revision(kube: Kube) -> None:
    """Up and down again; the template stays."""
    deploy_and_wait(kube)
    for replicas in (3, 1):
        kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"replicas": replicas}})
        eventually("the pods", lambda: is_rolled_out(kube) and len(pods(kube)) == read(kube).spec.replicas)
    assert revisions(kube) == {1: "app:1"}


def test_annotations_of_the_deployment_are_copied_to_the_new_replica_set(kube: Kube) -> None:
    """So that the cause of a change is in the history; the revision is not copied."""
    deploy_and_wait(kube)
    patch: Json = {"metadata": {"annotations": {"kubernetes.io/change-cause": "v2"}}}
    patch |= {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "app:2"}]}}}}
    kube.apps.patch_namespaced_deployment("web", kube.namespace, patch)
    eventually("the rollout", lambda: is_rolled_out(kube))
    sets = kube.apps.list_namespaced_replica_set(kube.namespace).items
    causes = {s.spec.template.spec.containers[0].image: s.metadata.annotations for s in sets}
    assert causes["app:2"]["kubernetes.io/change-cause"] == "v2"
    assert causes["app:2"]["deployment.kubernetes.io/revision"] == "2"


def test_a_new_size_in_the_middle_of_a_rollout_is_reached(kube: Kube) -> None:
    """The rollout ends with as many pods of the new image as were asked for last."""
    deploy_and_wait(kube)
    images(kube, {"app:2": {"ready-after": "1s"}})
    set_image(kube, "app:2")
    eventually("both images", lambda: {pod.spec.containers[0].image for pod in pods(kube)} == {"app:1", "app:2"})
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"replicas": 3}})
    eventually("the rollout", lambda: is_rolled_out(kube) and len(pods(kube)) == 3)
    assert {pod.spec.containers[0].image for pod in pods(kube)} == {"app:2"}
    assert revisions(kube) == {1: "app:1", 2: "app:2"}


def test_pods_that_may_be_missing_go_before_the_new_ones_come(kube: Kube) -> None:
    """With maxSurge 0 there are never more pods than asked for; half of four may be missing."""
    rolling = {"maxSurge": 0, "maxUnavailable": "50%"}
    deploy_and_wait(kube, replicas=4, strategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    images(kube, {"app:2": {"never-ready": True}})
    set_image(kube, "app:2")
    eventually("the deadline", lambda: progressing(kube) == "ProgressDeadlineExceeded")
    status = read(kube).status
    assert (status.replicas, status.available_replicas, status.updated_replicas) == (4, 2, 2)


def test_a_deployment_whose_pods_never_get_ready_is_not_available(kube: Kube) -> None:
    """Both conditions say so, each with its reason."""
    deploy(kube, annotations={"testbed/never-ready": "true"}, progressDeadlineSeconds=1)
    eventually("the deadline", lambda: progressing(kube) == "ProgressDeadlineExceeded")
    status = read(kube).status
    assert {c.type: (c.status, c.reason) for c in status.conditions} == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("False", "ProgressDeadlineExceeded"),
    }
    assert (status.replicas, status.unavailable_replicas, status.ready_replicas) == (2, 2, None)


def test_a_deleted_pod_is_replaced(kube: Kube) -> None:
    """The ReplicaSet makes up for a pod that somebody deletes."""
    deploy_and_wait(kube)
    name = pods(kube)[0].metadata.name
    kube.core.delete_namespaced_pod(name, kube.namespace)
    eventually("a new pod", lambda: len(pods(kube)) == 2 and name not in [p.metadata.name for p in pods(kube)])


def test_what_a_deployment_owns_goes_with_it(kube: Kube) -> None:
    """Deleting it in the background takes ReplicaSets and pods away."""
    deploy_and_wait(kube)
    kube.apps.delete_namespaced_deployment("web", kube.namespace)
    eventually("the end of its ReplicaSets", lambda: not kube.apps.list_namespaced_replica_set(kube.namespace).items)
    eventually("the end of its pods", lambda: not kube.core.list_namespaced_pod(kube.namespace).items)
