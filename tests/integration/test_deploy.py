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
from bot.flows.configuration_needs import list_needed_parts
from bot.flows.deploying.preflight import preflight
from bot.flows.step_inspection import inspect_step
from bot.settings import Settings, load_settings
from bot.steps.contract import ReleaseReference
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
RIGHTS = runpy.run_path(str(ROOT / "docs" / "rights.py"))
BOT, STAGING, PRODUCTION = "release-bot", "solvereign-staging", "solvereign"
SECRETS = {f"SOLVEREIGN_{name}": "x" for name in ("SENTRY_DSN", "STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET")}
SHIPMENT = ReleaseReference("v4.8.0", "4.8.0", "c0ffee" * 6 + "c0ff", "ghcr.io/solvereign/api@sha256:" + "ab" * 32)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RESOURCES = (
    *itertools.product(
        [""], ("pods", "pods/log", "pods/exec", "secrets", "configmaps", "serviceaccounts", "serviceaccounts/token")
    ),
    *itertools.product(["apps"], ("deployments", "deployments/scale", "replicasets", "statefulsets", "daemonsets")),
    *itertools.product(["batch"], ("jobs", "cronjobs")),
    *itertools.product(["rbac.authorization.k8s.io"], ("roles", "rolebindings")),
)


def _rename_namespaces(node: Any, names: dict[str, str]) -> Any:
    """A copy of an object with the namespaces of the test."""
    if isinstance(node, list):
        return [_rename_namespaces(one, names) for one in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _rename_namespaces(value, names) for key, value in node.items()}
    if isinstance(copy.get("namespace"), str):
        copy["namespace"] = names[copy["namespace"]]
    if copy.get("kind") == "Namespace":
        copy["metadata"]["name"] = names[copy["metadata"]["name"]]
    return copy


def _grants(roles: Iterable[Any]) -> set[Grant]:
    return {
        Grant(role["metadata"]["namespace"], group, resource, verb, name)
        for role in roles
        for rule in role["rules"]
        for group, resource, verb, name in itertools.product(
            rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
        )
    }


class Installation:
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
        body = _rename_namespaces(yaml.safe_load(text), self.names)
        for target in body["targets"].values():
            target["kubernetes"]["kubeconfig"] = str(self.kubeconfig)
        path = folder / "release-bot.yml"
        path.write_text(yaml.safe_dump(body), encoding="utf-8")
        for name in RIGHTS["SECRET_FILE"].findall(text):
            path.with_name(name).write_text("x", encoding="utf-8")
        return load_settings(path, {})

    def all_grants(self) -> set[Grant]:
        """Everything that the files grant."""
        return _grants(role for role in shipped_objects(KUBERNETES, self.names) if role["kind"] == "Role")


def test_the_roles_grant_exactly_what_is_needed(kube: Kube, tmp_path: Path) -> None:
    """The doctor finds no missing right in either namespace, and every other right is refused."""
    installation = Installation(kube, tmp_path)
    registry = Registry.load()
    parts, _ = list_needed_parts(installation.settings, load_checklist("solvereign", registry), registry)
    clusters = [part for part in parts if part.section == "kubernetes"]
    assert len(clusters) == 2
    for part in clusters:
        assert part.target is not None
        assert [
            (finding.state, finding.what) for finding in cluster(part.target, part.rights) if not finding.good
        ] == []
    all_grants = installation.all_grants()
    names = {(grant.group, grant.resource): grant.name for grant in all_grants if grant.name}
    universe = {
        Grant(namespace, group, resource, verb, name)
        for namespace, (group, resource), verb in itertools.product(installation.names.values(), RESOURCES, VERBS)
        for name in {"", names.get((group, resource), "")}
    }
    # A right to any object is one to each of them.
    expected_grants = {grant for grant in universe if {grant, dataclasses.replace(grant, name="")} & all_grants}
    with Clients(installation.settings.target_values()["production"]) as clients:
        assert set(refused(clients.kube(), universe | all_grants)) == universe - expected_grants


def test_each_missing_right_is_reported_before_the_deploy(kube: Kube, tmp_path: Path) -> None:
    """A right of plan, watch or rollback is reported before the first step; one of checks only does not stop the
    deploy.
    """
    installation, registry = Installation(kube, tmp_path), Registry.load()
    checklist = load_checklist("solvereign", registry)
    settings = installation.settings
    target_deps = build_target_deps(settings, registry, lambda text: text)
    only = {"migrate_database_url": None, "github": None}  # they are not there: here the cluster is asked alone
    target_deps = dataclasses.replace(
        target_deps, targets={name: target.model_copy(update=only) for name, target in target_deps.targets.items()}
    )
    needed_rights = set(by_target(of_plan(checklist, registry), target_deps.targets)["production"])
    parts: list[Any] = [
        part for part in list_needed_parts(settings, checklist, registry)[0] if part.section == "kubernetes"
    ]
    roles = [one for one in shipped_objects(KUBERNETES, installation.names) if one["kind"] == "Role"]
    refusals = dict[Grant, str]()
    with (
        Clients(target_deps.targets["production"]) as clients,
        inspect_step(target_deps, checklist.deploy[0], SHIPMENT, None, cancelled=threading.Event()) as look,
    ):
        bot = clients.kube()

        def grant(role: Any, grants: set[Grant]) -> None:
            """Change a Role; returns once the server says so."""
            name, everything = role["metadata"]["name"], _grants([role])
            body = {"metadata": {"name": name}, "rules": rules(grants)}
            kube.rbac.replace_namespaced_role(name, role["metadata"]["namespace"], body)
            eventually("the rights", lambda: set(refused(bot, everything)) == everything - grants)

        for role in roles:
            for lost_grant in sorted(_grants([role])):
                grant(role, _grants([role]) - {lost_grant})
                if lost_grant in needed_rights:
                    with pytest.raises(StepError) as error:
                        preflight(target_deps, checklist, (), look)
                    refusals[lost_grant] = error.value.user_message
                    continue
                of = next(part for part in parts if part.target.kubernetes.namespace == lost_grant.namespace)
                refusals[lost_grant], *more = [one.what for one in cluster(of.target, of.rights) if not one.good]
                # A right to any object is one to each, and the logs of one pod are asked for by its name too.
                named_grant = dataclasses.replace(lost_grant, name="release-bot-restore-drill")
                assert set(more) <= {f"the bot isn't allowed to {named_grant}"}
            grant(role, _grants([role]) & needed_rights)
        preflight(target_deps, checklist, (), look)
    assert refusals == {right: f"the bot isn't allowed to {right}" for right in installation.all_grants()}
    assert needed_rights <= refusals.keys()


def test_the_account_cannot_do_harm(kube: Kube, tmp_path: Path) -> None:
    """The server refuses to delete a Deployment, to read another Secret and to change another Deployment."""
    installation = Installation(kube, tmp_path)
    production = installation.names[PRODUCTION]
    kube.core.create_namespaced_secret(production, {"metadata": {"name": "customers"}, "stringData": {"a": "b"}})
    with Clients(installation.settings.target_values()["production"]) as clients:
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
            with pytest.raises(ApiException) as error:
                call()
            assert error.value.status == 403
    assert kube.apps.read_namespaced_deployment("api", production).metadata.name == "api"


@pytest.mark.kube
def test_a_real_api_server_accepts_every_object(kube_testbed: tuple[Path, Any], tmp_path: Path) -> None:
    """Server-side apply drops nothing, and with the Secret the pods start."""
    kubeconfig, api = kube_testbed
    kube = Kube("testbed", kubeconfig, "default", api)
    names = {name: kube.another_namespace() for name in (BOT, STAGING, PRODUCTION)}
    process = kube.kubectl("kustomize", str(KUBERNETES / "overlays" / "example"))
    objects = [_rename_namespaces(document, names) for document in yaml.safe_load_all(process.stdout)]
    kinds = [document["kind"] for document in objects]
    assert {"Namespace", "ServiceAccount", "Deployment", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget"} < set(
        kinds
    )
    for document in objects:
        if document["kind"] == "PodDisruptionBudget":
            document["apiVersion"] = (
                "policy/v1beta1"  # this server is older than policy/v1, and the fields are the same
            )
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    application = kube.kubectl("--namespace=", "apply", "--server-side", "--filename", str(file))
    assert application.returncode == 0, application.stderr
    stored_objects = json.loads(
        kube.kubectl("--namespace=", "get", "--filename", str(file), "--output", "json").stdout
    )["items"]
    assert [
        _differences(source, stored_object) for source, stored_object in zip(objects, stored_objects, strict=True)
    ] == [[] for _ in objects]
    secret = {"metadata": {"name": BOT}, "stringData": {"SLACK_BOT_TOKEN": "xoxb-example"}}
    kube.core.create_namespaced_secret(names[BOT], secret)
    apps: Any = client.AppsV1Api(api)
    eventually("two replicas", lambda: apps.read_namespaced_deployment(BOT, names[BOT]).status.available_replicas == 2)
    for name in names.values():
        kube.core.delete_namespace(name)


def _differences(source: Any, actual: Any, at: str = "") -> list[str]:
    """The paths at which the server has another value than was applied; values that it adds do not count."""
    if isinstance(source, dict):
        return [
            line
            for key, value in source.items()
            for line in _differences(value, (actual or {}).get(key), f"{at}.{key}")
        ]
    if isinstance(source, list):
        pairs = zip(source, actual, strict=True) if actual and len(actual) == len(source) else [(source, None)]
        return [line for one, other in pairs for line in _differences(one, other, f"{at}[]")] if actual else [at]
    return [] if source == actual else [at]
