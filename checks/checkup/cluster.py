"""Checkup of a cluster: does it answer, and does it grant the bot what is needed there?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks.checkup.finding import PATIENCE, REFUSED, Finding, State, trouble
from clients.connections import Clients
from clients.errors import ClientError
from clients.needs import ClusterRight, Of
from clients.permissions import refused
from clients.rights import Grant, grants, rule
from clients.workload import read_workload, references

if TYPE_CHECKING:
    from clients.target import Target
    from clients.workload import Which

_WORKLOADS: Mapping[Of, Which] = {Of.REFERRED: "deployment", Of.BACKUP_REFERRED: "cronjob"}


@dataclass(frozen=True)
class _Here:
    """Where to look, as a CheckContext would say it."""

    target: Target
    clients: Clients


def cluster(target: Target, rights: Mapping[ClusterRight, tuple[str, ...]]) -> list[Finding]:
    """Ask for each right that is granted. ``rights``: right -> ids of the lines that need it.

    Reads only, and of the product no more than the names to which its Deployment and its backup CronJob refer.
    """
    everything = sorted({line for lines in rights.values() for line in lines})
    needs: dict[Grant, tuple[str, ...]] = {}
    for right, lines in rights.items():
        for grant in grants([right], target):
            needs[grant] = tuple(sorted({*needs.get(grant, ()), *lines}))
    findings = []
    with Clients(target, http_timeout=PATIENCE) as clients:
        try:
            missing_grants = refused(clients.kube(), needs)
        except ClientError as error:
            hint = "Is its token still valid? Create a new one for the bot's service account."
            return [trouble(error, everything, hint=hint if error.status == REFUSED else "")]
        for of, which in _WORKLOADS.items():
            referring = {right: lines for right, lines in rights.items() if right.of is of}
            if not referring or any(grant.verb == "get" and grant.resource == f"{which}s" for grant in missing_grants):
                continue  # nobody asks, or the right to look at it is missing and was told
            try:
                more = _referred_grants(_Here(target, clients), which, referring)
                missing_grants += refused(clients.kube(), more)
                needs |= more
            except ClientError as error:
                lines = tuple(sorted({line for lines in referring.values() for line in lines}))
                findings.append(Finding(State.MISSING, error.summary, error.hint, lines=lines))
    findings += [
        Finding(
            State.MISSING,
            f"the bot isn't allowed to {grant}",
            f"Add this to the rules of a Role in {grant.namespace} that is bound to the bot's service account:",
            rule(grant),
            needs[grant],
        )
        for grant in missing_grants
    ]
    return findings or [Finding(State.OK, f"connected; all {len(needs)} rights granted")]


def _referred_grants(
    here: _Here, which: Which, rights: Mapping[ClusterRight, tuple[str, ...]]
) -> dict[Grant, tuple[str, ...]]:
    """The grants for what a workload refers to, by name. Raises ClientError when the workload cannot be read."""
    workload = read_workload(here, which)
    lines_by_grant: dict[Grant, tuple[str, ...]] = {}
    for right, lines in rights.items():
        if right.variables is None:
            continue
        container = right.variables.container
        if not container and which == "deployment" and here.target.kubernetes:
            container = here.target.kubernetes.container
        objects, all_set = references(workload, container, right.variables.names)
        names = [name for resource, name in objects if resource == right.resource]
        if right.resource == "serviceaccounts" and not all_set:  # it is looked at where no variable says it
            names = [workload.pod.get("serviceAccountName") or "default"]
        for name in names:
            grant = Grant(workload.namespace, right.group, right.resource, right.verb, name)
            lines_by_grant[grant] = tuple(sorted({*lines_by_grant.get(grant, ()), *lines}))
    return lines_by_grant
