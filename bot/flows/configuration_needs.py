"""Which settings, cluster rights and vendors a checklist needs, grouped by part of the configuration. Asks nobody."""

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


EVERY_RELEASE = "every release"  # in place of a line, for what every release needs
_BASE_NEEDS = (READ_CONTENTS, Setting("registry.url"), Setting("registry.image"))
_STEP_SECTIONS = ("registry",)  # used to resolve a version only, so that a Target does not have them
_SHARED_SECTIONS = (*VENDOR_PARTS, *_STEP_SECTIONS)  # top-level sections of release-bot.yml
_COMMON_SECTIONS = frozenset(_SHARED_SECTIONS) - {"stripe"}  # a target may have its own stripe section
_UNTESTED = frozenset(
    {"sentry.dsn", "stripe.webhook_secret"}
)  # no request needs them, so the rest of the section is asked without
_BACKUP_OBJECTS = frozenset({Of.CRONJOB, Of.BACKUP_NAMESPACE, Of.BACKUP_REFERRED})
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
class PartFinding:
    """A finding with the name of the part that it is about, as people know it."""

    part: str
    finding: Finding

    def with_clean_words(self, clean: Callable[[str], str]) -> PartFinding:
        """Return the same with every text passed through ``clean``: a vendor's words may be among them."""
        one = self.finding
        words = replace(one, what=clean(one.what), hint=clean(one.hint), rule=clean(one.rule))
        return replace(self, finding=words)


@dataclass
class Part:
    """What the checklist needs of one section of the configuration, of one target or of all."""

    section: str  # of the configuration, or key of a target
    title: str
    target: Target
    needs: dict[Setting, tuple[str, ...]] = field(default_factory=dict)
    rights: dict[ClusterRight, tuple[str, ...]] = field(default_factory=dict)
    unset: dict[str, tuple[str, ...]] = field(default_factory=dict)  # setting -> lines that need it

    @property
    def lines(self) -> tuple[str, ...]:
        """The ids of the lines of the checklist that need this part, sorted."""
        return tuple(sorted({line for lines in (*self.needs.values(), *self.rights.values()) for line in lines}))


def part_title(section: str, target: str) -> str:
    """Return what people call a section of the configuration, with the name of the target if it is the target's own."""
    name = _TITLES.get(section, section)
    return name if section in _COMMON_SECTIONS or not target else f"{name} of {target}"


def list_needed_parts(
    settings: Settings, checklist: Checklist, registry: Registry
) -> tuple[list[Part], list[PartFinding]]:
    """Return the parts that can be asked, and the findings about the others: not configured, forbidden or not needed."""
    parts: dict[tuple[str, str], Part] = {}
    targets = settings.target_values()
    # Has only the sections that all targets share: for lines whose own target is not configured.
    shared_target = settings.model_copy(update={"targets": {"": TargetSection()}}).target_values()[""]
    unknown_targets: dict[str, tuple[str, ...]] = {}  # targets that are not configured -> lines that need them
    for demand in [*of_checklist(checklist, registry), Demand(EVERY_RELEASE, settings.environment, _BASE_NEEDS)]:
        name = demand.target or settings.environment
        if name in targets:
            _add_demand(parts, demand, settings, targets[name])
            continue
        shared_uses = [use for use in demand.uses if use.setting.partition(".")[0] in _COMMON_SECTIONS]
        if demand.rights or len(shared_uses) < len(demand.uses):
            unknown_targets[name] = (*unknown_targets.get(name, ()), demand.line)
        _add_demand(parts, Demand(demand.line, name, shared_uses), settings, shared_target)
    findings = [
        PartFinding(
            f"Target {name}",
            Finding(State.UNSET, "there is no such target", f"Add targets.{name} to release-bot.yml.", lines=lines),
        )
        for name, lines in unknown_targets.items()
    ]
    findings += [PartFinding(part.title, _unset_finding(part)) for part in parts.values() if part.unset]
    findings += _find_forbidden_checks(checklist, registry, targets)
    findings += _list_unused_vendors(settings, {part.section for part in parts.values()})
    return [part for part in parts.values() if part.unset.keys() <= _UNTESTED], findings


def _find_forbidden_checks(
    checklist: Checklist, registry: Registry, targets: Mapping[str, Target]
) -> list[PartFinding]:
    """Return a finding for each target on which checks that change data are refused (promise P11)."""
    lines_by_refusal: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for check in checklist.checks:
        if check.same_as is not None or check.target not in targets or check.kind not in registry.names():
            continue
        try:
            refuse_if_forbidden(registry.get(check.kind), targets[check.target])
        except CheckError as error:
            key = (check.target, error.summary, error.hint)
            lines_by_refusal[key] = (*lines_by_refusal.get(key, ()), check.id)
    return [
        PartFinding(f"Target {name}", Finding(State.MISSING, summary, hint, lines=lines))
        for (name, summary, hint), lines in lines_by_refusal.items()
    ]


def _add_demand(parts: dict[tuple[str, str], Part], demand: Demand, settings: Settings, target: Target) -> None:
    """Add what one line needs to each part of ``parts`` that has it; new parts are made."""

    def part_of(section: str) -> Part:
        name = "" if section in _COMMON_SECTIONS else target.name
        return parts.setdefault((section, name), Part(section, part_title(section, target.name), target))

    line = (demand.line,)
    for use in demand.uses:
        section = use.setting.partition(".")[0]
        needed_part = part_of(section)
        if _read_setting(settings if section in _STEP_SECTIONS else target, use.setting) in (None, ""):
            needed_part.unset[use.setting] = (*needed_part.unset.get(use.setting, ()), *line)
        elif line[0] not in needed_part.needs.get(use, ()):
            needed_part.needs[use] = (*needed_part.needs.get(use, ()), *line)
    if not demand.rights:
        return
    sections = {"kubernetes"} | ({"backup"} if any(right.of in _BACKUP_OBJECTS for right in demand.rights) else set())
    for section in sorted(sections):
        if getattr(target, section) is None:
            needed_part = part_of(section)
            needed_part.unset[section] = (*needed_part.unset.get(section, ()), *line)
    if target.kubernetes is not None:
        lines_by_right = part_of("kubernetes").rights
        for right in demand.rights:
            lines_by_right[right] = (*lines_by_right.get(right, ()), *line)


def _read_setting(model: Any, setting: str) -> Any:
    """Return the value of a setting (keys with dots); None if one of its sections is not configured."""
    for key in setting.split("."):
        model = getattr(model, key, None)
    return model.get_secret_value() if hasattr(model, "get_secret_value") else model


def _unset_finding(part: Part) -> Finding:
    lines = tuple(sorted({line for lines in part.unset.values() for line in lines}))
    settings = sorted(key for key in part.unset if key.rpartition(".")[0] not in part.unset)
    settings = [
        key if key.partition(".")[0] in _SHARED_SECTIONS else f"targets.{part.target.name}.{key}" for key in settings
    ]
    names = ", ".join(settings)
    return Finding(
        State.UNSET,
        f"{names} {'is' if len(settings) == 1 else 'are'} not set",
        "Set it in release-bot.yml.",
        lines=lines,
    )


def _list_unused_vendors(settings: Settings, used_sections: set[str]) -> list[PartFinding]:
    """Return a note for each shared section that no line needs, configured or not."""
    unused = "configured, but no line of the checklist needs it"
    missing = "not configured; no line of the checklist needs it"
    return [
        PartFinding(_TITLES[section], Finding(State.NOTE, missing if getattr(settings, section) is None else unused))
        for section in _SHARED_SECTIONS
        if section not in used_sections
    ]
