"""What the API server answers: locks, refusals, patches, defaults, selectors, on the simulator and on a real one."""

import json
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.fix_kube import Kube, api_client, eventually
from tests.sandbox.kube_objects import create_pod, deploy, deploy_and_wait, is_rolled_out, read, set_image


def _refusal(call: Any) -> tuple[int, str]:
    with pytest.raises(ApiException) as refusal:
        call()
    return int(refusal.value.status or 0), str(json.loads(str(refusal.value.body))["reason"])


def _patch(kube: Kube, body: Any, kind: str | None = None) -> Any:
    options = {"_content_type": kind} if kind else {}
    return kube.apps.patch_namespaced_deployment("web", kube.namespace, body, **options)


def test_a_stale_writer_gets_a_conflict(kube: Kube) -> None:
    """A PUT, or a patch that names the resourceVersion it saw, loses against a write in between."""
    deploy_and_wait(kube)
    stale = read(kube)
    set_image(kube, "app:2")
    version = {"metadata": {"resourceVersion": stale.metadata.resource_version}}
    stale.spec.replicas = 1
    assert _refusal(lambda: kube.apps.replace_namespaced_deployment("web", kube.namespace, stale)) == (409, "Conflict")
    assert _refusal(lambda: _patch(kube, version | {"spec": {"replicas": 1}})) == (409, "Conflict")


def test_a_json_patch_whose_test_fails_is_invalid(kube: Kube) -> None:
    """The real server answers 422 and changes nothing, not even by the operations before the test."""
    deploy_and_wait(kube)
    operations = [
        {"op": "replace", "path": "/spec/replicas", "value": 5},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
    ]
    assert _refusal(lambda: _patch(kube, operations)) == (422, "Invalid")
    assert read(kube).spec.replicas == 2


def test_a_json_patch_with_the_right_version_applies(kube: Kube) -> None:
    """The way back of a release: the whole template and the annotations, under a lock."""
    deploy_and_wait(kube)
    kube.apps.patch_namespaced_deployment("web", kube.namespace, {"metadata": {"annotations": {"later": "yes"}}})

    def attempt() -> bool:
        """Read and patch; once more if the controller has written in between, as a client has to."""
        raw = kube.apps.read_namespaced_deployment("web", kube.namespace, _preload_content=False)
        before = json.loads(raw.data.decode())
        template = before["spec"]["template"]
        template["spec"]["containers"][0]["image"] = "app:0"
        operations = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": before["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "replace", "path": "/metadata/annotations", "value": {"kubernetes.io/change-cause": "back"}},
        ]
        try:
            _patch(kube, operations)
        except ApiException as error:
            if error.status != 422:
                raise
            return False
        return True

    eventually("the patch", attempt)
    eventually("the rollout", lambda: is_rolled_out(kube))
    deployment = read(kube)
    assert deployment.spec.template.spec.containers[0].image == "app:0"
    assert "later" not in deployment.metadata.annotations
    assert deployment.metadata.annotations["kubernetes.io/change-cause"] == "back"


def test_a_merge_patch_replaces_lists(kube: Kube) -> None:
    """RFC 7386 knows no merge keys: what the list does not name is gone."""
    deploy_and_wait(kube)
    containers = [{"name": "main", "image": "app:3"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    _patch(kube, patch, "application/merge-patch+json")
    container = read(kube).spec.template.spec.containers[0]
    assert (container.image, container.env) == ("app:3", None)


NOTES = {"a": "1", "b/c": "2"}
OPERATIONS: list[tuple[dict[str, str], dict[str, str] | None]] = [  # an operation, and the annotations that it leaves
    ({"op": "add", "path": "/f", "value": "4"}, NOTES | {"f": "4"}),
    ({"op": "add", "path": "/a", "value": "4"}, NOTES | {"a": "4"}),
    ({"op": "replace", "path": "/b~1c", "value": "4"}, NOTES | {"b/c": "4"}),
    ({"op": "remove", "path": "/a"}, {"b/c": "2"}),
    ({"op": "move", "from": "/a", "path": "/f"}, {"b/c": "2", "f": "1"}),
    ({"op": "copy", "from": "/a", "path": "/f"}, NOTES | {"f": "1"}),
    ({"op": "test", "path": "/a", "value": "1"}, NOTES),
    ({"op": "test", "path": "/a", "value": "2"}, None),
    ({"op": "remove", "path": "/none"}, None),
    ({"op": "add", "path": "/none/deep", "value": "4"}, None),
    ({"op": "frob", "path": "/a"}, None),
]


@pytest.mark.parametrize(("operation", "notes"), OPERATIONS, ids=lambda case: case.get("op") if case else "refused")
def test_an_operation_of_a_json_patch(kube: Kube, operation: dict[str, str], notes: dict[str, str] | None) -> None:
    """RFC 6902, with escaped pointers; one that does not apply is refused with 422 and changes nothing."""
    kube.core.create_namespaced_config_map(kube.namespace, {"metadata": {"name": "n", "annotations": NOTES}})
    pointers = {key: f"/metadata/annotations{operation[key]}" for key in ("from", "path") if key in operation}

    def patch() -> Any:
        return kube.core.patch_namespaced_config_map("n", kube.namespace, [operation | pointers])

    if notes is None:
        assert _refusal(patch) == (422, "Invalid")
    else:
        patch()
    assert kube.core.read_namespaced_config_map("n", kube.namespace).metadata.annotations == (notes or NOTES)


@pytest.mark.parametrize("kind", ["merge-patch", "strategic-merge-patch"])
def test_null_in_a_patch_removes_a_key(kube: Kube, kind: str) -> None:
    """What the patch does not name stays, at every depth."""
    kube.core.create_namespaced_config_map(
        kube.namespace, {"metadata": {"name": "n", "annotations": NOTES}, "data": {"x": "1", "y": "2"}}
    )
    patch = {"metadata": {"annotations": {"a": None, "new": "3"}}, "data": {"x": None, "z": None}}
    kube.core.patch_namespaced_config_map("n", kube.namespace, patch, _content_type=f"application/{kind}+json")
    after = kube.core.read_namespaced_config_map("n", kube.namespace)
    assert (after.metadata.annotations, after.data) == ({"b/c": "2", "new": "3"}, {"y": "2"})


def test_defaults_are_filled_in(kube: Kube) -> None:
    """A Deployment reads back with what it did not say, in the words of kube-apiserver, and without what is empty."""
    container = {"name": "main", "image": "app:1", "args": [], "env": [{"name": "A", "value": ""}]}
    container |= {"ports": [{"containerPort": 80}]}
    template = {"metadata": {"labels": {"app": "web"}, "annotations": {}}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    path = f"/apis/apps/v1/namespaces/{kube.namespace}/deployments"
    answer = kube.request("POST", path, {"metadata": {"name": "web", "labels": None}, "spec": spec})
    assert answer.status_code == 201
    answer_body = answer.json()
    answer_body["spec"]["template"]["metadata"].pop("creationTimestamp", None)  # null at servers before 1.33
    assert answer_body["metadata"].keys() - {"managedFields"} == {
        *("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")
    }
    assert answer_body["spec"] == {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "app:1",
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "env": [{"name": "A"}],
                        "resources": {},
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File",
                        "imagePullPolicy": "IfNotPresent",
                    }
                ],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst",
                "securityContext": {},
                "schedulerName": "default-scheduler",
            },
        },
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("host:5000/app", "Always"),
        (f"app@sha256:{64 * '0'}", "IfNotPresent"),
    ],
)
def test_an_image_that_may_move_is_always_pulled(kube: Kube, image: str, policy: str) -> None:
    """The default of imagePullPolicy follows from the tag."""
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": image}]}}
    answer_body = create_pod(kube, body)
    assert answer_body.spec.containers[0].image_pull_policy == policy


def test_the_text_of_a_secret_is_kept_encoded(kube: Kube) -> None:
    """Its stringData is not read back, but is in data; in a patch too."""
    core, space = kube.core, kube.namespace
    core.create_namespaced_secret(space, {"metadata": {"name": "s"}, "stringData": {"a": "one"}, "data": {"b": "dHdv"}})
    core.patch_namespaced_secret("s", space, {"stringData": {"b": "three"}})
    secret = core.read_namespaced_secret("s", space)
    assert (secret.type, secret.data, secret.string_data) == ("Opaque", {"a": "b25l", "b": "dGhyZWU="}, None)


def test_a_client_cannot_write_what_is_the_servers(kube: Kube) -> None:
    """Status, uid and times of a PUT are left out of account; metadata alone makes no new generation."""
    deploy_and_wait(kube)
    path = f"/apis/apps/v1/namespaces/{kube.namespace}/deployments/web"
    before = kube.request("GET", path).json()
    body = json.loads(json.dumps(before))
    del body["metadata"]["resourceVersion"], body["metadata"]["uid"]
    body["status"] = {"replicas": 7}
    body["metadata"] |= {"creationTimestamp": "2020-01-01T00:00:00Z", "generation": 99, "labels": {"new": "yes"}}
    after = kube.request("PUT", path, body).json()
    assert after["status"]["replicas"] == before["status"]["replicas"]
    assert after["metadata"]["labels"] == {"new": "yes"}
    keys = ("uid", "creationTimestamp", "generation")
    assert [after["metadata"][key] for key in keys] == [before["metadata"][key] for key in keys]
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/namespaces/SPACE/gadgets", None, 404),
        ("GET", "/api/v1/namespaces/SPACE/configmaps/none/none", None, 404),
        ("POST", "/api/v1/namespaces/SPACE/configmaps", "{", 400),
        ("POST", "/api/v1/namespaces/SPACE/configmaps", {"kind": "Secret", "metadata": {"name": "a"}}, 400),
        ("POST", "/api/v1/namespaces/SPACE/configmaps", {"metadata": {"name": "a", "namespace": "other"}}, 400),
        ("POST", "/api/v1/namespaces/SPACE/configmaps", {"metadata": {"name": "Not_a_name"}}, 422),
        ("PATCH", "/api/v1/namespaces/SPACE/serviceaccounts/default", {}, 415),  # of content type application/json
    ],
)
def test_a_request_that_makes_no_sense_is_refused(kube: Kube, method: str, path: str, body: Any, status: int) -> None:
    """As a Status object, with a code that says whose fault it is."""
    answer = kube.request(method, path.replace("SPACE", kube.namespace), body)
    assert (answer.status_code, answer.json()["kind"], answer.json()["code"]) == (status, "Status", status)


def test_a_namespace_that_is_deleted_takes_nothing_new(kube: Kube) -> None:
    """It empties itself, refuses what comes meanwhile, and is gone in the end."""
    space = kube.another_namespace()
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "app:1"}]}}
    create_pod(kube, pod, space)
    kube.core.create_namespaced_config_map(space, {"metadata": {"name": "one"}})
    kube.core.delete_namespace(space)
    late = {"metadata": {"name": "late"}}
    assert _refusal(lambda: kube.core.create_namespaced_config_map(space, late)) == (403, "Forbidden")

    def is_gone() -> bool:
        return kube.request("GET", f"/api/v1/namespaces/{space}").status_code == 404

    eventually("the end of the namespace", is_gone, 60)
    kube.others.remove(space)


def test_what_breaks_a_rule_is_refused_as_a_status(kube: Kube) -> None:
    """404, 409 and 422 with the machine-readable reason."""
    deploy_and_wait(kube)
    deployment = read(kube)
    deployment.metadata.resource_version = deployment.metadata.namespace = None
    apps, space = kube.apps, kube.namespace
    assert _refusal(lambda: apps.read_namespaced_deployment("nope", space)) == (404, "NotFound")
    assert _refusal(lambda: apps.create_namespaced_deployment(space, deployment)) == (409, "AlreadyExists")
    assert _refusal(lambda: apps.create_namespaced_deployment("no-such-space", deployment)) == (404, "NotFound")
    assert _refusal(lambda: _patch(kube, {"spec": {"selector": {"matchLabels": {"app": "x"}}}})) == (422, "Invalid")
    assert _refusal(lambda: _patch(kube, {"spec": {"replicas": -1}})) == (422, "Invalid")
    assert _refusal(lambda: set_image(kube, "")) == (422, "Invalid")


def test_a_wrong_token_is_unauthorized(kube: Kube) -> None:
    """An unknown bearer token is 401, whatever it asks for."""
    with api_client(kube.kubeconfig) as api:
        api.configuration.api_key = {"authorization": "Bearer nobody"}
        api.configuration.refresh_api_key_hook = None
        stranger = Kube(kube.backend, kube.kubeconfig, kube.namespace, api)
        assert _refusal(lambda: stranger.core.list_namespaced_pod(kube.namespace)) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        ("app=web", 2),
        ("app==web,pod-template-hash", 2),
        ("app in (web, other)", 2),
        ("app notin (web, other)", 0),
        ("app!=web", 0),
        ("!app", 0),
        ("!other,app", 2),
    ],
)
def test_lists_can_be_narrowed(kube: Kube, selector: str, count: int) -> None:
    """By labels, sets of labels, and whether there is a label at all."""
    deploy(kube, replicas=2)
    eventually("the pods", lambda: len(kube.core.list_namespaced_pod(kube.namespace).items) == 2)
    assert len(kube.core.list_namespaced_pod(kube.namespace, label_selector=selector).items) == count


def test_a_selector_that_does_not_parse_is_refused(kube: Kube) -> None:
    """It would be wrong to list everything."""
    pods_of = kube.core.list_namespaced_pod
    assert _refusal(lambda: pods_of(kube.namespace, label_selector="app in web")) == (400, "BadRequest")


def test_permissions_can_be_asked_for(kube: Kube) -> None:
    """A review of one's own access, as a program asks before it starts."""
    attributes = {"namespace": kube.namespace, "verb": "patch", "group": "apps", "resource": "deployments"}
    body: Any = {"spec": {"resourceAttributes": attributes}}
    answer: Any = client.AuthorizationV1Api(kube.api).create_self_subject_access_review(body)
    assert answer.status.allowed is True
