"""Settings: release-bot.yml and the environment, validated. The only reader of os.environ."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from bot.document import line_of, read_document
from bot.errors import ConfigError
from bot.renamed_keys import DocumentModel, RenamedKeys
from clients.settings import (
    Backup,
    GitHubSettings,
    GrafanaSettings,
    Kubernetes,
    RegistrySettings,
    SentrySettings,
    SettingsSection,
    StripeSettings,
    VercelSettings,
)
from clients.target import Login, RestorePod, Target, Tenant

_QUOTED_TEXT = re.compile(r"'[^']{2,}'")
_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def _none_if_blank(value: object) -> object:
    """A variable or a file that is there but empty counts as not set; blanks around a token are no part of it."""
    return (value.strip() or None) if isinstance(value, str) else value


class Roles(SettingsSection):
    """Who has which role: Slack user ids (U…, W…) or user group ids (S…). Names can be copied, ids cannot."""

    release_manager: tuple[str, ...] = ()
    qa: tuple[str, ...] = ()
    product: tuple[str, ...] = ()

    @field_validator("*")
    @classmethod
    def _ids_only(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        for name in ids:
            if not re.fullmatch(r"[UWS][A-Z0-9]{2,}", name):
                raise ValueError(f"{name!r} isn't a Slack id; copy the member id (U…) or the user group id (S…)")
        return ids


class SharedChannel(StrEnum):
    """What to do where people of another organisation read the channel too."""

    REFUSE = "refuse"
    WARN = "warn"


class Slack(SettingsSection):
    """The workspace. The tokens come from the environment: SLACK_BOT_TOKEN, and SLACK_APP_TOKEN or SLACK_SIGNING_SECRET."""

    channel: str = ""  # id of #releases (C…), not its name: names can change
    # findings name what is wrong in production: nobody else's business
    shared_channel: SharedChannel = SharedChannel.REFUSE
    roles: Roles = Roles()
    api_url: str = "https://slack.com/api/"
    bot_token: SecretStr | None = None
    app_token: SecretStr | None = None  # Socket Mode
    signing_secret: SecretStr | None = None  # HTTP mode, which is used where this is set

    _empty_is_unset = field_validator("bot_token", "app_token", "signing_secret", mode="before")(_none_if_blank)


class TargetSection(SettingsSection):
    """One environment of the product. The vendors beside it are sections of their own and shared by all targets.

    Stripe may differ: a live key shows live endpoints only, and checks that change data refuse one.
    """

    mutable: bool = False  # may checks change data here? Only ever for staging
    environment: str = ""  # the product's own name for it; empty: the name of the target
    database_url: SecretStr | None = None
    restore_database_url: SecretStr | None = None
    restore_pod: RestorePod | None = None
    migrate_database_url: SecretStr | None = None
    kubernetes: Kubernetes | None = None
    api_url: str | None = None
    frontend_url: str | None = None
    tenant: Tenant | None = None
    login: Login | None = None
    backup: Backup | None = None
    stripe: StripeSettings | None = None  # unset: the shared section


class WatchSection(SettingsSection):
    """The watch after a deploy."""

    minutes: float = Field(default=15, gt=0)  # the checklist's fifteen minutes
    poll_seconds: float = Field(default=30, gt=0)  # Sentry counts calls: not more often than needed
    # Events reach Sentry's search within seconds, rarely minutes; and the last minute has to be counted to its end.
    settle_seconds: float = Field(default=60, ge=0)
    no_answer_minutes: float = Field(default=5, gt=0)  # a vendor's short outage need not trouble anybody


class HttpPort(SettingsSection):
    """The port with /healthz, /readyz and /metrics."""

    host: str = "127.0.0.1"  # 0.0.0.0 in a container
    port: int = Field(default=8080, ge=0, le=65535)  # 0: any free one


class Settings(SettingsSection, DocumentModel):
    """All of release-bot.yml."""

    renamed_keys: ClassVar[RenamedKeys] = {
        ("watch", "late_seconds"): "settle_seconds",
        ("watch", "patience_minutes"): "no_answer_minutes",
        ("policy", "people"): "min_approvers",
        ("policy", "may"): "permissions",
    }

    slack: Slack = Slack()
    policy: dict[str, Any] = Field(default_factory=dict)  # read by bot.domain.policy
    checklist: str = "solvereign"  # a path, or the name of a checklist that ships with the bot
    environment: str = "production"  # name of the target that is deployed to
    targets: dict[str, TargetSection] = Field(default_factory=dict)
    sentry: SentrySettings | None = None
    stripe: StripeSettings | None = None
    grafana: GrafanaSettings | None = None
    vercel: VercelSettings | None = None
    github: GitHubSettings | None = None
    registry: RegistrySettings | None = None
    watch: WatchSection = WatchSection()
    http: HttpPort = HttpPort()
    database_url: SecretStr | None = None  # unset: an embedded PostgreSQL in data_dir
    data_dir: str = "data"  # where the embedded PostgreSQL lives
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    _empty_is_unset = field_validator("database_url", mode="before")(_none_if_blank)

    @model_validator(mode="after")
    def _production_is_not_mutable(self) -> Settings:
        """P11: what is deployed to is never a place for test data."""
        target = self.targets.get(self.environment)
        if target is not None and target.mutable:
            at = ("targets", self.environment, "mutable")
            raise PydanticCustomError(
                "mutable", "checks must not change data in the environment you deploy to", {"at": at}
            )
        return self

    @model_validator(mode="after")
    def _mutable_is_apart(self) -> Settings:
        """P11: a target that may be changed shares no database, API or Deployment with one that may not."""
        for name, target in self.targets.items():
            for other, protected_target in self.targets.items() if target.mutable else ():
                overlap = None if protected_target.mutable else _find_overlap(target, protected_target)
                if overlap is not None:
                    mine, theirs = (
                        ".".join(("targets", one, *key)) for one, key in ((name, overlap[0]), (other, overlap[1]))
                    )
                    text = (
                        f"checks change data here, but {mine} and {theirs} point to the same place: change one of them"
                    )
                    raise PydanticCustomError("shared", "{text}", {"text": text, "at": ("targets", name, *overlap[0])})
        return self

    def target_values(self) -> dict[str, Target]:
        """The targets with the vendors beside them, as checks and steps get them."""
        vendors = {"sentry": self.sentry, "grafana": self.grafana, "github": self.github, "vercel": self.vercel}
        return {
            name: Target.model_validate(
                {"name": name, **dict(section), **vendors, "stripe": section.stripe or self.stripe}
            )
            for name, section in self.targets.items()
        }

    def secrets(self) -> list[str]:
        """Every secret value, to be registered for redaction (P10)."""
        return [value.get_secret_value() for value in _secrets_in(self)]

    @property
    def watch_times(self) -> dict[str, timedelta]:
        """How the watch goes about it: length, interval, settle time and no-answer limit (bot.domain.watch.WatchTimes)."""
        return {
            "length": timedelta(minutes=self.watch.minutes),
            "interval": timedelta(seconds=self.watch.poll_seconds),
            "settle_time": timedelta(seconds=self.watch.settle_seconds),
            "no_answer_limit": timedelta(minutes=self.watch.no_answer_minutes),
        }


_PORTS = {"http": 80, "https": 443}
_DATABASES = ("database_url", "restore_database_url", "migrate_database_url")


def _find_overlap(target: TargetSection, other: TargetSection) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The keys of two targets that lead to the same database, API or Deployment; None: they are apart."""
    for mine in _DATABASES[:2]:  # what checks write to
        for theirs in _DATABASES:
            if _same_database(getattr(target, mine), getattr(other, theirs)):
                return (mine,), (theirs,)
    if target.api_url and other.api_url and _address(target.api_url) == _address(other.api_url):
        return ("api_url",), ("api_url",)
    if target.kubernetes and other.kubernetes and _deployment(target.kubernetes) == _deployment(other.kubernetes):
        return ("kubernetes",), ("kubernetes",)
    return None


def _same_database(one: SecretStr | None, other: SecretStr | None) -> bool:
    """Whether both lead to one database of one server, whoever connects."""
    if one is None or other is None:
        return False
    (servers, name), (others, other_name) = _database(one.get_secret_value()), _database(other.get_secret_value())
    return bool(name) and name == other_name and not servers.isdisjoint(others)


def _database(address: str) -> tuple[set[tuple[str, str]], str]:
    """The servers (host, port) and the database of a URL or a line of ``key=value``, with libpq's defaults."""
    parts: dict[str, str] = {}
    if "://" in address:
        url = urlsplit(address)
        user, _, hosts = url.netloc.rpartition("@")
        addresses = [re.fullmatch(r"(\[.*\]|[^:]*):?(\d*)", host) for host in hosts.split(",")]
        parts["host"] = ",".join(match[1].strip("[]") if match else "" for match in addresses)
        parts["port"] = ",".join(match[2] if match else "" for match in addresses)
        parts["dbname"], parts["user"] = unquote(url.path.lstrip("/")), unquote(user.partition(":")[0])
        parts |= {key: values[-1] for key, values in parse_qs(url.query).items()}
    else:
        parts |= {key: value.strip("'") for key, value in re.findall(r"(\w+)\s*=\s*('(?:\\.|[^'])*'|\S+)", address)}
    hosts_of = (parts.get("host") or parts.get("hostaddr") or "").casefold().split(",")
    ports = parts.get("port", "").split(",")
    ports = ports * len(hosts_of) if len(ports) == 1 else ports
    servers = {(host, port or "5432") for host, port in zip(hosts_of, ports, strict=False)}
    return servers, parts.get("dbname") or parts.get("user") or ""


def _address(url: str) -> tuple[object, ...]:
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    return (parts.hostname, port, parts.path.rstrip("/"))


def _deployment(there: Kubernetes) -> tuple[str, ...]:
    """Without reading the kubeconfig: two names of one context are not seen to be one cluster."""
    return (there.kubeconfig, there.context, there.namespace, there.deployment)


def _secrets_in(value: object) -> list[SecretStr]:
    if isinstance(value, SecretStr):
        return [value] if value.get_secret_value() else []
    if isinstance(value, BaseModel):
        return [secret for _, child in value for secret in _secrets_in(child)]
    if isinstance(value, Mapping):
        return [secret for child in value.values() for secret in _secrets_in(child)]
    return []


_FROM_ENVIRONMENT = {
    "SLACK_BOT_TOKEN": ("slack", "bot_token"),
    "SLACK_APP_TOKEN": ("slack", "app_token"),
    "SLACK_SIGNING_SECRET": ("slack", "signing_secret"),
    "SLACK_API_URL": ("slack", "api_url"),
    "SLACK_CHANNEL_ID": ("slack", "channel"),
    "DATABASE_URL": ("database_url",),
    "RELEASE_BOT_DATA_DIR": ("data_dir",),
    "RELEASE_BOT_LOG_FORMAT": ("log_format",),
    "RELEASE_BOT_LOG_LEVEL": ("log_level",),
}
_ROLE_IDS = {"RELEASE_MANAGER_IDS": "release_manager", "QA_IDS": "qa", "PRODUCT_IDS": "product"}


def load_settings(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read ``path`` (default: RELEASE_BOT_CONFIG, then release-bot.yml if it is there) and the environment, which wins.

    Raises ConfigError that names file, line and key.
    """
    env = os.environ if environ is None else environ
    config_path = path or (
        Path(env["RELEASE_BOT_CONFIG"]) if env.get("RELEASE_BOT_CONFIG") else Path("release-bot.yml")
    )
    if not config_path.exists():
        if path is not None or env.get("RELEASE_BOT_CONFIG"):
            raise ConfigError(f"{config_path} doesn't exist.", hint="Copy release-bot.example.yml and fill it in.")
        return _validate({}, None, env, "environment")
    try:
        text = config_path.read_text(encoding="utf-8")
        root, body = read_document(text)
        body = body or {}
    except OSError as error:
        raise ConfigError(f"{config_path}: can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{config_path}: can't be read: it isn't UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = _QUOTED_TEXT.sub("'…'", error.problem or "")  # a secret may begin like an alias or a tag
        raise ConfigError(f"{config_path}:{line}: not valid YAML: {problem}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{config_path}:1: not valid YAML: it has characters that YAML doesn't allow") from None
    if not isinstance(body, dict):
        raise ConfigError(f"{config_path}:1: the configuration is a mapping of sections such as slack: and targets:")
    reader = _SettingsReader(config_path, root, env)
    return _validate(reader.resolve(body, ()), root, env, str(config_path))


class _SettingsReader:
    """Puts in the environment's values for ${NAME} and the contents of files for *_file keys."""

    def __init__(self, path: Path, root: yaml.Node | None, env: Mapping[str, str]) -> None:
        self._path, self._root, self._env = path, root, env

    def resolve(self, value: Any, at: tuple[Any, ...]) -> Any:
        if isinstance(value, str):
            return _ENV.sub(lambda match: self._variable(match, at), value)
        if isinstance(value, list):
            return [self.resolve(item, (*at, index)) for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        values: dict[str, Any] = {}
        for key, child in value.items():
            resolved_child = self.resolve(child, (*at, key))
            if isinstance(key, str) and key.endswith("_file") and isinstance(resolved_child, str):
                values[key.removesuffix("_file")] = self._file(resolved_child, (*at, key))
            else:
                values[key] = resolved_child
        return values

    def _variable(self, match: re.Match[str], at: tuple[Any, ...]) -> str:
        name, default = match.groups()
        value = self._env.get(name) or default
        if value is None:
            problem = "is empty, which counts as not set" if name in self._env else "is not set"
            raise self._error(at, f"the environment variable {name} {problem}")
        return value

    def _file(self, name: str, at: tuple[Any, ...]) -> str:
        file = self._path.parent / name
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise self._error(at, f"{file} can't be read: {error.strerror}") from error

    def _error(self, at: tuple[Any, ...], problem: str) -> ConfigError:
        key = ".".join(str(part) for part in at)
        return ConfigError(f"{self._path}:{line_of(self._root, at)}: {key}: {problem}")


def _validate(body: dict[str, Any], root: yaml.Node | None, env: Mapping[str, str], source: str) -> Settings:
    for name, path in _FROM_ENVIRONMENT.items():
        if env.get(name):
            _put(body, path, env[name])
    for name, role in _ROLE_IDS.items():
        if env.get(name):
            ids = [part for part in re.split(r"[,\s]+", env[name]) if part]
            _put(body, ("slack", "roles", role), ids)
    try:
        return Settings.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # the input could be a secret
        at = first.get("ctx", {}).get("at") or first["loc"]
        key = ".".join(str(part) for part in at) or "configuration"
        hint = "docs/reference/configuration.md describes the keys."
        raise ConfigError(
            f"{source}:{line_of(root, at)}: {key}: {first['msg'].removeprefix('Value error, ')}", hint=hint
        ) from None


def _put(body: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    """Set a value that the environment gives; what stands where a section belongs is left for the validation to refuse."""
    for part in path[:-1]:
        if body.get(part) is None:
            body[part] = {}
        if not isinstance(body[part], dict):
            return
        body = body[part]
    body[path[-1]] = value
