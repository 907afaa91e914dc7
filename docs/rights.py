"""What the shipped checklist needs of everybody: the Roles in deploy/kubernetes and the page of rights."""  # noqa: INP001  beside a script

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bot.app import load_checklist
from bot.settings import load_settings
from bot.steps.rights import Demand, by_target, of_checklist
from checks.registry import Registry
from clients.rights import grants

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bot.settings import Settings
    from clients.needs import Setting
    from clients.rights import Grant

ROOT = Path(__file__).parents[1]
OVERLAY = ROOT / "deploy" / "kubernetes" / "overlays" / "example"
ROLES = ROOT / "deploy" / "kubernetes" / "rights" / "roles.yaml"
VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")
SECRET_FILE = re.compile(
    r"^\s*\w+_file: ([A-Z_]+)\b", re.MULTILINE
)  # key of the Secret that is mounted beside the configuration

PAGE = ROOT / "docs" / "reference" / "rights.md"

PAGE_HEAD = """# Rights

<!-- Written by docs/generate.py from what the checks and steps of the shipped checklist declare. Do not edit. -->

What the bot has to be allowed, where, and which line of the checklist needs it. Grant no more: what is not listed is not
used. Another checklist needs other rights; `release-bot doctor` asks every system and says what is missing and how to grant
it. The names of targets, namespaces and objects are those of
[the example](../../deploy/kubernetes/overlays/example/release-bot.yml).

## Slack

The scopes in [manifest.yml](../../manifest.yml).

## Kubernetes

A Role in each namespace of the product, bound to the bot's service account: [roles.yaml](../../deploy/kubernetes/rights/roles.yaml).
Nothing in the whole cluster, no `exec`, and nothing in the bot's own namespace. `create` on jobs or pods lets the bot run any
pod in the namespace of staging: keep nothing there that such a pod must not reach.

| namespace | right | needed by |
|---|---|---|
"""
REFERRED_OBJECTS = """
`environment.*` also reads the very Secrets, ConfigMaps and the service account that the Deployment and the backup CronJob of
production name: `get`, each by its name, as in [referred.yaml](../../deploy/kubernetes/overlays/example/referred.yaml).
Kubernetes has no right to see whether a Secret holds a key without its value: the bot keeps whether it is empty, and forgets
the rest at once.
"""
# How to come by what grants the rights; by the setting that holds it.
GRANTED_BY = {
    "database_url": (
        "The product's database",
        (
            "A role for the checks alone. [product-grants.sql](../../deploy/product-grants.sql) grants what is needed on staging and "
            "production, and lets the functions see the tables that they look for; "
            "[product-grants-staging.sql](../../deploy/product-grants-staging.sql) grants what is changed on staging: of the "
            "tenants the test tenant alone, of events and invoices those that the checks have sent. Row security hides all others."
        ),
    ),
    "migrate_database_url": (
        "The product's database, for migrations",
        "The role that owns the schema, because the files create and change tables. The step `migrate` alone uses it.",
    ),
    "restore_database_url": (
        "The server for restored backups",
        (
            "`CREATE ROLE release_restore LOGIN CREATEDB`, on a server that is not production's. "
            "A scratch database is made there, filled and dropped. The product that is started with it logs in as this role too: put "
            "its password into a Secret beside staging's Deployment, see [Install in a cluster](../howto/install-in-a-cluster.md)."
        ),
    ),
    "backup": (
        "The bucket of the backups",
        (
            "A user or role of IAM with these actions and no other: `s3:ListBucket` on the bucket, with the condition `s3:prefix` on "
            "`targets.staging.backup.prefix`, and `s3:GetObject` on what is under it."
        ),
    ),
    "github.repository": (
        "GitHub",
        "A GitHub App that is installed on this repository, or a fine-grained token for it. `contents: write` makes the tag.",
    ),
    "sentry.token": (
        "Sentry",
        "The token of an internal integration. An organization token is for CI and may not read issues.",
    ),
    "grafana.token": (
        "Grafana",
        "A token of a service account with the role Viewer, which has these on each dashboard and data source that it may see.",
    ),
    "stripe.api_key": (
        "Stripe",
        (
            "A restricted key of live mode for production (`rk_live_…`): only such a key sees live endpoints. What staging has is a "
            "key of test mode; with a live one every check that changes data refuses."
        ),
    ),
    "vercel.token": (
        "Vercel",
        (
            "A token may do what its owner may: make it for a user of the team who may deploy this project and no other, and let it "
            "expire."
        ),
    ),
}
REST = """
## Image registry

To look up the digest of an image: nothing where it is public, else a token that reads packages (`read:packages` at ghcr.io).
"""
ROLES_HEAD = """# Written by docs/generate.py from the rights that the checks and steps of the shipped checklist declare. Do not edit.
# Another checklist, or other names: `release-bot doctor` says which rule is missing.
"""


def configuration(path: Path = OVERLAY / "release-bot.yml") -> Settings:
    """That of the example overlay, or of another file, with something in each of its variables and secret files."""
    text = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(text, encoding="utf-8")
        for name in SECRET_FILE.findall(text):
            copy.with_name(name).write_text(f"value-of-{name}", encoding="utf-8")
        return load_settings(copy, {name: f"value-of-{name}" for name in VARIABLE.findall(text)})


def _demands() -> list[Demand]:
    registry = Registry.load()
    return of_checklist(load_checklist(configuration().checklist, registry), registry)


def collect_grants() -> list[Grant]:
    """What the example overlay has to grant in the cluster, what is referred to by name left out."""
    grants_by_target = by_target(_demands(), configuration().target_values())
    everything = {grant for target_grants in grants_by_target.values() for grant in target_grants}
    # A right to any object is one to each of them.
    return sorted(grant for grant in everything if not grant.name or replace(grant, name="") not in everything)


def roles() -> str:
    """The file of the Roles: one in each namespace of the product."""
    namespaces: dict[str, list[Grant]] = defaultdict(list)
    for grant in collect_grants():
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
    for (group, resource, name), allowed_verbs in verbs.items():
        names = f", resourceNames: [{name}]" if name else ""
        lines.append(
            f'  - {{apiGroups: ["{group}"], resources: [{resource}]{names}, verbs: [{", ".join(allowed_verbs)}]}}'
        )
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page of all rights."""
    return PAGE_HEAD + _kubernetes() + REFERRED_OBJECTS + "".join(_granted_by(setting) for setting in GRANTED_BY) + REST


def _kubernetes() -> str:
    targets = configuration().target_values()
    lines_by_grant: dict[Grant, set[str]] = defaultdict(set)
    for demand in _demands():
        for grant in grants(demand.rights, targets[demand.target]) if demand.rights else ():
            lines_by_grant[grant].add(demand.line)
    rows = []
    for grant, lines in sorted(lines_by_grant.items()):
        what = str(grant).removesuffix(f" in {grant.namespace}")
        rows.append(f"| {grant.namespace} | `{what}` | {_ids(lines)} |\n")
    return "".join(rows)


def _granted_by(setting: str) -> str:
    title, how = GRANTED_BY[setting]
    environment_name = configuration().environment
    lines_by_use: dict[tuple[str, Setting], set[str]] = defaultdict(set)
    for demand in _demands():
        for use in demand.uses:
            if use.setting == setting:
                lines_by_use[demand.target or environment_name, use].add(demand.line)
    rows = []
    for (target, use), lines in sorted(lines_by_use.items()):
        right = f"`{use.right}`{f' on `{use.on}`' if use.on else ''}" if use.right else "all that its owner may"
        rows.append(f"| {target} | {right} | {_ids(lines)} |\n")
    return f"\n## {title}\n\n{how}\n\n| for | right | needed by |\n|---|---|---|\n{''.join(rows)}"


def _ids(lines: Iterable[str]) -> str:
    return ", ".join(f"`{line}`" for line in sorted(lines))
