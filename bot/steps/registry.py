"""The table of actions: for each `do:` of the checklist, the functions that preview, record, perform and confirm it."""

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


@dataclass(frozen=True)
class ActionHandler:
    """The functions for one kind of action; each takes the action's model first, and those with an inspection only read.

    ``perform`` carries it out and returns in a line what it did. ``preview`` returns what it would change now. ``record`` returns
    what a rollback of ``plane`` restores. ``needs``: what its clients may do; the bot asks for these rights before a deploy.
    ``await_completion`` waits, before a rollback, for what the action left running: it tells how far that is, and returns
    whether all was done. ``confirm`` returns what it sees of an action that a person did by hand, or raises Contradicted.
    """

    perform: Callable[[Any, StepContext], str]
    preview: Callable[[Any, StepInspection], Sequence[Mutation]] = lambda _spec, _inspection: ()
    plane: Plane | None = None
    record: Callable[[Any, StepInspection], Mapping[str, Any]] | None = None
    needs: Callable[[Any], Sequence[Need]] = lambda _spec: ()
    await_completion: Callable[[Any, StepContext, Callable[[str], None]], bool] | None = None
    confirm: Callable[[Any, StepInspection], str] | None = None


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
    """Return the functions for the action of a step. Raises StepError for an action that a person does."""
    handler = HANDLERS.get(type(spec.action))
    if handler is None:
        raise StepError(f"{spec.id} must be done and attested by a person", hint="Press Attest once it is done.")
    return handler


def bound_clients(clients: Clients, spec: StepSpec, *, acts: bool) -> Clients:
    """Return clients that refuse what the step ``spec`` has not declared, and every change unless it ``acts``."""
    handler = HANDLERS.get(type(spec.action))
    needs = handler.needs(spec.action) if handler is not None else ()
    own_needs = tuple(need for need in needs if acts or not isinstance(need, Changes))
    return clients.bound_to(NeedGuard(f"step {spec.id}", own_needs))


def acting(inspection: StepInspection, spec: StepSpec) -> dict[str, Any]:
    """Return the fields of ``inspection`` for a step that acts: its clients make the changes that it has declared."""
    return {**vars(inspection), "clients": bound_clients(inspection.clients, spec, acts=True)}
