"""Roles of the simulated cluster, and what it says to who lacks one; the real server is held to the same words."""

from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from clients.rights import Grant
from tests.fix_account import BotAccount
from tests.fix_kube import Kube, api_client
from tests.sandbox.kube_objects import deploy


def test_an_account_may_do_what_its_role_says(kube: Kube, tmp_path: Path) -> None:
    """One object by name, a collection, a subresource; everything else is refused, in the words of kube-apiserver."""
    deploy(kube)
    account = BotAccount(kube, tmp_path)
    get = Grant(kube.namespace, "apps", "deployments", "get", "web")
    pods = Grant(kube.namespace, "", "pods", "list")
    account.grant([get, pods], [get, pods])
    with api_client(account.kubeconfig) as api:
        apps: Any = client.AppsV1Api(api)
        core: Any = client.CoreV1Api(api)
        assert apps.read_namespaced_deployment("web", kube.namespace).metadata.name == "web"
        core.list_namespaced_pod(kube.namespace)
        with pytest.raises(ApiException) as refusal:
            apps.patch_namespaced_deployment("web", kube.namespace, {"spec": {"replicas": 0}})
        with pytest.raises(ApiException) as other_refusal:
            apps.read_namespaced_deployment("other", kube.namespace)
        with pytest.raises(ApiException) as log_refusal:
            core.read_namespaced_pod_log("web-1", kube.namespace)
    user = f'User "system:serviceaccount:{kube.namespace}:release-bot"'
    where = f'in the namespace \\"{kube.namespace}\\"'
    assert refusal.value.status == other_refusal.value.status == log_refusal.value.status == 403
    words = f'deployments.apps "web" is forbidden: {user} cannot patch resource "deployments" in API group "apps" '
    assert words.replace('"', '\\"') + where in str(refusal.value.body)
    words = f'pods "web-1" is forbidden: {user} cannot get resource "pods/log" in API group "" '
    assert words.replace('"', '\\"') + where in str(log_refusal.value.body)


def test_a_token_of_nobody_is_refused(kube: Kube, tmp_path: Path) -> None:
    """Neither the administrator's nor an account's."""
    account = BotAccount(kube, tmp_path)
    text = account.kubeconfig.read_text(encoding="utf-8")
    kube.core.delete_namespaced_service_account("release-bot", kube.namespace)
    for content in (text, text.replace("token: ", "token: x")):
        account.kubeconfig.write_text(content, encoding="utf-8")
        with api_client(account.kubeconfig) as api, pytest.raises(ApiException) as refusal:
            client.CoreV1Api(api).list_namespaced_pod(kube.namespace)
        assert refusal.value.status == 401
