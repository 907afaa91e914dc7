"""What of the configuration, the clusters and the vendors a checklist needs, part by part; nothing is asked here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bot.settings import Settings, TargetSection
from bot.steps.rights import Demand, of_checklist
from checks.checkup.finding import Finding, State
from checks.contract import CheckError
from checks.runner import refuse_if_forbidden
from clients.needs import READ_CONTENTS, ClusterRight, Of, Setting
from clients.target import VENDOR_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bot.domain.checklist import Checklist
    from checks.registry import Registry
    from clients.target import Target


EVERY_RELEASE = "every release"  # uses these, whatever its checklist says
_ALWAYS = (READ_CONTENTS, Setting("registry.url"), Setting("registry.image"))
_OF_STEPS = ("registry",)  # which only a release's source asks, so that a Target has none
_SHARED = (*VENDOR_PARTS, *_OF_STEPS)  # sections of their own in release-bot.yml
_OF_ALL = frozenset(_SHARED) - {"stripe"}  # of which a target may have another one
_ONLY_SET = frozenset({"sentry.dsn", "stripe.webhook_secret"})  # nobody is asked with these: the rest is, without them
_OF_BACKUP = frozenset({Of.CRONJOB, Of.BACKUP_NAMESPACE, Of.BACKUP_REFERRED})
_TITLES = {
    "database_url": "Database",
    "restore_database_url": "Restore server",
    "migrate_database_url": "Database for migrations",
    "kubernetes": "Kubernetes",
    "api_url": "API",
    "frontend_url": "Frontend",
    "backup": "Backup bucket",
    "sentry": "Sentry",
    "grafana": "Grafana",
    "stripe": "Stripe",
    "github": "GitHub",
    "vercel": "Vercel",
    "registry": "Image registry",
    "login": "Test user",
    "tenant": "Test tenant",
}


@dataclass(frozen=True)
class Said:
    """A finding and the part that it is about, for people."""

    part: str
    finding: Finding

    def cleaned(self, clean: Callable[[str], str]) -> Said:
        """The same in words that may be shown: a vendor's are among them."""
        found = self.finding
        words = replace(found, what=clean(found.what), hint=clean(found.hint), rule=clean(found.rule))
        return replace(self, finding=words)


@dataclass
class Part:
    """What is needed of one section of the configuration, of one target or of all."""

    section: str  # of the configuration, or key of a target
    title: str
    target: Target
    needs: dict[Setting, tuple[str, ...]] = field(default_factory=dict)
    rights: dict[ClusterRight, tuple[str, ...]] = field(default_factory=dict)
    unset: dict[str, tuple[str, ...]] = field(default_factory=dict)  # setting -> lines that need it

    @property
    def lines(self) -> tuple[str, ...]:
        """The ids of the lines that need it."""
        return tuple(sorted({line for lines in (*self.needs.values(), *self.rights.values()) for line in lines}))


def title(section: str, target: str) -> str:
    """What people call a section of the configuration of the target of that name."""
    name = _TITLES.get(section, section)
    return name if section in _OF_ALL or not target else f"{name} of {target}"


def needed(settings: Settings, checklist: Checklist, registry: Registry) -> tuple[list[Part], list[Said]]:
    """The parts that are there to be asked, and what is to be said of the others: not configured, or not needed."""
    parts: dict[tuple[str, str], Part] = {}
    targets = settings.target_values()
    # What has only what all targets share: for lines whose own target is not configured.
    bare = settings.model_copy(update={"targets": {"": TargetSection()}}).target_values()[""]
    strangers: dict[str, tuple[str, ...]] = {}  # targets that are not configured -> lines that need them
    for demand in [*of_checklist(checklist, registry), Demand(EVERY_RELEASE, settings.environment, _ALWAYS)]:
        name = demand.target or settings.environment
        if name in targets:
            _add(parts, demand, settings, targets[name])
            continue
        apart = [use for use in demand.uses if use.setting.partition(".")[0] in _OF_ALL]
        if demand.rights or len(apart) < len(demand.uses):
            strangers[name] = (*strangers.get(name, ()), demand.line)
        _add(parts, Demand(demand.line, name, apart), settings, bare)
    said = [
        Said(
            f"Target {name}",
            Finding(State.UNSET, "there is no such target", f"Add targets.{name} to release-bot.yml.", lines=lines),
        )
        for name, lines in strangers.items()
    ]
    said += [Said(part.title, _unset(part)) for part in parts.values() if part.unset]
    said += _forbidden(checklist, registry, targets)
    said += _unneeded(settings, {part.section for part in parts.values()})
    return [part for part in parts.values() if part.unset.keys() <= _ONLY_SET], said


def _forbidden(checklist: Checklist, registry: Registry, targets: Mapping[str, Target]) -> list[Said]:
    """Checks that change data, on targets where they never would (promise P11)."""
    found: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for check in checklist.checks:
        if check.same_as is not None or check.target not in targets or check.kind not in registry.names():
            continue
        try:
            refuse_if_forbidden(registry.get(check.kind), targets[check.target])
        except CheckError as error:
            key = (check.target, error.summary, error.hint)
            found[key] = (*found.get(key, ()), check.id)
    return [
        Said(f"Target {name}", Finding(State.MISSING, summary, hint, lines=lines))
        for (name, summary, hint), lines in found.items()
    ]


def _add(parts: dict[tuple[str, str], Part], demand: Demand, settings: Settings, target: Target) -> None:
    """Put what a line needs to the parts that it needs it of."""

    def part(section: str) -> Part:
        name = "" if section in _OF_ALL else target.name
        return parts.setdefault((section, name), Part(section, title(section, target.name), target))

    line = (demand.line,)
    for use in demand.uses:
        section = use.setting.partition(".")[0]
        found = part(section)
        if _value(settings if section in _OF_STEPS else target, use.setting) in (None, ""):
            found.unset[use.setting] = (*found.unset.get(use.setting, ()), *line)
        elif line[0] not in found.needs.get(use, ()):
            found.needs[use] = (*found.needs.get(use, ()), *line)
    if not demand.rights:
        return
    sections = {"kubernetes"} | ({"backup"} if any(right.of in _OF_BACKUP for right in demand.rights) else set())
    for section in sorted(sections):
        if getattr(target, section) is None:
            found = part(section)
            found.unset[section] = (*found.unset.get(section, ()), *line)
    if target.kubernetes is not None:
        known = part("kubernetes").rights
        for right in demand.rights:
            known[right] = (*known.get(right, ()), *line)


def _value(model: Any, dotted: str) -> Any:
    """What stands in a setting; None where one of its sections is not there."""
    for key in dotted.split("."):
        model = getattr(model, key, None)
    return model.get_secret_value() if hasattr(model, "get_secret_value") else model


def _unset(part: Part) -> Finding:
    lines = tuple(sorted({line for lines in part.unset.values() for line in lines}))
    settings = sorted(key for key in part.unset if key.rpartition(".")[0] not in part.unset)
    settings = [key if key.partition(".")[0] in _SHARED else f"targets.{part.target.name}.{key}" for key in settings]
    names = ", ".join(settings)
    return Finding(
        State.UNSET,
        f"{names} {'is' if len(settings) == 1 else 'are'} not set",
        "Set it in release-bot.yml.",
        lines=lines,
    )


def _unneeded(settings: Settings, used: set[str]) -> list[Said]:
    """Vendors that no line needs: nothing is to be done, and nothing is asked."""
    said = []
    for section in _SHARED:
        if section in used:
            continue
        there = getattr(settings, section) is not None
        what = (
            "configured, but no line of the checklist needs it: not asked"
            if there
            else "no line of the checklist needs it"
        )
        said.append(Said(_TITLES[section], Finding(State.NOTE, what if there else f"not configured; {what}")))
    return said
