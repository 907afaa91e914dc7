"""Target: one environment that is asked or changed (staging, production), and the vendors beside it. Values only."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

LIVE_KEYS = ("sk_live_", "rk_live_")  # how Stripe keys of live mode begin


class Part(BaseModel):
    """Base of all parts: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Kubernetes(Part):
    """Where the product runs."""

    kubeconfig: str = ""  # path; empty: in-cluster service account, else the default kubeconfig
    context: str = ""  # empty: the current context
    namespace: str
    deployment: str = "api"
    container: str = "api"


class Tenant(Part):
    """The test tenant that mutating checks may use. Never a customer's."""

    id: int
    stripe_customer_id: str = ""


class Login(Part):
    """The test user of the product. A login counts against the product's budget (five in fifteen minutes), so one is shared."""

    email: str
    password: SecretStr


class Backup(Part):
    """The backup CronJob and the bucket that it writes to."""

    namespace: str
    cronjob: str = "solvereign-backup"
    bucket: str
    prefix: str = ""
    endpoint_url: str = ""  # empty: Amazon S3
    region: str = "eu-central-1"
    access_key_id: SecretStr | None = None  # unset: boto3's own chain (role, environment, profile)
    secret_access_key: SecretStr | None = None


class RestorePod(Part):
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
            raise PydanticCustomError("password", "the password belongs into the Secret that `secret` names")
        return value


class Sentry(Part):
    """The error tracker."""

    url: AnyHttpUrl = Field(default=AnyHttpUrl("https://sentry.io/"))
    token: SecretStr | None = None
    organization: str = ""
    project: str = ""
    dsn: SecretStr | None = None
    release_prefix: str = "solvereign@"  # release in Sentry = prefix + version without the v


class Grafana(Part):
    """The dashboards."""

    url: AnyHttpUrl | None = None
    token: SecretStr | None = None


class Stripe(Part):
    """The payment provider."""

    url: AnyHttpUrl = Field(default=AnyHttpUrl("https://api.stripe.com/"))
    api_key: SecretStr | None = None
    webhook_secret: SecretStr | None = None

    @property
    def live(self) -> bool:
        """Is the key of live mode, where real money moves? Stripe shows each key the objects of its own mode only."""
        return self.api_key is not None and self.api_key.get_secret_value().startswith(LIVE_KEYS)


class GitHub(Part):
    """Where the product's files are read."""

    url: AnyHttpUrl = Field(default=AnyHttpUrl("https://api.github.com/"))
    token: SecretStr | None = None
    repository: str = ""  # owner/name


class Target(Part):
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
    sentry: Sentry | None = None
    grafana: Grafana | None = None
    stripe: Stripe | None = None
    github: GitHub | None = None
