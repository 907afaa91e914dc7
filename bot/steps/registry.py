"""The one table of what a step can do: `do:` of the checklist to the functions that show it, record it and do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain.actions import (
    DeployCronJob,
    Migrate,
    RestoreBackend,
    RestoreCronJob,
    RestoreFrontend,
    RunCheck,
    SetImage,
    SetVariable,
    StepSpec,
    Tag,
    VercelDeploy,
)
from bot.domain.model import Model
from bot.domain.plan import Mutation, Plane
from bot.errors import StepError
from bot.steps import cronjob, frontend, job, kube, migrate, run_check, tag, variable
from bot.steps.contract import StepContext, StepInspection
from clients.connections import Clients
from clients.declared import NeedGuard
from clients.needs import Changes, Need


def _nothing(_spec: Any, _look: StepInspection) -> Sequence[Mutation]:
    return ()


def _no_needs(_spec: Any) -> Sequence[Need]:
    return ()


@dataclass(frozen=True)
class ActionHandler:
    """What carries out one kind of action. All of its functions take the action's model first."""

    perform: Callable[[Any, StepContext], str]  # does it and says what it did, in a line
    preview: Callable[[Any, StepInspection], Sequence[Mutation]] = (
        _nothing  # what it would change, seen now; reads only
    )
    plane: Plane | None = None  # what it changes or puts back
    record: Callable[[Any, StepInspection], Mapping[str, Any]] | None = (
        None  # what a rollback of that plane goes back to; reads only
    )
    needs: Callable[[Any], Sequence[Need]] = (
        _no_needs  # the clients refuse the rest; asked for before the deploy begins
    )
    await_completion: Callable[[Any, StepContext, Callable[[str], None]], bool] | None = (
        None  # waits for what it has left running, before a rollback; tells how far; whether all it was about to do is done
    )
    confirm: Callable[[Any, StepInspection], str] | None = (
        None  # what it sees of what a person says to have done instead, in a line; reads only; Contradicted: not so
    )


HANDLERS: dict[type[Model], ActionHandler] = {
    Tag: ActionHandler(tag.create, tag.preview, confirm=tag.confirm, needs=tag.needs),
    Migrate: ActionHandler(
        migrate.apply,
        migrate.preview,
        confirm=migrate.confirm,
        needs=migrate.needs,
        await_completion=job.await_completion,
    ),
    SetImage: ActionHandler(
        kube.set_image, kube.preview_image, Plane.BACKEND, kube.where_we_are, kube.needs, confirm=kube.confirm_image
    ),
    VercelDeploy: ActionHandler(
        frontend.deploy,
        frontend.preview,
        Plane.FRONTEND,
        frontend.where_we_are,
        frontend.needs,
        confirm=frontend.confirm,
    ),
    DeployCronJob: ActionHandler(
        cronjob.deploy, cronjob.preview, Plane.JOBS, cronjob.where_we_are, cronjob.needs, confirm=cronjob.confirm
    ),
    RestoreBackend: ActionHandler(
        kube.restore_backend, kube.preview_restore, Plane.BACKEND, needs=kube.needs, confirm=kube.confirm_restore
    ),
    RestoreFrontend: ActionHandler(
        frontend.restore,
        frontend.preview_restore,
        Plane.FRONTEND,
        needs=frontend.needs,
        confirm=frontend.confirm_restore,
    ),
    SetVariable: ActionHandler(variable.set_variable, variable.preview, needs=kube.needs),
    RestoreCronJob: ActionHandler(
        cronjob.restore,
        cronjob.preview_restore,
        Plane.JOBS,
        needs=cronjob.needs_to_restore,
        confirm=cronjob.confirm_restore,
    ),
    RunCheck: ActionHandler(run_check.run_check),
}


def handler_of(spec: StepSpec) -> ActionHandler:
    """Who carries out a step. Raises StepError for one that is a person's."""
    handler = HANDLERS.get(type(spec.action))
    if handler is None:
        raise StepError(f"{spec.id} is for a person to do and attest", hint="Press Attest once it is done.")
    return handler


def bound_clients(clients: Clients, spec: StepSpec, *, acts: bool) -> Clients:
    """Clients that refuse what the step ``spec`` has not declared, and every change unless it ``acts``."""
    handler = HANDLERS.get(type(spec.action))
    needs = handler.needs(spec.action) if handler is not None else ()
    own_needs = tuple(need for need in needs if acts or not isinstance(need, Changes))
    return clients.bound_to(NeedGuard(f"step {spec.id}", own_needs))


def acting(inspection: StepInspection, spec: StepSpec) -> dict[str, Any]:
    """All of ``look`` for the step ``spec`` when it acts: its clients make the changes that it has declared."""
    return {**vars(inspection), "clients": bound_clients(inspection.clients, spec, acts=True)}
