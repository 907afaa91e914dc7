"""Kind ``pod_restarts``: do all pods of the newest ReplicaSet run, and has none been restarted? The Watch asks this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from checks.contract import Answer, Evidence, Kind, Outcome, Params
from clients.needs import Need
from clients.pods import READS_PODS, STARTING, newest_pods, not_available, read_deployment
from clients.target import require

if TYPE_CHECKING:
    from checks.contract import CheckContext


class PodRestartsParams(Params):
    """What is forgiven."""

    allow: int = Field(default=0, ge=0)  # restarts of one container that are none of the release's doing


class PodRestarts(Kind):
    """FAIL for a container that was restarted or does not run, and for a Deployment that is not available.

    The pods of the newest ReplicaSet were all made by the deploy, so every restart that they count came after it.
    """

    name = "pod_restarts"
    summary = "All pods of the Deployment's newest ReplicaSet run and none was restarted"
    params = PodRestartsParams
    timeout = 30.0

    def needs(self, params: PodRestartsParams) -> tuple[Need, ...]:
        """Those of its requests."""
        return READS_PODS

    def run(self, params: PodRestartsParams, ctx: CheckContext) -> Answer:
        """Look once. Raises CheckError when the cluster does not answer."""
        part = require(ctx.target.kubernetes, ctx.target, "kubernetes")
        kube = ctx.clients.kube()
        deployment = read_deployment(kube, part)
        pods = newest_pods(kube, part, deployment)
        statuses = [
            (f"{pod.metadata.name}/{status.name}", status)
            for pod in pods
            for status in [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
        ]
        troubles = [trouble for where, status in statuses if (trouble := _trouble(where, status, params.allow))]
        unavailable = not_available(deployment)
        if unavailable:
            troubles.append(f"deployment {part.deployment} is {unavailable}")
        if not pods:
            troubles.append(f"deployment {part.deployment} has no pods")
        restarts = sum(int(status.restart_count or 0) for _, status in statuses)
        totals = f"{len(pods)} pods, {len(statuses)} containers, {restarts} restarts"
        evidence = Evidence(
            asked=f"pods of deployment/{part.deployment} in {part.namespace}",
            expected=f"every pod runs, at most {params.allow} restarts of a container",
            seen="\n".join([totals, *troubles]),
        )
        if troubles:
            hint = "See `kubectl describe pod` and `kubectl logs --previous`."
            return Answer(Outcome.FAIL, "; ".join(troubles), evidence, {"episode": str(restarts)}, hint)
        return Answer(Outcome.PASS, totals, evidence)


def _trouble(where: str, status: Any, limit: int) -> str:
    """What is wrong with a container as the cluster sees it, or nothing."""
    waiting_state = status.state.waiting if status.state else None
    restarts = int(status.restart_count or 0)
    last_end = status.last_state.terminated if status.last_state else None
    last = f" (ended with {last_end.exit_code}, {last_end.reason or 'Error'})" if last_end else ""
    if waiting_state and waiting_state.reason not in STARTING:
        return f"{where} {waiting_state.reason or 'Waiting'}, {restarts} restarts{last}"
    return f"{where} was restarted {restarts} times{last}" if restarts > limit else ""
