"""What a step of a plan can do: one model for each `do:` of the checklist, and the step that names it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from bot.domain.ids import StepId
from bot.domain.model import Model, read_duration


class Tag(Model):
    """Step: create the annotated tag of the version on the release's commit, through GitHub."""

    do: Literal["tag"]
    checks: bool = True  # the commit's checks on GitHub must be good
    timeout: float = Field(default=60, gt=0)  # seconds


class Migrate(Model):
    """Step: apply the product's migrations that are new since the last release, as files or by the product's own Job."""

    do: Literal["migrate"]
    target: str = "production"
    files: str  # folder of the repository with the .sql files; each declares `-- migration: additive` and so on
    job: dict[str, Any] | None = None  # pod template (metadata, spec) that applies them; `{image}`: that of the release
    lock_timeout: float = Field(
        default=10, gt=0
    )  # seconds that a file may wait for a lock: the product queues up behind it
    timeout: float = Field(default=1800, gt=0)  # seconds for all of them


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
    timeout: float | None = Field(default=None, gt=0)  # seconds; None: those of the kind, at least 120


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


class DeployCronJob(Model):
    """Step: set schedule and images of a CronJob as the file at the release's commit has them; nothing where they agree."""

    do: Literal["cronjob"]
    target: str = "production"
    name: str
    manifest: str  # path in the repository
    timeout: float = Field(default=60, gt=0)  # seconds


class RestoreCronJob(Model):
    """Step: put back schedule and job template of the CronJob that were recorded before the deploy."""

    do: Literal["restore_cronjob"]
    target: str = "production"
    timeout: float = Field(default=60, gt=0)  # seconds


class SetVariable(Model):
    """Step: offers to set a variable of the Deployment for a while; a person decides, owns it and puts it back by a button."""

    do: Literal["set_variable"]
    target: str = "production"
    name: str
    value: str
    remind_after: timedelta = Field(
        default=timedelta(hours=4), gt=timedelta(0)
    )  # until its owner is reminded, again and again
    timeout: float = Field(default=900, gt=0)  # seconds for the rollout

    _read_remind = field_validator("remind_after", mode="before")(read_duration)


class AttestAction(Model):
    """Step: a person does it and says so. The plan waits for that; it is never shown as done by the bot."""

    do: Literal["attest"]


class Notify(Model):
    """Step of a rollback: the bot's own message in the channel at its end. Does not hold up the plan; done once it stands there."""

    do: Literal["notify"]


_Actions = (
    Tag
    | Migrate
    | SetImage
    | VercelDeploy
    | DeployCronJob
    | RunCheck
    | RestoreBackend
    | RestoreFrontend
    | RestoreCronJob
    | SetVariable
    | AttestAction
    | Notify
)
Action = Annotated[_Actions, Field(discriminator="do")]
WITHOUT_DOER = (
    AttestAction,
    Notify,
)  # the bot carries out neither: a person does the one, its own message is the other
NOT_THE_BOTS = (*WITHOUT_DOER, SetVariable)  # what a plan does not carry out by itself
BESIDE_THE_PLAN = (Notify, SetVariable)  # no plan waits for these: a message at its end, and what somebody may decide
ACTIONS: frozenset[str] = frozenset(get_args(model.model_fields["do"].annotation)[0] for model in get_args(_Actions))


class StepSpec(Model):
    """One step of the deploy or the rollback."""

    id: StepId
    title: str = Field(max_length=150)
    runbook: str = ""
    by_hand: bool = False  # where the bot fails, a person may do it and say so, with a note
    action: Action
