"""What a step of a plan can do: one model for each `do:` of the checklist, and the step that names it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from bot.domain.ids import StepId
from bot.domain.model import Model


class Tag(Model):
    """Step: create the annotated tag of the version on the release's commit, through GitHub."""

    do: Literal["tag"]
    checks: bool = True  # the commit's checks on GitHub must be good
    timeout: float = Field(default=60, gt=0)  # seconds


class SetImage(Model):
    """Step: set the image of the Deployment by digest and wait for the rollout."""

    do: Literal["set_image"]
    target: str = "production"
    version_env: str = ""  # variable that gets the bare version in the same patch; empty: none
    timeout: float = Field(default=900, gt=0)  # seconds for the rollout


class RunCheck(Model):
    """Step: ask one question of a target; not PASS fails the step."""

    do: Literal["check"]
    kind: str
    target: str = "production"
    params: dict[str, Any] = Field(default_factory=dict)
    timeout: float | None = Field(default=None, gt=0)  # seconds


class RestoreBackend(Model):
    """Step: put back the pod template that was recorded before the deploy and wait for the rollout."""

    do: Literal["restore_backend"]
    target: str = "production"
    timeout: float = Field(default=900, gt=0)  # seconds for the rollout


class VercelDeploy(Model):
    """Step: production on Vercel shows the release's commit; wait for its automatic deployment, else make one."""

    do: Literal["vercel_deploy"]
    wait_for_auto: float = Field(default=30, ge=0)  # seconds to wait for Vercel to begin one by itself
    timeout: float = Field(default=900, gt=0)  # seconds for build and switch


class RestoreFrontend(Model):
    """Step: move production on Vercel back to the deployment that was recorded before the deploy."""

    do: Literal["restore_frontend"]
    timeout: float = Field(default=180, gt=0)  # seconds; Vercel's own command waits as long


class Attest(Model):
    """Step: a person does it and says so. Does not hold up the plan and is never shown as done by the bot."""

    do: Literal["attest"]


_Actions = Tag | SetImage | VercelDeploy | RunCheck | RestoreBackend | RestoreFrontend | Attest
Action = Annotated[_Actions, Field(discriminator="do")]
ACTIONS: frozenset[str] = frozenset(get_args(model.model_fields["do"].annotation)[0] for model in get_args(_Actions))


class StepSpec(Model):
    """One step of the deploy or the rollback."""

    id: StepId
    title: str = Field(max_length=150)
    runbook: str = ""
    action: Action
