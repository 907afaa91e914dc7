"""Target: one environment that is asked or changed (staging, production), and the vendors beside it. Values only."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from clients.errors import ClientError
from clients.settings import (
    Backup,
    GitHubSettings,
    GrafanaSettings,
    Kubernetes,
    SentrySettings,
    SettingsSection,
    StripeSettings,
    VercelSettings,
)

T = TypeVar("T")
VENDOR_PARTS = ("sentry", "grafana", "stripe", "github", "vercel")  # sections of their own in release-bot.yml


class Tenant(SettingsSection):
    """The test tenant that mutating checks may use. Never a customer's."""

    id: int
    stripe_customer_id: str = ""


class Login(SettingsSection):
    """The test user of the product. A login counts against the product's budget (five in fifteen minutes), so one is shared."""

    email: str
    password: SecretStr


class RestorePod(SettingsSection):
    """How the product is started against a restored database, in a pod beside those of its Deployment."""

    database_url: str = ""  # the restore server as that pod reaches it, without password; empty: restore_database_url's
    secret: str = "release-bot-restore"  # noqa: S105  a name: of a Secret beside the Deployment; its key `password`, as in a URL
    annotations: dict[str, str] = Field(default_factory=dict)  # of that pod, such as sidecar.istio.io/inject: "false"

    @field_validator("database_url")
    @classmethod
    def _no_password(cls, value: str) -> str:
        """It would stand in the pod, where everybody may read it who may read pods."""
        url = urlsplit(value)
        if ":" in url.netloc.rpartition("@")[0] or "password" in parse_qs(url.query):
            raise PydanticCustomError("password", "the password belongs in the Secret that `secret` names")
        return value


class Target(SettingsSection):
    """One environment. Each part is optional: a check whose part is missing is an ERROR that names it, never a PASS."""

    name: str
    mutable: bool = False  # may checks change data and send test events here? Never for production (P11)
    environment: str = ""  # the product's own name for it, as in Sentry; empty: same as name
    database_url: SecretStr | None = None
    restore_database_url: SecretStr | None = None  # a server on which scratch databases may be made
    restore_pod: RestorePod | None = None
    migrate_database_url: SecretStr | None = None  # the product's database, as the role that may change its schema
    kubernetes: Kubernetes | None = None
    api_url: AnyHttpUrl | None = None
    frontend_url: AnyHttpUrl | None = None
    tenant: Tenant | None = None
    login: Login | None = None
    backup: Backup | None = None
    sentry: SentrySettings | None = None
    grafana: GrafanaSettings | None = None
    stripe: StripeSettings | None = None
    github: GitHubSettings | None = None
    vercel: VercelSettings | None = None


def require(value: T | None, target: Target, key: str) -> T:
    """The value, or a ClientError that names the setting. ``key``: its dotted name in the Target, ``sentry.token``."""
    if value is None or value == "":
        section, _, rest = key.partition(".")
        setting = key if section in VENDOR_PARTS else f"targets.{target.name}.{key}"
        what = key if rest or key.endswith("_url") else f"{key} section"
        raise ClientError(f"{target.name} has no {what}", hint=f"Set {setting} in release-bot.yml.")
    return value
