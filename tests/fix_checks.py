"""Runs a check in a test as the bot does: real clients, a Target of the sandbox, an Undo log in memory."""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from checks.contract import CheckContext, Kind, Subject
from checks.outcome import CheckResult
from checks.registry import Registry
from checks.runner import run_check
from clients.connections import Clients
from clients.target import Target

Vendor = Literal["api", "frontend", "sentry", "grafana", "stripe", "github", "s3", "kube", "database"]


@dataclass
class RecordingUndo:
    """An undo log in memory: keeps what is recorded and what is settled, in order."""

    records: dict[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    settled_ids: list[str] = field(default_factory=list)

    def record(self, what: str, payload: Mapping[str, Any]) -> str:
        """Keep what has to be undone."""
        undo_id = f"undo-{len(self.records) + 1}"
        self.records[undo_id] = (what, dict(payload))  # as it is now: what a kind adds later is not written down
        return undo_id

    def settle(self, undo_id: str) -> None:
        """Keep that it is undone."""
        self.settled_ids.append(undo_id)

    @property
    def open(self) -> list[Mapping[str, Any]]:
        """The payloads of what is not settled."""
        return [payload for key, (_, payload) in self.records.items() if key not in self.settled_ids]


class Pauses(threading.Event):
    """The ``cancelled`` event of a context without pauses: ``during`` is called in place of each pause."""

    def __init__(self, during: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._during = during

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once."""
        self._during()
        return self.is_set()


def target_of(facts: Mapping[str, Any], name: str) -> Target:
    """The Target of one of the sandbox's environments, from the facts of its ready line."""
    environment, s3, backup = facts[name], facts["s3"], facts["backup"]
    staging = name == "staging"
    return Target.model_validate(
        {
            "name": name,
            "mutable": staging,
            "database_url": environment["database_url"],
            "restore_database_url": environment["database_admin_url"] if staging else None,
            "restore_pod": {"secret": facts["staging"]["restore_secret"], "annotations": {"testbed/exec": "true"}},
            "kubernetes": {
                "kubeconfig": facts["kubeconfig"],
                "namespace": environment["namespace"],
                "deployment": environment["deployment"],
                "container": environment["container"],
            },
            "api_url": environment["api_url"],
            "frontend_url": environment["frontend_url"],
            "tenant": {"id": environment["tenant_id"], "stripe_customer_id": environment["stripe_customer_id"]},
            "login": {"email": environment["login_email"], "password": environment["login_password"]},
            "backup": {
                "namespace": environment["namespace"],
                "cronjob": backup["cronjob"],
                **{key: s3[key] for key in ("bucket", "prefix", "endpoint_url", "region")},
                **{key: s3[key] for key in ("access_key_id", "secret_access_key")},
            },
            "sentry": {key: facts["sentry"][key] for key in ("url", "token", "organization", "project", "dsn")},
            "grafana": {key: facts["grafana"][key] for key in ("url", "token")},
            "stripe": {
                "url": facts["stripe"]["url"],
                "api_key": facts["stripe"]["api_key" if staging else "live_api_key"],
                "webhook_secret": facts["stripe"]["webhook_secret"] if staging else None,
            },
            "github": facts["github"],
        }
    )


def staging_target(sandbox: Any) -> Target:
    """The Target on which every kind may run."""
    return target_of(sandbox.facts, "staging")


def production_target(sandbox: Any) -> Target:
    """The Target on which a check may change nothing."""
    return target_of(sandbox.facts, "production")


def with_changes(target: Target, **changes: Any) -> Target:
    """A copy of the Target with other values; a dict changes those keys of a section."""
    values = {
        key: getattr(target, key).model_copy(update=value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return target.model_copy(update=values)


def with_vendor_at(target: Target, vendor: Vendor, url: str, folder: Path) -> Target:
    """A copy of the Target in which one vendor is at another address."""
    if vendor == "api":
        return target.model_validate({**dict(target), "api_url": url})
    if vendor == "frontend":
        return target.model_validate({**dict(target), "frontend_url": url})
    if vendor == "s3":
        return with_changes(target, backup={"endpoint_url": url})
    if vendor == "kube":
        assert target.kubernetes is not None
        config = yaml.safe_load(Path(target.kubernetes.kubeconfig).read_text(encoding="utf-8"))
        config["clusters"][0]["cluster"] = {"server": url}
        file = folder / f"{uuid.uuid4().hex}.yml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        return with_changes(target, kubernetes={"kubeconfig": str(file), "context": ""})
    if vendor == "database":
        assert target.database_url is not None
        address = urlsplit(target.database_url.get_secret_value())
        server = f"{address.username}:x@{urlsplit(url).netloc}"
        return target.model_validate({**dict(target), "database_url": f"postgresql://{server}{address.path}"})
    section = getattr(target, vendor)
    return target.model_validate({**dict(target), vendor: {**dict(section), "url": url}})


def context(target: Target, clients: Clients, *, undo: RecordingUndo | None = None, **changes: Any) -> CheckContext:
    """What a running check gets: 30 seconds, no release and no results of other checks, unless ``changes`` says
    otherwise.
    """
    values: dict[str, Any] = {
        "check": "test.check",
        "subject": Subject(),
        "needs": {},
        "deadline": time.monotonic() + 30,
        "cancelled": threading.Event(),
        "progress": lambda line: None,
        **changes,
    }
    return CheckContext(target=target, clients=clients, undo=undo or RecordingUndo(), **values)


@cache
def _registry() -> Registry:
    return Registry.load()


def run(
    kind: str | Kind,
    params: Mapping[str, Any],
    target: Target,
    *,
    undo: RecordingUndo | None = None,
    seconds: float = 30,
    patience: float = 5,
    held: ExitStack | None = None,
    **changes: Any,
) -> CheckResult:
    """Run one kind (a name, or an own Kind) with parameters as in a checklist. ``changes``: fields of CheckContext.

    ``patience``: seconds for an answer of a server.
    """
    kind = _registry().get(kind) if isinstance(kind, str) else kind
    with held or ExitStack() as in_use:
        clients = in_use.enter_context(Clients(target, http_timeout=patience))
        ctx = context(target, clients, undo=undo, deadline=time.monotonic() + seconds, **changes)
        return run_check(kind, kind.params.model_validate(params), ctx, redact=lambda text: text, held=in_use)
