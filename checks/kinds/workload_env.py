"""workload_env: are the named variables set on the Deployment or the backup CronJob, and not empty?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params
from clients.needs import Need, Variables
from clients.workload import Environment, Which, read_workload, rights_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.contract import CheckContext
    from clients.workload import Variable


class WorkloadEnvParams(Params):
    """Which variables, and where they must be."""

    workload: Which = Field(default="deployment", description="Whose pods: the Deployment or the backup CronJob.")
    container: str = Field(default="", description="Empty: that of the target, or the CronJob's only one.")
    variables: tuple[str, ...] = Field(default=(), description="Names that must be set and not empty.")
    plain: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Variables that aren't secret, each with its possible values in quotes, the right one first.",
    )
    ignore_case: bool = Field(default=False, description="Whether the product reads names case-insensitively.")

    @field_validator("plain", mode="before")
    @classmethod
    def _quoted(cls, value: object) -> object:
        if isinstance(value, dict):
            for name, words in value.items():
                if isinstance(words, (list, tuple)) and any(isinstance(word, bool) for word in words):
                    raise ValueError(
                        f'write the words of {name} in quotes, as "on": YAML reads on and off as true and false'
                    )
        return value

    @model_validator(mode="after")
    def _something(self) -> WorkloadEnvParams:
        if not self.variables and not self.plain:
            raise ValueError("name at least one variable, under variables or plain")
        if empty := [name for name, words in self.plain.items() if not words]:
            raise ValueError(f"{empty[0]} needs its right value")
        return self


class WorkloadEnv(Kind):
    """Reads the workload and the Secrets and ConfigMaps that it refers to, and reads no value of a Secret out.

    A value is looked at only for a name under ``plain``, and only where it stands openly. What an image carries in
    itself, such as an .env file, is not seen.
    """

    name: ClassVar[str] = "workload_env"
    summary: ClassVar[str] = "Variables are set on the live Deployment or CronJob and are not empty"
    params: ClassVar[type[Params]] = WorkloadEnvParams
    example: ClassVar[Mapping[str, Any]] = {"variables": ["SOLVEREIGN_SENTRY_DSN"]}
    timeout: ClassVar[float] = 30.0

    def needs(self, params: WorkloadEnvParams) -> tuple[Need, ...]:
        """Those of the workload that it reads."""
        return rights_of(params.workload, Variables((*params.variables, *params.plain), params.container))

    def run(self, params: WorkloadEnvParams, ctx: CheckContext) -> Answer:
        """FAIL for a variable that is missing, empty or has another word. Raises CheckError when it cannot be looked up."""
        workload = read_workload(ctx, params.workload)
        container = params.container
        if not container and params.workload == "deployment" and ctx.target.kubernetes:
            container = ctx.target.kubernetes.container
        environment = Environment(ctx, workload, container)
        good: list[str] = []
        bad: list[str] = []
        for name in params.variables:
            variable = environment.get(name, ignore_case=params.ignore_case)
            (good if variable.is_set else bad).append(str(variable))
        for name, words in params.plain.items():
            right, line = _compare(environment.get(name, ignore_case=params.ignore_case), words)
            (good if right else bad).append(line)
        expectations = [f"{name} set, not empty" for name in params.variables]
        expectations += [f"{name} {words[0]}" for name, words in params.plain.items()]
        evidence = Evidence(
            asked=f"env and envFrom of {workload.what}, and what they refer to",
            expected="; ".join(expectations),
            seen="\n".join([*bad, *good]),
        )
        if bad:
            return Answer(
                Outcome.FAIL,
                f"{workload.what}: {'; '.join(bad)}",
                evidence,
                hint="Set it where the workload gets its variables, then restart the pods.",
            )
        summary = good[0] if len(good) == 1 else f"{len(good)} of {len(good)} variables are set on {workload.what}"
        return Answer(Outcome.PASS, summary, evidence)


def _compare(variable: Variable, words: tuple[str, ...]) -> tuple[bool, str]:
    """Whether a variable has the right word, and a line that says so. Other words than the named ones are not repeated."""
    if variable.is_set and variable.plain is None:
        raise CheckError(
            f"{variable.name} comes from {variable.source}, whose values the bot doesn't read",
            hint="Set it as a plain value or from a ConfigMap: it isn't secret.",
        )
    if not variable.is_set:
        return False, f"{variable} and not {words[0]}"
    match = next((word for word in words if word.casefold() == (variable.plain or "").strip().casefold()), None)
    if match is None:
        return False, f"{variable.name} is neither {' nor '.join(words)} ({variable.source})"
    if match != words[0]:
        return False, f"{variable.name} is {match}, not {words[0]} ({variable.source})"
    return True, f"{variable.name} is {match} ({variable.source})"
