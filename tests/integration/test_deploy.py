"""deploy/kubernetes on an API server: it takes every object, and the Roles are enough for the bot and no more."""

import asyncio
import dataclasses
import itertools
import json
import runpy
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from bot.app import build_target_deps, load_checklist
from bot.errors import StepError
from bot.flows.deploying.preflight import preflight
from bot.flows.needed import needed
from bot.flows.step_inspection import inspect_step
from bot.settings import Settings, load_settings
from bot.steps.contract import Shipment
from bot.steps.rights import by_target, of_plan
from checks.checkup.cluster import cluster
from checks.registry import Registry
from clients.connections import Clients
from clients.permissions import refused
from clients.rights import Grant
from sandbox.kube.account import install, shipped_objects
from sandbox.kube.seed import BackupSeed, BucketSeed, Seed, production_app, seed, staging_app
from tests.fix_account import rules
from tests.fix_kube import Kube, eventually

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
MADE = runpy.run_path(str(ROOT / "docs" / "rights.py"))
BOT, STAGING, PRODUCTION = "release-bot", "solvereign-staging", "solvereign"
SECRETS = {f"SOLVEREIGN_{name}": "x" for name in ("SENTRY_DSN", "STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET")}
SHIPMENT = Shipment("v4.8.0", "4.8.0", "c0ffee" * 6 + "c0ff", "ghcr.io/solvereign/api@sha256:" + "ab" * 32)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RESOURCES = (
    *itertools.product(
        [""], ("pods", "pods/log", "pods/exec", "secrets", "configmaps", "serviceaccounts", "serviceaccounts/token")
    ),
    *itertools.product(["apps"], ("deployments", "deployments/scale", "replicasets", "statefulsets", "daemonsets")),
    *itertools.product(["batch"], ("jobs", "cronjobs")),
    *itertools.product(["rbac.authorization.k8s.io"], ("roles", "rolebindings")),
)


def _renamed(found: Any, names: dict[str, str]) -> Any:
    """The same with other namespaces: those of the test."""
    if isinstance(found, list):
        return [_renamed(one, names) for one in found]
    if not isinstance(found, dict):
        return found
    changed = {key: _renamed(value, names) for key, value in found.items()}
    if isinstance(changed.get("namespace"), str):
        changed["namespace"] = names[changed["namespace"]]
    if changed.get("kind") == "Namespace":
        changed["metadata"]["name"] = names[changed["metadata"]["name"]]
    return changed


def _grants(roles: Iterable[Any]) -> set[Grant]:
    return {
        Grant(role["metadata"]["namespace"], group, resource, verb, name)
        for role in roles
        for rule in role["rules"]
        for group, resource, verb, name in itertools.product(
            rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
        )
    }


class Installed:
    """The Roles of deploy/, bound to an account, on a cluster with the product in two namespaces."""

    def __init__(self, kube: Kube, folder: Path) -> None:
        self.names = {PRODUCTION: kube.namespace, STAGING: kube.another_namespace(), BOT: kube.another_namespace()}
        asyncio.run(seed(kube.kubeconfig, self._product()))
        self.kubeconfig = asyncio.run(install(kube.kubeconfig, KUBERNETES, self.names, folder / "account"))
        self.settings = self._settings(folder)

    def _product(self) -> Seed:
        production, staging = self.names[PRODUCTION], self.names[STAGING]
        bucket = BucketSeed("http://127.0.0.1:1", "key", "secret")
        database = {"PGHOST": "127.0.0.1", "PGPASSWORD": "x"}
        return Seed(
            (production_app(SECRETS, production), staging_app(SECRETS, staging)),
            tuple(BackupSeed(name, "any", database, bucket) for name in (production, staging)),
        )

    def _settings(self, folder: Path) -> Settings:
        text = (KUBERNETES / "overlays/example/release-bot.yml").read_text(encoding="utf-8")
        body = _renamed(yaml.safe_load(text), self.names)
        for target in body["targets"].values():
            target["kubernetes"]["kubeconfig"] = str(self.kubeconfig)
        path = folder / "release-bot.yml"
        path.write_text(yaml.safe_dump(body), encoding="utf-8")
        for name in MADE["SECRET_FILE"].findall(text):
            path.with_name(name).write_text("x", encoding="utf-8")
        return load_settings(path, {})

    def granted(self) -> set[Grant]:
        """What the files grant."""
        return _grants(found for found in shipped_objects(KUBERNETES, self.names) if found["kind"] == "Role")


def test_the_roles_are_enough_and_no_more(kube: Kube, tmp_path: Path) -> None:
    """The doctor finds no right missing in either namespace; each right beside the granted ones is refused."""
    installed = Installed(kube, tmp_path)
    registry = Registry.load()
    parts, _ = needed(installed.settings, load_checklist("solvereign", registry), registry)
    asked = [part for part in parts if part.section == "kubernetes"]
    assert len(asked) == 2
    for part in asked:
        assert part.target is not None
        assert [(found.state, found.what) for found in cluster(part.target, part.rights) if not found.good] == []
    granted = installed.granted()
    named = {(grant.group, grant.resource): grant.name for grant in granted if grant.name}
    universe = {
        Grant(namespace, group, resource, verb, name)
        for namespace, (group, resource), verb in itertools.product(installed.names.values(), RESOURCES, VERBS)
        for name in {"", named.get((group, resource), "")}
    }
    # A right to any object is one to each of them.
    allowed = {grant for grant in universe if {grant, dataclasses.replace(grant, name="")} & granted}
    with Clients(installed.settings.target_values()["production"]) as clients:
        assert set(refused(clients.kube(), universe | granted)) == universe - allowed


def test_each_right_of_the_roles_is_missed_before_the_deploy(kube: Kube, tmp_path: Path) -> None:
    """With one right less: what plan, watch and rollback need is named and refused before the first step; of the rest, which
    only checks need, the doctor says the same and the deploy is not held up.
    """
    installed, registry = Installed(kube, tmp_path), Registry.load()
    checklist = load_checklist("solvereign", registry)
    settings = installed.settings
    asking = build_target_deps(settings, registry, lambda text: text)
    only = {"migrate_database_url": None, "github": None}  # they are not there: here the cluster is asked alone
    asking = dataclasses.replace(
        asking, targets={name: target.model_copy(update=only) for name, target in asking.targets.items()}
    )
    planned = set(by_target(of_plan(checklist, registry), asking.targets)["production"])
    parts: list[Any] = [part for part in needed(settings, checklist, registry)[0] if part.section == "kubernetes"]
    roles = [found for found in shipped_objects(KUBERNETES, installed.names) if found["kind"] == "Role"]
    refusals = dict[Grant, str]()
    with (
        Clients(asking.targets["production"]) as clients,
        inspect_step(asking, checklist.deploy[0], SHIPMENT, None, cancelled=threading.Event()) as look,
    ):
        bot = clients.kube()

        def grant(role: Any, granted: set[Grant]) -> None:
            """Change a Role; returns once the server says so."""
            name, everything = role["metadata"]["name"], _grants([role])
            body = {"metadata": {"name": name}, "rules": rules(granted)}
            kube.rbac.replace_namespaced_role(name, role["metadata"]["namespace"], body)
            eventually("the rights", lambda: set(refused(bot, everything)) == everything - granted)

        for role in roles:
            for missing in sorted(_grants([role])):
                grant(role, _grants([role]) - {missing})
                if missing in planned:
                    with pytest.raises(StepError) as said:
                        preflight(asking, checklist, (), look)
                    refusals[missing] = said.value.user_message
                    continue
                of = next(part for part in parts if part.target.kubernetes.namespace == missing.namespace)
                refusals[missing], *more = [one.what for one in cluster(of.target, of.rights) if not one.good]
                # A right to any object is one to each, and the logs of one pod are asked for by its name too.
                named = dataclasses.replace(missing, name="release-bot-restore-drill")
                assert set(more) <= {f"the bot may not {named}"}
            grant(role, _grants([role]) & planned)
        preflight(asking, checklist, (), look)
    assert refusals == {right: f"the bot may not {right}" for right in installed.granted()}
    assert planned <= refusals.keys()


def test_what_it_must_not_do_is_refused(kube: Kube, tmp_path: Path) -> None:
    """Not only by what the server says: a Deployment deleted, a Secret read that is not named, another Deployment changed."""
    installed = Installed(kube, tmp_path)
    production = installed.names[PRODUCTION]
    kube.core.create_namespaced_secret(production, {"metadata": {"name": "customers"}, "stringData": {"a": "b"}})
    with Clients(installed.settings.target_values()["production"]) as clients:
        bot = clients.kube()
        assert bot.core.read_namespaced_secret("api-env", production).metadata.name == "api-env"
        calls = [
            lambda: bot.apps.delete_namespaced_deployment("api", production),
            lambda: bot.core.read_namespaced_secret("customers", production),
            lambda: bot.core.list_namespaced_secret(production),
            lambda: bot.apps.patch_namespaced_deployment("other", production, {"spec": {"replicas": 0}}),
            lambda: bot.batch.create_namespaced_job(production, {"metadata": {"name": "any"}}),
        ]
        for call in calls:
            with pytest.raises(ApiException) as said:
                call()
            assert said.value.status == 403
    assert kube.apps.read_namespaced_deployment("api", production).metadata.name == "api"


@pytest.mark.kube
def test_a_real_api_server_takes_every_object(kube_testbed: tuple[Path, Any], tmp_path: Path) -> None:
    """Applied on the server's side, nothing of it is dropped, and with its Secret the pods come up."""
    kubeconfig, api = kube_testbed
    kube = Kube("testbed", kubeconfig, "default", api)
    names = {name: kube.another_namespace() for name in (BOT, STAGING, PRODUCTION)}
    made = kube.kubectl("kustomize", str(KUBERNETES / "overlays" / "example"))
    objects = [_renamed(found, names) for found in yaml.safe_load_all(made.stdout)]
    kinds = [found["kind"] for found in objects]
    assert {"Namespace", "ServiceAccount", "Deployment", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget"} < set(
        kinds
    )
    for found in objects:
        if found["kind"] == "PodDisruptionBudget":
            found["apiVersion"] = "policy/v1beta1"  # this server is older than policy/v1, and the fields are the same
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    applied = kube.kubectl("--namespace=", "apply", "--server-side", "--filename", str(file))
    assert applied.returncode == 0, applied.stderr
    stored = json.loads(kube.kubectl("--namespace=", "get", "--filename", str(file), "--output", "json").stdout)[
        "items"
    ]
    assert [_dropped(wanted, got) for wanted, got in zip(objects, stored, strict=True)] == [[] for _ in objects]
    secret = {"metadata": {"name": BOT}, "stringData": {"SLACK_BOT_TOKEN": "xoxb-example"}}
    kube.core.create_namespaced_secret(names[BOT], secret)
    apps: Any = client.AppsV1Api(api)
    eventually("two replicas", lambda: apps.read_namespaced_deployment(BOT, names[BOT]).status.available_replicas == 2)
    for name in names.values():
        kube.core.delete_namespace(name)


def _dropped(wanted: Any, got: Any, at: str = "") -> list[str]:
    """Where the server has something else than was applied; what it fills in by itself does not count."""
    if isinstance(wanted, dict):
        return [line for key, value in wanted.items() for line in _dropped(value, (got or {}).get(key), f"{at}.{key}")]
    if isinstance(wanted, list):
        pairs = zip(wanted, got, strict=True) if got and len(got) == len(wanted) else [(wanted, None)]
        return [line for one, other in pairs for line in _dropped(one, other, f"{at}[]")] if got else [at]
    return [] if wanted == got else [at]
