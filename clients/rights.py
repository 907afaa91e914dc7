"""Rights in a cluster: what must be granted where, as a line of a Role, once the Target is known. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clients.needs import ClusterRight, Of

if TYPE_CHECKING:
    from clients.target import Target


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


def grants(rights: Iterable[ClusterRight], target: Target) -> list[Grant]:
    """What must be granted in the target's cluster, in order and each once.

    A part that the Target lacks needs no right: the kind or step that uses it says itself what to set. Nor is there a
    grant for what a workload refers to: that takes a look at it, see checks.checkup.cluster.
    """
    return sorted({grant for right in rights if (grant := _grant(right, target)) is not None})


def _grant(right: ClusterRight, target: Target) -> Grant | None:
    cluster, backup = target.kubernetes, target.backup
    if cluster is not None and right.of in {Of.DEPLOYMENT, Of.NAMESPACE}:
        name = cluster.deployment if right.of is Of.DEPLOYMENT else right.name
        return Grant(cluster.namespace, right.group, right.resource, right.verb, name)
    if backup is not None and right.of in {Of.CRONJOB, Of.BACKUP_NAMESPACE}:
        name = backup.cronjob if right.of is Of.CRONJOB else right.name
        return Grant(backup.namespace, right.group, right.resource, right.verb, name)
    return None
