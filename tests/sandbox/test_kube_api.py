"""What the API server answers: locks, refusals, patches, selectors, watches, on the simulator and on a real one."""

import json
from typing import Any

import pytest
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from tests.fix_kube import Kube, api_client, eventually
from tests.sandbox.kube_objects import deployed, is_rolled_out, pods, read, set_image


def _refusal(call: Any) -> tuple[int, str]:
    with pytest.raises(ApiException) as refused:
        call()
    return int(refused.value.status or 0), str(json.loads(str(refused.value.body))["reason"])


def _patch(kube: Kube, body: Any, kind: str | None = None) -> Any:
    options = {"_content_type": kind} if kind else {}
    return kube.apps.patch_namespaced_deployment("web", kube.namespace, body, **options)


def test_a_stale_writer_gets_a_conflict(kube: Kube) -> None:
    """A PUT, or a patch that names the resourceVersion it saw, loses against a write in between."""
    deployed(kube)
    stale = read(kube)
    set_image(kube, "app:2")
    version = {"metadata": {"resourceVersion": stale.metadata.resource_version}}
    stale.spec.replicas = 1
    assert _refusal(lambda: kube.apps.replace_namespaced_deployment("web", kube.namespace, stale)) == (409, "Conflict")
    assert _refusal(lambda: _patch(kube, version | {"spec": {"replicas": 1}})) == (409, "Conflict")


def test_a_json_patch_whose_test_fails_is_invalid(kube: Kube) -> None:
    """The real server answers 422 and changes nothing, not even by the operations before the test."""
    deployed(kube)
    operations = [
        {"op": "replace", "path": "/spec/replicas", "value": 5},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
    ]
    assert _refusal(lambda: _patch(kube, operations)) == (422, "Invalid")
    assert read(kube).spec.replicas == 2


def test_a_json_patch_with_the_right_version_applies(kube: Kube) -> None:
    """The way back of a release: the whole template and the annotations, under a lock."""
    deployed(kube)
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
    found = read(kube)
    assert found.spec.template.spec.containers[0].image == "app:0"
    assert "later" not in found.metadata.annotations
    assert found.metadata.annotations["kubernetes.io/change-cause"] == "back"


def test_a_merge_patch_replaces_lists(kube: Kube) -> None:
    """RFC 7386 knows no merge keys: what the list does not name is gone."""
    deployed(kube)
    containers = [{"name": "main", "image": "app:3"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    _patch(kube, patch, "application/merge-patch+json")
    container = read(kube).spec.template.spec.containers[0]
    assert (container.image, container.env) == ("app:3", None)


def test_a_strategic_patch_can_delete_and_add_variables(kube: Kube) -> None:
    """As `kubectl set env` sends it: by name, with $patch: delete."""
    deployed(kube)
    env = [{"name": "MODE", "$patch": "delete"}, {"name": "BILLING", "value": "off"}]
    _patch(kube, {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": env}]}}}})
    found = read(kube).spec.template.spec.containers[0]
    assert [(e.name, e.value) for e in found.env] == [("BILLING", "off")]


def test_what_breaks_a_rule_is_refused_as_a_status(kube: Kube) -> None:
    """404, 409 and 422 with the machine-readable reason."""
    deployed(kube)
    found = read(kube)
    found.metadata.resource_version = found.metadata.namespace = None
    apps, space = kube.apps, kube.namespace
    assert _refusal(lambda: apps.read_namespaced_deployment("nope", space)) == (404, "NotFound")
    assert _refusal(lambda: apps.create_namespaced_deployment(space, found)) == (409, "AlreadyExists")
    assert _refusal(lambda: apps.create_namespaced_deployment("no-such-space", found)) == (404, "NotFound")
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


def test_lists_can_be_narrowed(kube: Kube) -> None:
    """By labels, by sets of labels, by name; an unknown field is a bad request."""
    deployed(kube)
    name = pods(kube)[0].metadata.name

    def count(**selectors: str) -> int:
        return len(kube.core.list_namespaced_pod(kube.namespace, **selectors).items)

    assert count(label_selector="app=web") == 2
    assert count(label_selector="app in (web, other),pod-template-hash") == 2
    assert count(label_selector="app!=web") == 0
    assert count(label_selector="!app") == 0
    assert count(field_selector=f"metadata.name={name}") == 1
    assert _refusal(lambda: count(field_selector="spec.color=red")) == (400, "BadRequest")


def test_a_watch_tells_of_changes_in_order(kube: Kube) -> None:
    """From a resourceVersion on: added, modified, deleted; then the time is up and the watch ends."""
    core, space = kube.core, kube.namespace
    version = core.list_namespaced_config_map(space).metadata.resource_version
    core.create_namespaced_config_map(space, {"metadata": {"name": "one"}, "data": {"a": "1"}})
    core.patch_namespaced_config_map("one", space, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("one", space)
    options = {"resource_version": version, "timeout_seconds": 1, "field_selector": "metadata.name=one"}
    stream = watch.Watch().stream(core.list_namespaced_config_map, space, **options)
    seen = [(event["type"], event["object"].data["a"]) for event in stream]
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_events_tell_the_story_of_a_pod(kube: Kube) -> None:
    """They can be asked for by the object they are about."""
    deployed(kube)
    name = pods(kube)[0].metadata.name

    def reasons() -> set[str]:
        selector = f"involvedObject.name={name}"
        return {e.reason for e in kube.core.list_namespaced_event(kube.namespace, field_selector=selector).items}

    eventually("the start", lambda: reasons() >= {"Scheduled", "Started"})


def test_permissions_can_be_asked_for(kube: Kube) -> None:
    """A review of one's own access, as a program asks before it starts."""
    attributes = {"namespace": kube.namespace, "verb": "patch", "group": "apps", "resource": "deployments"}
    body: Any = {"spec": {"resourceAttributes": attributes}}
    answer: Any = client.AuthorizationV1Api(kube.api).create_self_subject_access_review(body)
    assert answer.status.allowed is True
