"""Action `set_variable`: sets a variable of the Deployment for a while, and restores what was there before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bot.domain.plan import Mutation, Way
from bot.errors import NoAnswer, StepError
from bot.steps.cluster import AGAIN, CONFLICTS, DeploymentClient
from bot.steps.kube import CHANGE_CAUSE, refuse_unfit, wait_for_rollout
from bot.steps.rollout import image_of

if TYPE_CHECKING:
    from bot.domain.actions import SetVariable
    from bot.steps.contract import StepContext, StepInspection

Entry = dict[str, Any]  # one of a container's env: name and value, or valueFrom


def where_we_are(spec: SetVariable, inspection: StepInspection) -> dict[str, Any]:
    """Return the current entry of the variable; None as the entry if it is not set."""
    cluster = DeploymentClient(inspection)
    deployment = inspection.retry_read(cluster.deployment)
    refuse_unfit(deployment, cluster.where)
    return {"entry": _entry(deployment, cluster, spec.name)}


def preview(spec: SetVariable, inspection: StepInspection) -> list[Mutation]:
    """Return the change of the variable; none if it has the value already."""
    cluster = DeploymentClient(inspection)
    deployment = inspection.retry_read(cluster.deployment)
    new_entry: Entry = {"name": spec.name, "value": spec.value}
    if _entry(deployment, cluster, spec.name) == new_entry:
        return []
    return [_change(deployment, cluster, spec.name, new_entry, "its owner puts it back with a button")]


def set_variable(spec: SetVariable, ctx: StepContext) -> str:
    """Set the variable, wait until every pod has started with it, and return its value in a line."""
    _put_entry(spec.name, {"name": spec.name, "value": spec.value}, ctx, f"{spec.name}={spec.value}")
    return f"{spec.name} is {spec.value}"


def put_back(spec: SetVariable, ctx: StepContext) -> str:
    """Restore the recorded entry of the variable, wait until every pod has started with it, and return it in a line."""
    if ctx.rollback_target is None:
        return f"{spec.name} was not changed"
    entry: Entry | None = ctx.rollback_target["entry"]
    _put_entry(spec.name, entry, ctx, f"{spec.name} is back")
    return f"{spec.name} is {_entry_text(entry)} again"


def _put_entry(name: str, new_entry: Entry | None, ctx: StepContext, cause: str) -> None:
    cluster = DeploymentClient(ctx)
    for _ in range(CONFLICTS):
        current = ctx.retry_read(cluster.deployment)
        refuse_unfit(current, cluster.where)
        if _entry(current, cluster, name) == new_entry:
            break
        index, env = _env(current, cluster)
        ctx.journal.record_intent([_change(current, cluster, name, new_entry, "its owner puts it back with a button")])
        try:
            marks, path = {CHANGE_CAUSE: f"release-bot: {cause}"}, f"/spec/template/spec/containers/{index}/env"
            cluster.replace(current, marks, path, _replace_entry(env, name, new_entry))
        except NoAnswer as error:
            ctx.wait_after_failure(error, AGAIN)
        else:
            ctx.journal.record_action(variable=name, value=_entry_text(new_entry))
            break
    else:
        raise StepError("the Deployment keeps changing", hint="Is another tool changing it too?")
    current = ctx.retry_read(cluster.deployment)
    wait_for_rollout(ctx, cluster, image_of(current["spec"]["template"], cluster.where.container) or "")


def _replace_entry(env: list[Entry], name: str, new_entry: Entry | None) -> list[Entry]:
    """Return ``env`` with the entry of the variable replaced, added at the end, or left out (None)."""
    if new_entry is None:
        return [entry for entry in env if entry["name"] != name]
    if any(entry["name"] == name for entry in env):
        return [new_entry if entry["name"] == name else entry for entry in env]
    return [*env, new_entry]


def _env(deployment: Mapping[str, Any], cluster: DeploymentClient) -> tuple[int, list[Entry]]:
    """Return the index of the product's container, and its variables."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    index = next(place for place, entry in enumerate(containers) if entry["name"] == cluster.where.container)
    return index, list(containers[index].get("env") or [])


def _entry(deployment: Mapping[str, Any], cluster: DeploymentClient, name: str) -> Entry | None:
    return next((dict(entry) for entry in _env(deployment, cluster)[1] if entry["name"] == name), None)


def _change(
    deployment: Mapping[str, Any], cluster: DeploymentClient, name: str, new_entry: Entry | None, back: str
) -> Mutation:
    place = f"{name} of deployment/{cluster.where.deployment} in {cluster.where.namespace}"
    return Mutation(place, _entry_text(_entry(deployment, cluster, name)), _entry_text(new_entry), Way.BACK, back)


def _entry_text(entry: Entry | None) -> str:
    """An entry as people read it; what comes from a Secret is only named."""
    if entry is None:
        return "not set"
    if "valueFrom" in entry:
        return f"from {', '.join(entry['valueFrom'])}"
    return str(entry.get("value", ""))
