"""What kinds of objects the simulated API server has, and how it tells clients so (discovery)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True)
class Resource:
    """One row of the API: where it is, what its objects are called."""

    group: str
    version: str
    plural: str
    kind: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    counts_generations: bool = False

    @property
    def group_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full(self) -> str:
        """Its name in error messages: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", ("ns",), namespaced=False, subresources=("status",))
PODS = Resource("", "v1", "pods", "Pod", ("po",), subresources=("status", "log"))
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", ("cm",))
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICEACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", ("sa",), subresources=("token",))
EVENTS = Resource("", "v1", "events", "Event", ("ev",))
DEPLOYMENTS = Resource(
    "apps", "v1", "deployments", "Deployment", ("deploy",), subresources=("status", "scale"), counts_generations=True
)
REPLICASETS = Resource(
    "apps", "v1", "replicasets", "ReplicaSet", ("rs",), subresources=("status",), counts_generations=True
)
JOBS = Resource("batch", "v1", "jobs", "Job", subresources=("status",), counts_generations=True)
CRONJOBS = Resource("batch", "v1", "cronjobs", "CronJob", ("cj",), subresources=("status",), counts_generations=True)
RBAC = "rbac.authorization.k8s.io"
ROLES = Resource(RBAC, "v1", "roles", "Role")
ROLEBINDINGS = Resource(RBAC, "v1", "rolebindings", "RoleBinding")

ALL = (
    NAMESPACES,
    PODS,
    CONFIGMAPS,
    SECRETS,
    SERVICEACCOUNTS,
    EVENTS,
    DEPLOYMENTS,
    REPLICASETS,
    JOBS,
    CRONJOBS,
    ROLES,
    ROLEBINDINGS,
)
BY_PATH = {(r.group, r.version, r.plural): r for r in ALL}
VERSION: Json = {"major": "1", "minor": "32", "gitVersion": "v1.32.0-sandbox", "gitCommit": "", "gitTreeState": "clean"}
VERSION |= {"buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64"}


def core_versions() -> Json:
    """The answer to GET /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> Json:
    """The answer to GET /apis."""
    found = []
    for group in ("apps", "authorization.k8s.io", "batch", RBAC):
        version = {"groupVersion": f"{group}/v1", "version": "v1"}
        found.append({"name": group, "versions": [version], "preferredVersion": version})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def resource_list(group: str, version: str) -> Json | None:
    """The answer to GET /api/v1 and /apis/GROUP/VERSION, or None for a group that is not here."""
    row: Json
    rows: list[Json] = []
    for resource in ALL:
        if (resource.group, resource.version) == (group, version):
            row = {"name": resource.plural, "singularName": resource.kind.lower(), "kind": resource.kind}
            row |= {"namespaced": resource.namespaced, "verbs": VERBS, "categories": ["all"]}
            rows.append(row | ({"shortNames": list(resource.short)} if resource.short else {}))
            rows += [_subresource_row(resource, name) for name in resource.subresources]
    if (group, version) == ("authorization.k8s.io", "v1"):
        kind = "SelfSubjectAccessReview"
        rows = [{"name": f"{kind.lower()}s", "singularName": "", "namespaced": False, "kind": kind}]
        rows[0]["verbs"] = ["create"]
    if not rows:
        return None
    found = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": found, "resources": rows}


def _subresource_row(resource: Resource, name: str) -> Json:
    row: Json = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    verbs = {"log": ["get"], "token": ["create"]}.get(name, ["get", "patch", "update"])
    row |= {"kind": resource.kind, "verbs": verbs}
    if name == "scale":
        row |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    return row
