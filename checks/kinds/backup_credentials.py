"""backup_credentials: does the backup CronJob have credentials for its bucket: keys, a web identity or a role?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from checks.contract import Answer, Evidence, Kind, Outcome, Params
from clients.needs import READ_BACKUP_ACCOUNT, Need, Variables
from clients.workload import Environment, read_service_account, read_workload, rights_of

if TYPE_CHECKING:
    from checks.contract import CheckContext
    from clients.workload import Workload

ROLE_OF_ACCOUNT = "eks.amazonaws.com/role-arn"  # annotation: the cluster then gives the pods a web identity
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
WEB_IDENTITY = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")


class BackupCredentialsParams(Params):
    """Which container, and what counts as proof of a role that the cluster does not show."""

    container: str = Field(default="", description="Of the CronJob's pods; empty: the only one.")
    last_run_hours: int = Field(
        default=26, ge=1, description="A good run of the CronJob within this time proves a role that the bot can't see."
    )


class BackupCredentials(Kind):
    """Looks in the order in which AWS' own libraries do. Presence only: no value of a Secret is read out.

    A role of the node, or one given by EKS Pod Identity, is nowhere in the CronJob: a run that succeeded lately proves
    it; without one a person has to say.
    """

    name: ClassVar[str] = "backup_credentials"
    summary: ClassVar[str] = "The backup CronJob has AWS credentials: keys, a web identity or a role"
    params: ClassVar[type[Params]] = BackupCredentialsParams
    timeout: ClassVar[float] = 30.0

    def needs(self, params: BackupCredentialsParams) -> tuple[Need, ...]:
        """Those of the CronJob and, where it has no keys, of its service account."""
        variables = Variables(KEYS, params.container)
        return (*rights_of("cronjob", variables), replace(READ_BACKUP_ACCOUNT, variables=variables))

    def run(self, params: BackupCredentialsParams, ctx: CheckContext) -> Answer:
        """FAIL for half a pair of keys and for none at all. Raises CheckError when the cluster does not let us look."""
        workload = read_workload(ctx, "cronjob")
        environment = Environment(ctx, workload, params.container)
        evidence = Evidence(
            asked=f"AWS variables of {workload.what}, its service account and its last good run",
            expected=f"{' and '.join(KEYS)}, or a web identity, or a role",
            seen="",
        )
        for pair, words in ((KEYS, "keys"), (WEB_IDENTITY, "a web identity")):
            variables = [environment.get(name) for name in pair]
            evidence = Evidence(
                evidence.asked, evidence.expected, "\n".join([*filter(None, [evidence.seen]), *map(str, variables)])
            )
            if all(variable.is_set for variable in variables):
                return Answer(Outcome.PASS, f"{workload.what} has {words}: {variables[0].source}", evidence)
            if any(variable.source or variable.broken for variable in variables):
                bad = "; ".join(str(variable) for variable in variables if not variable.is_set)
                return Answer(
                    Outcome.FAIL, f"{workload.what}: {bad}", evidence, hint="Backups can't be stored without it."
                )
        return _role(params, ctx, workload, evidence)


def _role(params: BackupCredentialsParams, ctx: CheckContext, workload: Workload, evidence: Evidence) -> Answer:
    """The answer where no variable is set: by the service account, else by the last run."""
    account, annotations = read_service_account(ctx, workload)
    role = (annotations or {}).get(ROLE_OF_ACCOUNT, "").strip()
    last = workload.status.get("lastSuccessfulTime")
    details = f"{evidence.seen}\nservice account {account}: {role or 'no role'}\nlast good run: {last or 'none'}"
    evidence = Evidence(evidence.asked, evidence.expected, details)
    if annotations is None:
        return Answer(
            Outcome.FAIL,
            f"{workload.what}: service account {account} doesn't exist, so no pod can start",
            evidence,
            hint="Create it, or name another one in the CronJob.",
        )
    if role:
        return Answer(Outcome.PASS, f"{workload.what} has a web identity: service account {account}, {role}", evidence)
    if last is None:
        return Answer(
            Outcome.FAIL,
            f"{workload.what} has no credentials, and no run of it has ever succeeded",
            evidence,
            hint=f"Set {' and '.join(KEYS)}, or give its service account a role.",
        )
    if datetime.now(UTC) - datetime.fromisoformat(last) <= timedelta(hours=params.last_run_hours):
        summary = f"{workload.what} has a role that the cluster doesn't show: its run of {last} succeeded"
        return Answer(Outcome.PASS, summary, evidence)
    return Answer(
        Outcome.INCONCLUSIVE,
        f"{workload.what} shows no credentials, and its last good run was at {last}",
        evidence,
        hint="The bot can't see a role of the node. Start the CronJob once, then run this check again.",
    )
