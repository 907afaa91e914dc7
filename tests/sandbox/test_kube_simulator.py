"""What only the simulated cluster does, so that a real API server cannot be asked the same.

Everything else of it is tried on both: test_kube_api, test_kube_access, test_kube_rollouts, test_kube_pods, test_kube_jobs and
test_kube_seed. These cannot be, and why:

- A restart with the same data folder, and kill -9: the real server's state is etcd's.
- The refusal of what is not simulated: a real server takes it.
- `lastSuccessfulTime` of a CronJob, and the `replace` of a JSON patch for a key that is not there: the real server at hand is
  1.20, which lacks the first and takes the second for an `add`; newer ones do as the simulator does.
- Back-off of pods and Jobs in tenths of seconds instead of tens: the real one is waited for, not measured.
- IP addresses and the name of the node: those of the real server at hand are made up by its testbed too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.fix_kube import Kube, api_client, eventually, new_namespace, simulator
from tests.sandbox.kube_objects import deploy, deploy_and_wait, is_rolled_out, pods, read, revisions, set_image


def test_a_second_start_goes_on_with_the_same_pods(tmp_path: Path) -> None:
    """Objects, running containers, their logs, token and port are as before; the next rollout works."""
    with simulator(tmp_path) as (process, kubeconfig), api_client(kubeconfig) as api:
        kube = Kube("simulator", kubeconfig, new_namespace(api), api)
        deploy_and_wait(kube)
        before = {p.metadata.uid: p.status.container_statuses[0].container_id for p in pods(kube)}
        configuration = kubeconfig.read_text()
        process.terminate()
        process.wait(timeout=10)
    with simulator(tmp_path) as (_, kubeconfig), api_client(kubeconfig) as api:
        assert kubeconfig.read_text() == configuration
        kube = Kube("simulator", kubeconfig, kube.namespace, api)
        assert {p.metadata.uid: p.status.container_statuses[0].container_id for p in pods(kube)} == before
        assert is_rolled_out(kube)
        log = kube.core.read_namespaced_pod_log(pods(kube)[0].metadata.name, kube.namespace)
        assert log == "testbed: started app:1\n"
        set_image(kube, "app:2")
        eventually("the rollout", lambda: is_rolled_out(kube))
        assert revisions(kube) == {1: "app:1", 2: "app:2"}


def test_a_killed_simulator_loses_at_most_a_moment(tmp_path: Path) -> None:
    """Kill -9 after the state was written: the next start has the Deployment, and finishes what was under way."""
    with simulator(tmp_path) as (process, kubeconfig), api_client(kubeconfig) as api:
        kube = Kube("simulator", kubeconfig, new_namespace(api), api)
        deploy_and_wait(kube)
        set_image(kube, "app:2")
        snapshot = tmp_path / "objects.json"
        eventually("the snapshot", lambda: snapshot.exists() and '"app:2"' in snapshot.read_text())
        process.kill()
        process.wait(timeout=10)
    with simulator(tmp_path) as (_, kubeconfig), api_client(kubeconfig) as api:
        kube = Kube("simulator", kubeconfig, kube.namespace, api)
        eventually("the rollout", lambda: is_rolled_out(kube))
        assert read(kube).spec.template.spec.containers[0].image == "app:2"


REFUSALS: list[tuple[str, str, Any, str]] = [
    ("GET", "/api/v1/namespaces/SPACE/pods?watch=true", None, "the parameter watch"),
    ("GET", "/api/v1/namespaces/SPACE/pods?fieldSelector=metadata.name%3Da", None, "the parameter fieldSelector"),
    (
        "DELETE",
        "/apis/apps/v1/namespaces/SPACE/deployments/web?propagationPolicy=Foreground",
        {},
        "in the background only",
    ),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/SPACE/deployments/web",
        {"spec": {"$patch": "replace"}},
        "the directive $patch",
    ),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/SPACE/deployments/web",
        {"spec": {"template": {"spec": {"volumes": [{"name": "a"}]}}}},
        "how to merge volumes",
    ),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/SPACE/deployments/web",
        {"spec": {"minReadySeconds": 5}},
        "spec.minReadySeconds",
    ),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/SPACE/deployments/web",
        {"spec": {"strategy": {"type": "Recreate"}}},
        "Recreate",
    ),
]


@pytest.fixture
def kube(kube_simulator: tuple[Path, Any]) -> Iterator[Kube]:
    """The simulator with a fresh namespace, in place of the fixture that goes through both servers."""
    kubeconfig, api = kube_simulator
    cluster = Kube("simulator", kubeconfig, new_namespace(api), api)
    yield cluster
    cluster.core.delete_namespace(cluster.namespace)


@pytest.mark.parametrize(("method", "path", "body", "words"), REFUSALS, ids=[words for *_, words in REFUSALS])
def test_what_the_simulator_does_not_know_is_refused(kube: Kube, method: str, path: str, body: Any, words: str) -> None:
    """A real server takes it; nobody should believe that it was tried here."""
    deploy(kube)
    kind = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
    answer = kube.request(method, path.replace("SPACE", kube.namespace), body, kind)
    assert answer.status_code in (400, 422)
    assert words in answer.json()["message"]


def test_the_last_success_of_a_cronjob_is_noted(kube: Kube) -> None:
    """When its newest Job was complete, made by hand or not."""
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "tools:1"}]}}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": pod}}}
    cron_job = kube.batch.create_namespaced_cron_job(kube.namespace, {"metadata": {"name": "nightly"}, "spec": spec})
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": "nightly",
        "uid": cron_job.metadata.uid,
        "controller": True,
    }
    job = {"metadata": {"name": "manual", "ownerReferences": [owner]}, "spec": {"template": pod}}
    kube.batch.create_namespaced_job(kube.namespace, job)

    def last_success() -> Any:
        return kube.batch.read_namespaced_cron_job("nightly", kube.namespace).status.last_successful_time

    moment = eventually("the success", last_success)
    assert moment == kube.batch.read_namespaced_job("manual", kube.namespace).status.completion_time


def test_a_json_patch_replaces_only_what_is_there(kube: Kube) -> None:
    """422, as RFC 6902 says."""
    kube.core.create_namespaced_config_map(kube.namespace, {"metadata": {"name": "n"}, "data": {"a": "1"}})
    with pytest.raises(ApiException) as refusal:
        kube.core.patch_namespaced_config_map("n", kube.namespace, [{"op": "replace", "path": "/data/b", "value": "2"}])
    assert refusal.value.status == 422
