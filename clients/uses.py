"""Uses: what a kind or a step needs of a Target beside its cluster: settings, and rights at whom they name. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Use:
    """A setting that has to be there and, where it names a system, one right that has to be granted there.

    ``setting`` is its dotted name in a Target, ``sentry.token``; steps use vercel and registry too. ``right`` is in the
    words of whoever grants it, ``event:read`` or ``SELECT``; ``on``: the table, function, schema or dashboard that it is about.
    """

    setting: str
    right: str = ""
    on: str = ""


IN_SCHEMA = "SCHEMA "  # how a Use names a schema, as a GRANT does
API = Use("api_url")
FRONTEND = Use("frontend_url")
LOGIN = Use("login")
TENANT = Use("tenant")
STRIPE_CUSTOMER = Use("tenant.stripe_customer_id")
WEBHOOK_SECRET = Use("stripe.webhook_secret")
READ_WEBHOOK_ENDPOINTS = Use("stripe.api_key", "webhook endpoints: read")  # docs.stripe.com/keys, restricted keys
LIST_BACKUPS = Use("backup", "s3:ListBucket")
READ_BACKUPS = Use("backup", "s3:GetObject")
MAKE_DATABASES = Use("restore_database_url", "CREATEDB")
# docs.github.com: permissions required for fine-grained personal access tokens
READ_CONTENTS = Use("github.repository", "contents: read")
READ_PULLS = Use("github.repository", "pull requests: read")
READ_ISSUES = Use("github.repository", "issues: read")
READ_CHECKS = Use("github.repository", "checks: read")
READ_STATUSES = Use("github.repository", "commit statuses: read")
WRITE_CONTENTS = Use("github.repository", "contents: write")
SENTRY_DSN = Use("sentry.dsn")


def at(base: str) -> Use:
    """The address of the product; ``base``: api or frontend."""
    return API if base == "api" else FRONTEND


def stripe_mode(*, live: bool) -> Use:
    """The mode of the key: each shows the objects of its own."""
    return Use("stripe.api_key", "live mode" if live else "test mode")


def execute(function: str) -> Use:
    """Call a function of the product's database; ``function`` with its schema, without parentheses."""
    return Use("database_url", "EXECUTE", function)


def on_table(table: str, *rights: str) -> tuple[Use, ...]:
    """SELECT, UPDATE and so on of a table of the product's database; ``table`` with its schema."""
    return tuple(Use("database_url", right, table) for right in rights)


def in_schema(schema: str, *rights: str) -> tuple[Use, ...]:
    """CREATE and so on in a schema of the product's database."""
    return tuple(Use("database_url", right, f"{IN_SCHEMA}{schema}") for right in rights)


def sentry(*scopes: str) -> tuple[Use, ...]:
    """Scopes of the token for the project (docs.sentry.io/api/permissions)."""
    return (Use("sentry.organization"), Use("sentry.project"), *(Use("sentry.token", scope) for scope in scopes))


def grafana(*actions: str, dashboard: str = "") -> tuple[Use, ...]:
    """Actions of the service account, in Grafana's words; ``dashboard``: uid of one that it has to be able to open."""
    opened = (Use("grafana.token", "dashboards:read", dashboard),) if dashboard else ()
    return (Use("grafana.url"), *opened, *(Use("grafana.token", action) for action in actions))
