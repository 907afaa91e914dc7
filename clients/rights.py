"""Rights: what a kind or a step must be allowed to do in a cluster, in the words of a Role. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clients.target import Target


class Of(StrEnum):
    """Whose right it is: one object of a Target, or any object in one of its namespaces."""

    DEPLOYMENT = "the Deployment"  # kubernetes.deployment in kubernetes.namespace
    NAMESPACE = "its namespace"  # kubernetes.namespace
    CRONJOB = "the backup CronJob"  # backup.cronjob in backup.namespace
    BACKUP_NAMESPACE = "the backup's namespace"  # backup.namespace
    REFERRED = "what the Deployment refers to"  # by name, which only the Deployment knows
    BACKUP_REFERRED = "what the backup CronJob refers to"  # the same of the CronJob


@dataclass(frozen=True)
class Variables:
    """Variables of a container that are looked up: what their entries refer to has to be readable, and nothing else."""

    names: tuple[str, ...]
    container: str = ""  # empty: the target's, or the only one


@dataclass(frozen=True)
class Right:
    """One right as a kind or a step declares it; ``of`` says where, once the Target is known.

    ``resource`` has its subresource behind a slash, ``pods/log``. Kubernetes cannot narrow ``create`` and ``list`` to a
    name, so these are ``of`` a namespace (kubernetes.io, RBAC: "Referring to resources").
    """

    verb: str
    group: str  # "" is the core group
    resource: str
    of: Of
    name: str = ""  # of one object in a namespace; empty: any
    variables: Variables | None = None  # of what is referred to: which references count


# The requests that the bot makes, each with a name of its own, so that kinds and steps say the same.
READ_DEPLOYMENT = Right("get", "apps", "deployments", Of.DEPLOYMENT)
CHANGE_DEPLOYMENT = Right("patch", "apps", "deployments", Of.DEPLOYMENT)
LIST_REPLICASETS = Right("list", "apps", "replicasets", Of.NAMESPACE)
LIST_PODS = Right("list", "", "pods", Of.NAMESPACE)
READ_LOGS = Right("get", "", "pods/log", Of.NAMESPACE)
READ_CRONJOB = Right("get", "batch", "cronjobs", Of.CRONJOB)
CREATE_BACKUP_JOB = Right("create", "batch", "jobs", Of.BACKUP_NAMESPACE)
READ_BACKUP_JOB = Right("get", "batch", "jobs", Of.BACKUP_NAMESPACE)
LIST_BACKUP_PODS = Right("list", "", "pods", Of.BACKUP_NAMESPACE)
READ_BACKUP_LOGS = Right("get", "", "pods/log", Of.BACKUP_NAMESPACE)
READ_BACKUP_ACCOUNT = Right("get", "", "serviceaccounts", Of.BACKUP_REFERRED)
READ_REFERRED = {
    which: tuple(Right("get", "", resource, of) for resource in ("configmaps", "secrets"))
    for which, of in (("deployment", Of.REFERRED), ("cronjob", Of.BACKUP_REFERRED))
}


@dataclass(frozen=True, order=True)
class Grant:
    """A right in a certain namespace, for a certain object or (``name`` empty) for any: a line of a Role."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""

    def __str__(self) -> str:
        """As ``patch deployments.apps api in solvereign``."""
        what = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {what}{f' {self.name}' if self.name else ''} in {self.namespace}"


def rule(grant: Grant) -> str:
    """The rule of a Role that grants just this, as a line of YAML."""
    name = f", resourceNames: [{grant.name}]" if grant.name else ""
    group = grant.group or '""'
    return f"- {{apiGroups: [{group}], resources: [{grant.resource}]{name}, verbs: [{grant.verb}]}}"


def grants(rights: Iterable[Right], target: Target) -> list[Grant]:
    """What must be granted in the target's cluster, in order and each once.

    A part that the Target lacks needs no right: the kind or step that uses it says itself what to set. Nor is there a
    grant for what a workload refers to: that takes a look at it, see checks.checkup.cluster.
    """
    return sorted({grant for right in rights if (grant := _grant(right, target)) is not None})


def _grant(right: Right, target: Target) -> Grant | None:
    cluster, backup = target.kubernetes, target.backup
    if cluster is not None and right.of in {Of.DEPLOYMENT, Of.NAMESPACE}:
        name = cluster.deployment if right.of is Of.DEPLOYMENT else right.name
        return Grant(cluster.namespace, right.group, right.resource, right.verb, name)
    if backup is not None and right.of in {Of.CRONJOB, Of.BACKUP_NAMESPACE}:
        name = backup.cronjob if right.of is Of.CRONJOB else right.name
        return Grant(backup.namespace, right.group, right.resource, right.verb, name)
    return None
