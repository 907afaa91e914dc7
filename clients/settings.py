"""The settings of each client, as they stand in release-bot.yml. Values only: whoever reads the configuration loads no client."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr

LIVE_KEYS = ("sk_live_", "rk_live_")  # how Stripe keys of live mode begin


class SettingsSection(BaseModel):
    """Base of all sections: unknown keys are refused, so that a typo is found at the start; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Kubernetes(SettingsSection):
    """Where the product runs."""

    kubeconfig: str = ""  # path; empty: in-cluster service account, else the default kubeconfig
    context: str = ""  # empty: the current context
    namespace: str
    deployment: str = "api"
    container: str = "api"


class Backup(SettingsSection):
    """The backup CronJob and the bucket that it writes to."""

    namespace: str
    cronjob: str = "solvereign-backup"
    bucket: str
    prefix: str = ""
    endpoint_url: str = ""  # empty: Amazon S3
    region: str = "eu-central-1"
    access_key_id: SecretStr | None = None  # unset: boto3's own chain (role, environment, profile)
    secret_access_key: SecretStr | None = None


class SentrySettings(SettingsSection):
    """The error tracker."""

    url: AnyHttpUrl = Field(default=AnyHttpUrl("https://sentry.io/"))
    token: SecretStr | None = None
    organization: str = ""
    project: str = ""
    dsn: SecretStr | None = None
    release_prefix: str = "solvereign@"  # release in Sentry = prefix + version without the v


class GrafanaSettings(SettingsSection):
    """The dashboards."""

    url: AnyHttpUrl | None = None
    token: SecretStr | None = None


class StripeSettings(SettingsSection):
    """The payment provider."""

    url: AnyHttpUrl = Field(default=AnyHttpUrl("https://api.stripe.com/"))
    api_key: SecretStr | None = None
    webhook_secret: SecretStr | None = None

    @property
    def live(self) -> bool:
        """Is the key of live mode, where real money moves? Stripe shows each key the objects of its own mode only."""
        return self.api_key is not None and self.api_key.get_secret_value().startswith(LIVE_KEYS)


class GitHubSettings(SettingsSection):
    """Where the tags are, where a commit is looked up, and where the product's files are read."""

    url: AnyHttpUrl = Field(default=AnyHttpUrl("https://api.github.com/"))
    token: SecretStr | None = None
    repository: str = ""  # owner/name
    ref: str = "main"  # the commit to release when there is no tag of the version yet
    web_url: str = ""  # where people look at it; empty: as GitHub has it for `url`

    @property
    def files(self) -> str:
        """The address at which people see the files of the repository; empty where that is not known."""
        web = self.web_url or _web_of(str(self.url))
        return f"{web.rstrip('/')}/{self.repository}/blob/{quote(self.ref)}/" if web and self.repository else ""


def _web_of(api: str) -> str:
    """Where the pages of a GitHub are, by its API; empty for another server.

    docs.github.com: api.github.com, api.SUBDOMAIN.ghe.com, and /api/v3 of an Enterprise Server.
    """
    parts = urlsplit(api)
    if parts.path.rstrip("/") == "/api/v3":
        return f"{parts.scheme}://{parts.netloc}"
    host = parts.netloc.removeprefix("api.")
    is_github_web = host != parts.netloc and (host == "github.com" or host.endswith(".ghe.com"))
    return f"{parts.scheme}://{host}" if is_github_web else ""


class VercelSettings(SettingsSection):
    """Where the frontend is deployed."""

    url: AnyHttpUrl = Field(default=AnyHttpUrl("https://api.vercel.com/"))
    token: SecretStr | None = None
    project: str = ""
    team: str = ""


class RegistrySettings(SettingsSection):
    """Where the image's tag is resolved to a digest."""

    url: AnyHttpUrl = Field(default=AnyHttpUrl("https://ghcr.io/"))
    image: str = ""  # as the cluster pulls it, without tag: ghcr.io/solvereign/api
    username: str = ""
    token: SecretStr | None = None
    token_host: str = (
        ""  # gives the registry's tokens, and is of another domain: the login is sent to no other stranger
    )
