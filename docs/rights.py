"""What the shipped checklist needs of everybody: the Roles in deploy/kubernetes and the page of rights."""  # noqa: INP001  beside a script

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from bot.app import load_checklist
from bot.settings import load_settings
from bot.steps.rights import by_target, of_checklist
from checks.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bot.settings import Settings
    from checks.rights import Grant

ROOT = Path(__file__).parents[1]
OVERLAY = ROOT / "deploy" / "kubernetes" / "overlays" / "example"
ROLES = ROOT / "deploy" / "kubernetes" / "rights" / "roles.yaml"
VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")

ROLES_HEAD = """# Written by docs/generate.py from the rights that the checks and steps of the shipped checklist declare. Do not edit.
# Another checklist, or other names: `release-bot doctor` says which rule is missing.
"""


def configuration() -> Settings:
    """That of the example overlay, with something in each of its variables."""
    path = OVERLAY / "release-bot.yml"
    names = VARIABLE.findall(path.read_text(encoding="utf-8"))
    return load_settings(path, {name: f"value-of-{name}" for name in names})


def granted() -> list[Grant]:
    """What the example overlay has to grant in the cluster, what is referred to by name left out."""
    settings, registry = configuration(), Registry.load()
    demands = of_checklist(load_checklist(settings.checklist, registry), registry)
    found = by_target(demands, settings.target_values())
    return sorted({grant for grants in found.values() for grant in grants})


def roles() -> str:
    """The file of the Roles: one in each namespace of the product."""
    namespaces: dict[str, list[Grant]] = defaultdict(list)
    for grant in granted():
        namespaces[grant.namespace].append(grant)
    return ROLES_HEAD + "---\n".join(_role(name, grants) for name, grants in namespaces.items())


def _role(namespace: str, grants: Iterable[Grant]) -> str:
    verbs: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for grant in grants:
        verbs[grant.group, grant.resource, grant.name].append(grant.verb)
    lines = [
        "apiVersion: rbac.authorization.k8s.io/v1",
        "kind: Role",
        "metadata:",
        "  name: release-bot",
        f"  namespace: {namespace}",
        "rules:",
    ]
    for (group, resource, name), allowed in verbs.items():
        named = f", resourceNames: [{name}]" if name else ""
        lines.append(f'  - {{apiGroups: ["{group}"], resources: [{resource}]{named}, verbs: [{", ".join(allowed)}]}}')
    return "\n".join(lines) + "\n"
