"""Need: what a kind of check or a step needs, as it declares it. Values only.

The clients refuse what is not declared here (`clients.declared`); the runner goes by it for locks and allowances and keeps
what changes data off production; the doctor, the Roles of a cluster and the reference are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Changes:
    """Something that it changes, such as ``tenant``: nobody else may use or look at the same meanwhile.

    ``data``: whether that is data of the product or a test event, which is refused unless the target allows it (P11).
    """

    what: str
    data: bool = True


@dataclass(frozen=True)
class Reads:
    """Something that it only looks at: beside others that do, never beside one that changes it."""

    what: str


@dataclass(frozen=True)
class Spends:
    """Something of a target that may be used only so often, by everybody together, and of which one run uses one."""

    name: str
    title: str  # plural, for people
    uses: int  # within the period; some are left to people
    period: float  # seconds


@dataclass(frozen=True, order=True)
class Setting:
    """A setting that has to be there: its dotted name in a Target, ``sentry.dsn``."""

    setting: str
    right = ""  # no field: only a VendorRight has one
    on = ""


@dataclass(frozen=True, order=True)
class VendorRight(Setting):
    """A setting that names a system, and one right that has to be granted there.

    ``right`` is in the words of whoever grants it, ``event:read`` or ``SELECT``; ``on``: the table, function, schema or
    dashboard that it is about.
    """

    right: str
    on: str = ""


@dataclass(frozen=True, order=True)
class OptionalSetting(Setting):
    """A setting that is made use of where it is there; nobody misses it."""


class Of(StrEnum):
    """Whose right it is: one object of a Target, or any object in one of its namespaces."""

    DEPLOYMENT = "the Deployment"  # kubernetes.deployment in kubernetes.namespace
    NAMESPACE = "its namespace"  # kubernetes.namespace
    CRONJOB = "the backup CronJob"  # backup.cronjob in backup.namespace
    BACKUP_NAMESPACE = "the backup's namespace"  # backup.namespace
    REFERRED = "what the Deployment refers to"  # by name, which only the Deployment knows
    BACKUP_REFERRED = "what the backup CronJob refers to"  # the same of the CronJob
    RECORDED = "what was recorded before the deploy"  # by the step of the deploy, which declares the same right by name


@dataclass(frozen=True)
class Variables:
    """Variables of a container that are looked up: what their entries refer to has to be readable, and nothing else."""

    names: tuple[str, ...]
    container: str = ""  # empty: the target's, or the only one


@dataclass(frozen=True)
class ClusterRight:
    """One right in a target's cluster, in the words of a Role; ``of`` says where, once the Target is known.

    ``resource`` has its subresource behind a slash, ``pods/log``. Kubernetes cannot narrow ``create`` and ``list`` to a
    name, so these are ``of`` a namespace (kubernetes.io, RBAC: "Referring to resources").
    """

    verb: str
    group: str  # "" is the core group
    resource: str
    of: Of
    name: str = ""  # of one object in a namespace; empty: any
    variables: Variables | None = None  # of what is referred to: which references count


Effect = Changes | Reads | Spends
Need = Effect | Setting | VendorRight | ClusterRight

# The product counts every log-in, good ones too, and refuses the sixth of an address in fifteen minutes; the fifth stays free
# for a person.
LOG_IN = Spends("login", "logins", uses=4, period=15 * 60.0)

# The requests that the bot makes, each with a name of its own, so that kinds and steps say the same.
READ_DEPLOYMENT = ClusterRight("get", "apps", "deployments", Of.DEPLOYMENT)
CHANGE_DEPLOYMENT = ClusterRight("patch", "apps", "deployments", Of.DEPLOYMENT)
LIST_REPLICASETS = ClusterRight("list", "apps", "replicasets", Of.NAMESPACE)
LIST_PODS = ClusterRight("list", "", "pods", Of.NAMESPACE)
READ_LOGS = ClusterRight("get", "", "pods/log", Of.NAMESPACE)
READ_CRONJOB = ClusterRight("get", "batch", "cronjobs", Of.CRONJOB)
CREATE_BACKUP_JOB = ClusterRight("create", "batch", "jobs", Of.BACKUP_NAMESPACE)
READ_BACKUP_JOB = ClusterRight("get", "batch", "jobs", Of.BACKUP_NAMESPACE)
STOP_BACKUP_JOB = ClusterRight("delete", "batch", "jobs", Of.BACKUP_NAMESPACE)
LIST_BACKUP_PODS = ClusterRight("list", "", "pods", Of.BACKUP_NAMESPACE)
READ_BACKUP_LOGS = ClusterRight("get", "", "pods/log", Of.BACKUP_NAMESPACE)
READ_BACKUP_ACCOUNT = ClusterRight("get", "", "serviceaccounts", Of.BACKUP_REFERRED)
READ_REFERRED = {
    which: tuple(ClusterRight("get", "", resource, of) for resource in ("configmaps", "secrets"))
    for which, of in (("deployment", Of.REFERRED), ("cronjob", Of.BACKUP_REFERRED))
}

IN_SCHEMA = "SCHEMA "  # how a VendorRight names a schema, as a GRANT does
API = Setting("api_url")
FRONTEND = Setting("frontend_url")
LOGIN = Setting("login")
READ_WEBHOOK_ENDPOINTS = VendorRight(
    "stripe.api_key", "webhook endpoints: read"
)  # docs.stripe.com/keys, restricted keys
LIST_BACKUPS = VendorRight("backup", "s3:ListBucket")
READ_BACKUPS = VendorRight("backup", "s3:GetObject")
MAKE_DATABASES = VendorRight("restore_database_url", "CREATEDB")
# docs.github.com: permissions required for fine-grained personal access tokens
READ_CONTENTS = VendorRight("github.repository", "contents: read")
READ_PULLS = VendorRight("github.repository", "pull requests: read")
READ_ISSUES = VendorRight("github.repository", "issues: read")
READ_CHECKS = VendorRight("github.repository", "checks: read")
READ_STATUSES = VendorRight("github.repository", "commit statuses: read")
WRITE_CONTENTS = VendorRight("github.repository", "contents: write")
SENTRY_DSN = Setting("sentry.dsn")


def at(base: str) -> Setting:
    """The address of the product; ``base``: api or frontend."""
    return API if base == "api" else FRONTEND


def stripe_mode(*, live: bool) -> VendorRight:
    """The mode of the key: each shows the objects of its own."""
    return VendorRight("stripe.api_key", "live mode" if live else "test mode")


def execute(function: str) -> VendorRight:
    """Call a function of the product's database; ``function`` with its schema, without parentheses."""
    return VendorRight("database_url", "EXECUTE", function)


def on_table(table: str, *rights: str) -> tuple[VendorRight, ...]:
    """SELECT, UPDATE and so on of a table of the product's database; ``table`` with its schema."""
    return tuple(VendorRight("database_url", right, table) for right in rights)


def in_schema(schema: str, *rights: str) -> tuple[VendorRight, ...]:
    """CREATE and so on in a schema of the product's database."""
    return tuple(VendorRight("database_url", right, f"{IN_SCHEMA}{schema}") for right in rights)


def sentry(*scopes: str) -> tuple[Setting, ...]:
    """Scopes of the token for the project (docs.sentry.io/api/permissions)."""
    return (
        Setting("sentry.organization"),
        Setting("sentry.project"),
        *(VendorRight("sentry.token", scope) for scope in scopes),
    )


def grafana(*actions: str, dashboard: str = "") -> tuple[Setting, ...]:
    """Actions of the service account, in Grafana's words; ``dashboard``: uid of one that it has to be able to open."""
    dashboards = (VendorRight("grafana.token", "dashboards:read", dashboard),) if dashboard else ()
    return (Setting("grafana.url"), *dashboards, *(VendorRight("grafana.token", action) for action in actions))
