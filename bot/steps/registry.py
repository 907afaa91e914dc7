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
from bot.steps import ask, cronjob, frontend, job, kube, migrate, tag, variable
from bot.steps.contract import Look, StepContext
from clients.rights import Right
from clients.uses import Use


def _nothing(_spec: Any, _look: Look) -> Sequence[Mutation]:
    return ()


def _no_rights(_spec: Any) -> Sequence[Right]:
    return ()


def _no_uses(_spec: Any) -> Sequence[Use]:
    return ()


@dataclass(frozen=True)
class Doer:
    """What carries out one kind of action. All of its functions take the action's model first."""

    perform: Callable[[Any, StepContext], str]  # does it and says what it did, in a line
    preview: Callable[[Any, Look], Sequence[Mutation]] = _nothing  # what it would change, seen now; reads only
    plane: Plane | None = None  # what it changes or puts back
    record: Callable[[Any, Look], Mapping[str, Any]] | None = (
        None  # what a rollback of that plane goes back to; reads only
    )
    rights: Callable[[Any], Sequence[Right]] = (
        _no_rights  # needed in its target's cluster; asked before the deploy begins
    )
    uses: Callable[[Any], Sequence[Use]] = _no_uses  # settings and vendors' rights that it needs; the doctor asks
    let_end: Callable[[Any, StepContext, Callable[[str], None]], bool] | None = (
        None  # waits for what it has left running, before a rollback; tells how far; whether all it was about to do is done
    )
    confirm: Callable[[Any, Look], str] | None = (
        None  # what it sees of what a person says to have done instead, in a line; reads only; Contradicted: not so
    )


DOERS: dict[type[Model], Doer] = {
    Tag: Doer(tag.create, tag.preview, confirm=tag.confirm, uses=tag.uses),
    Migrate: Doer(
        migrate.apply,
        migrate.preview,
        confirm=migrate.confirm,
        rights=job.rights,
        uses=migrate.uses,
        let_end=job.let_end,
    ),
    SetImage: Doer(
        kube.set_image, kube.preview_image, Plane.BACKEND, kube.where_we_are, kube.rights, confirm=kube.confirm_image
    ),
    VercelDeploy: Doer(
        frontend.deploy,
        frontend.preview,
        Plane.FRONTEND,
        frontend.where_we_are,
        uses=frontend.uses,
        confirm=frontend.confirm,
    ),
    DeployCronJob: Doer(
        cronjob.deploy,
        cronjob.preview,
        Plane.JOBS,
        cronjob.where_we_are,
        cronjob.rights,
        cronjob.uses,
        confirm=cronjob.confirm,
    ),
    RestoreBackend: Doer(
        kube.restore_backend, kube.preview_restore, Plane.BACKEND, rights=kube.rights, confirm=kube.confirm_restore
    ),
    RestoreFrontend: Doer(
        frontend.restore,
        frontend.preview_restore,
        Plane.FRONTEND,
        uses=frontend.uses,
        confirm=frontend.confirm_restore,
    ),
    SetVariable: Doer(variable.set_variable, variable.preview, rights=kube.rights),
    RestoreCronJob: Doer(cronjob.restore, cronjob.preview_restore, Plane.JOBS, confirm=cronjob.confirm_restore),
    RunCheck: Doer(ask.ask),
}


def doer(spec: StepSpec) -> Doer:
    """Who carries out a step. Raises StepError for one that is a person's."""
    found = DOERS.get(type(spec.action))
    if found is None:
        raise StepError(f"{spec.id} is for a person to do and attest", hint="Press Attest once it is done.")
    return found
