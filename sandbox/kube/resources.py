"""What kinds of objects the simulated API server has, and how it tells clients so (discovery)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
VERBS = ["create", "delete", "get", "list", "patch", "update"]
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Resource:
    """One row of the API: where it is, what its objects are called, and what the server keeps of them."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True
    has_status: bool = False
    counts_generations: bool = False
    subresource: str = ""  # the only one that is there beside the objects themselves

    @property
    def group_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """Its name in error messages: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", is_namespaced=False, has_status=True)
PODS = Resource("", "v1", "pods", "Pod", has_status=True, subresource="log")
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICEACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", subresource="token")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", has_status=True, counts_generations=True)
REPLICASETS = Resource("apps", "v1", "replicasets", "ReplicaSet", has_status=True, counts_generations=True)
JOBS = Resource("batch", "v1", "jobs", "Job", has_status=True, counts_generations=True)
CRONJOBS = Resource("batch", "v1", "cronjobs", "CronJob", has_status=True, counts_generations=True)
ROLES = Resource(RBAC, "v1", "roles", "Role")
ROLEBINDINGS = Resource(RBAC, "v1", "rolebindings", "RoleBinding")

ALL = (
    NAMESPACES,
    PODS,
    CONFIGMAPS,
    SECRETS,
    SERVICEACCOUNTS,
    DEPLOYMENTS,
    REPLICASETS,
    JOBS,
    CRONJOBS,
    ROLES,
    ROLEBINDINGS,
)
BY_PATH = {(r.group, r.version, r.plural): r for r in ALL}
VERSION: Json = {"major": "1", "minor": "32", "gitVersion": "v1.32.0-sandbox", "platform": "linux/amd64"}


def describe(parts: list[str]) -> Json | None:
    """The answer to a path (in parts) that asks what the server is and has, or None for another path."""
    match parts:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(name) for name in ("apps", "batch", RBAC)],
            }
        case ["api", version]:
            return _resource_list("", version)
        case ["apis", group, version]:
            return _resource_list(group, version)
    return None


def _group(name: str) -> Json:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource_list(group: str, version: str) -> Json | None:
    rows = [
        {
            "name": resource.plural,
            "singularName": resource.kind.lower(),
            "kind": resource.kind,
            "namespaced": resource.is_namespaced,
            "verbs": VERBS,
        }
        for resource in ALL
        if (resource.group, resource.version) == (group, version)
    ]
    group_version = f"{group}/{version}" if group else version
    return (
        {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows}
        if rows
        else None
    )
