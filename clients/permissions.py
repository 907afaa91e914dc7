"""Asks a cluster what the bot may do there: one SelfSubjectAccessReview a right. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.cluster import kube_errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clients.cluster import KubeClients
    from clients.rights import Grant


def refused(kube: KubeClients, grants: Iterable[Grant]) -> list[Grant]:
    """Those of ``grants`` that the cluster does not grant to the bot. Raises ClientError when it does not say.

    Every account may ask this of itself (kubernetes.io, the default role system:basic-user).
    """
    return [grant for grant in grants if not _is_granted(kube, grant)]


def _is_granted(kube: KubeClients, grant: Grant) -> bool:
    resource, _, subresource = grant.resource.partition("/")
    attributes = {
        "namespace": grant.namespace,
        "verb": grant.verb,
        "group": grant.group,
        "resource": resource,
        "subresource": subresource,
        "name": grant.name,
    }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    with kube_errors("say what the bot may do"):
        answer = kube.authorization.create_self_subject_access_review(
            {**body, "spec": {"resourceAttributes": attributes}}, _request_timeout=kube.timeout
        )
        return bool(answer.status.allowed)
