"""Which kinds there are: built-in ones in one visible table, those of plugins by entry point; errors are loud."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from checks.contract import Kind, Params
from checks.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY_POINTS = "release_bot.kinds"

BUILT_IN = {
    "all_of": "checks.kinds.all_of:AllOf",
    "announced": "checks.kinds.announced:Announced",
    "api_flow": "checks.solvereign.api_flow:ApiFlow",
    "attest": "checks.kinds.attest:Attest",
    "backup_credentials": "checks.kinds.backup_credentials:BackupCredentials",
    "backup_job": "checks.kinds.backup_job:BackupJob",
    "billing_gate": "checks.solvereign.billing_gate:BillingGate",
    "grafana_panels": "checks.kinds.grafana_panels:GrafanaPanels",
    "http_json": "checks.kinds.http_json:HttpJson",
    "http_pages": "checks.kinds.http_pages:HttpPages",
    "metrics_flow": "checks.kinds.metrics_flow:MetricsFlow",
    "migrations_applied": "checks.solvereign.migrations_applied:MigrationsApplied",
    "migrations_declared": "checks.kinds.migrations_declared:MigrationsDeclared",
    "pod_logs": "checks.kinds.pod_logs.kind:PodLogs",
    "pod_restarts": "checks.kinds.pod_restarts:PodRestarts",
    "repo_file": "checks.kinds.repo_file:RepoFile",
    "repo_issues": "checks.kinds.repo_issues:RepoIssues",
    "repo_pulls": "checks.kinds.repo_pulls:RepoPulls",
    "restore_drill": "checks.solvereign.restore_drill:SolvereignRestoreDrill",
    "sentry_quiet": "checks.kinds.sentry_quiet:SentryQuiet",
    "sentry_rate": "checks.kinds.sentry_rate:SentryRate",
    "sentry_receives": "checks.kinds.sentry_receives:SentryReceives",
    "sql_verify": "checks.kinds.sql_verify:SqlVerify",
    "stripe_endpoint": "checks.solvereign.stripe_endpoint:StripeEndpoint",
    "stripe_probe": "checks.solvereign.stripe_probe:StripeProbe",
    "stripe_webhook": "checks.solvereign.stripe_webhook:StripeWebhook",
    "workload_env": "checks.kinds.workload_env:WorkloadEnv",
}


class RegistryError(ValueError):
    """A kind is unknown, there twice, does not import, or got parameters that it does not know."""


class Registry:
    """Kinds by name. A kind's module is imported when the kind is first asked for."""

    def __init__(self, kinds: Mapping[str, str | type[Kind]]) -> None:
        """``kinds``: name -> class, or where to find it as ``module:Class``."""
        self._kinds = dict(kinds)
        self._made: dict[str, Kind] = {}

    @classmethod
    def load(cls) -> Self:
        """The built-in kinds and those of installed plugins (entry points ``release_bot.kinds``).

        Raises RegistryError when a plugin takes a name that is taken, or does not import.
        """
        kinds: dict[str, str | type[Kind]] = dict(BUILT_IN)
        for entry in sorted(
            importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, entry.value)
        ):
            if entry.name in kinds:
                raise RegistryError(f"kind {entry.name} of {_origin(entry)} already exists: rename or uninstall it")
            kinds[entry.name] = _import(entry.name, entry.value, _origin(entry))
        return cls(kinds)

    def names(self) -> tuple[str, ...]:
        """All names, in order of the alphabet."""
        return tuple(sorted(self._kinds))

    def get(self, name: str) -> Kind:
        """The kind of that name, always the same object. Raises RegistryError when there is none."""
        if name not in self._made:
            if name not in self._kinds:
                raise RegistryError(f"unknown kind {name!r}{did_you_mean(name, self._kinds)}")
            kind = self._kinds[name]
            self._made[name] = _make(name, _import(name, kind, "release-bot") if isinstance(kind, str) else kind)
        return self._made[name]

    def validate(self, kind: str, params: Mapping[str, Any]) -> Params:
        """The parameters as the kind's own model. Raises RegistryError with a word on each wrong one."""
        model = self.get(kind).params
        try:
            return model.model_validate(params)
        except ValidationError as exc:
            problems = "; ".join(complaint.text for complaint in _complaints(exc, model))
            raise RegistryError(f"kind {kind}: {problems}") from exc

    def complaints(self, kind: str, params: Mapping[str, Any]) -> list[Complaint]:
        """What is wrong with a use of a kind in a checklist, with the place of each; empty when all is good."""
        try:
            model = self.get(kind).params
        except RegistryError as exc:
            return [Complaint(str(exc), ("kind",))]
        try:
            model.model_validate(params)
        except ValidationError as exc:
            return _complaints(exc, model)
        return []


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong with a check of a checklist."""

    text: str
    at: tuple[str | int, ...]  # keys from the check on, such as ("params", "rows", 0)


def _complaints(exc: ValidationError, model: type[Params]) -> list[Complaint]:
    complaints = []
    for error in exc.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            text = f"unknown parameter {where}{did_you_mean(str(error['loc'][-1]), model.model_fields)}"
        else:
            text = f"{where or 'params'}: {error['msg'].removeprefix('Value error, ')}"
        complaints.append(Complaint(text, ("params", *error["loc"])))
    return complaints


def _make(name: str, kind: type[Kind]) -> Kind:
    """The kind, once its example is seen to be good: what it changes, reads and uses up is taken from that."""
    instance = kind()
    try:
        _ = instance.effects
    except ValidationError as exc:
        problems = "; ".join(complaint.text for complaint in _complaints(exc, kind.params))
        raise RegistryError(f"kind {name}: its `example` isn't valid: {problems}") from exc
    return instance


def _origin(entry: importlib.metadata.EntryPoint) -> str:
    return f"plugin {entry.dist.name}" if entry.dist else f"plugin {entry.value}"


def _import(name: str, where: str, origin: str) -> type[Kind]:
    module, _, attribute = where.partition(":")
    try:
        value = getattr(importlib.import_module(module), attribute)
    # A plugin's module may raise anything while it is imported; the message says which one it was.
    except Exception as exc:
        raise RegistryError(
            f"kind {name} of {origin} does not import from {where}: {type(exc).__name__}: {exc}"
        ) from exc
    if not (isinstance(value, type) and issubclass(value, Kind)):
        raise RegistryError(f"kind {name} of {origin}: {where} isn't a subclass of checks.contract.Kind")
    if value.name != name:
        raise RegistryError(f"kind {name} of {origin}: {where} calls itself {value.name!r}")
    return value
