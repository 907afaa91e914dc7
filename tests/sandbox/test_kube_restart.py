"""The simulator over a restart, and the parts of it that need no server."""

from pathlib import Path

import pytest

from sandbox.kube.patches import PatchError, json_patch
from tests.fix_kube import Kube, api_client, eventually, new_namespace, simulator
from tests.sandbox.kube_objects import deployed, is_rolled_out, pods, read, revisions, set_image


def test_a_second_start_goes_on_with_the_same_pods(tmp_path: Path) -> None:
    """Objects, running containers, their logs, token and port are as before; the next rollout works."""
    with simulator(tmp_path) as (process, kubeconfig), api_client(kubeconfig) as api:
        kube = Kube("simulator", kubeconfig, new_namespace(api), api)
        deployed(kube)
        before = {p.metadata.uid: p.status.container_statuses[0].container_id for p in pods(kube)}
        configured = kubeconfig.read_text()
        process.terminate()
        process.wait(timeout=10)
    with simulator(tmp_path) as (_, kubeconfig), api_client(kubeconfig) as api:
        assert kubeconfig.read_text() == configured
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
        deployed(kube)
        set_image(kube, "app:2")
        snapshot = tmp_path / "objects.json"
        eventually("the snapshot", lambda: snapshot.exists() and '"app:2"' in snapshot.read_text())
        process.kill()
        process.wait(timeout=10)
    with simulator(tmp_path) as (_, kubeconfig), api_client(kubeconfig) as api:
        kube = Kube("simulator", kubeconfig, kube.namespace, api)
        eventually("the rollout", lambda: is_rolled_out(kube))
        assert read(kube).spec.template.spec.containers[0].image == "app:2"


DOCUMENT = {"spec": {"list": [1, 2, 3], "a/b": {"~": 0}}}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/spec/list/1", "value": 9}, {"list": [1, 9, 2, 3], "a/b": {"~": 0}}),
        ({"op": "add", "path": "/spec/list/-", "value": 9}, {"list": [1, 2, 3, 9], "a/b": {"~": 0}}),
        ({"op": "replace", "path": "/spec/a~1b/~0", "value": 1}, {"list": [1, 2, 3], "a/b": {"~": 1}}),
        ({"op": "remove", "path": "/spec/list/0"}, {"list": [2, 3], "a/b": {"~": 0}}),
        ({"op": "move", "from": "/spec/list", "path": "/spec/l"}, {"l": [1, 2, 3], "a/b": {"~": 0}}),
        (
            {"op": "copy", "from": "/spec/list/0", "path": "/spec/first"},
            {"list": [1, 2, 3], "a/b": {"~": 0}, "first": 1},
        ),
    ],
)
def test_json_patch_operations(operation: dict[str, object], expected: dict[str, object]) -> None:
    """The operations of RFC 6902, with escaped pointers."""
    assert json_patch(DOCUMENT, [operation]) == {"spec": expected}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/none", "value": 1},
        {"op": "remove", "path": "/spec/list/7"},
        {"op": "add", "path": "/spec/none/deep", "value": 1},
        {"op": "test", "path": "/spec/list/0", "value": 2},
        {"op": "frob", "path": "/spec"},
        {"op": "add", "path": "/spec/x"},
    ],
)
def test_json_patches_that_do_not_apply(operation: dict[str, object]) -> None:
    """They are refused, and the document is left alone."""
    before = {"spec": {"list": [1, 2, 3], "a/b": {"~": 0}}}
    with pytest.raises(PatchError):
        json_patch(DOCUMENT, [operation])
    assert before == DOCUMENT
