"""What can be said of deploy/ without a cluster: the Roles are those that the code declares, the pod is a careful one."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.app import load_checklist
from bot.flows.needed import needed
from bot.health import pages
from bot.steps.rights import of_checklist, of_step
from checks.checkup.finding import State
from checks.registry import Registry
from clients.rights import CHANGE_DEPLOYMENT, READ_DEPLOYMENT

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
MADE = runpy.run_path(str(ROOT / "docs" / "rights.py"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _objects() -> list[dict[str, Any]]:
    files = [path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name != "kustomization.yaml"]
    return [found for path in files for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [found for found in _objects() if found["kind"] == kind]


def _pod() -> dict[str, Any]:
    (deployment,) = _of_kind("Deployment")
    return dict(deployment["spec"]["template"]["spec"])


def test_the_roles_are_up_to_date() -> None:
    """docs/generate.py has been run after the last change of what a kind or a step declares."""
    assert MADE["ROLES"].read_text(encoding="utf-8") == MADE["roles"]()


def test_the_page_of_rights_is_up_to_date_and_names_each() -> None:
    """The page is made anew too, and no right that a line declares for some system is left out of it."""
    page = MADE["page"]()
    assert MADE["PAGE"].read_text(encoding="utf-8") == page
    registry = Registry.load()
    declared = {
        (use.right, use.on, demand.line)
        for demand in of_checklist(load_checklist("solvereign", registry), registry)
        for use in demand.uses
        if use.right
    }
    rows = [row for row in page.splitlines() if row.startswith("|")]
    assert declared
    assert [one for one in declared if not any(all(f"`{word}`" in row for word in one if word) for row in rows)] == []


def test_every_role_is_bound_to_the_bots_account() -> None:
    """By the same name, in the same namespace, and to nobody else."""
    roles = {(role["metadata"]["namespace"], role["metadata"]["name"]) for role in _of_kind("Role")}
    bound = set()
    for binding in _of_kind("RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "release-bot", "namespace": "release-bot"}]
        bound.add((binding["metadata"]["namespace"], binding["roleRef"]["name"]))
    assert bound == roles
    assert not _of_kind("ClusterRole") + _of_kind("ClusterRoleBinding")


def test_secrets_are_only_named() -> None:
    """No Secret is kept here, and the Role that reads some names each of them."""
    assert _of_kind("Secret") == []
    rules = [rule for role in _of_kind("Role") for rule in role["rules"] if "secrets" in rule["resources"]]
    assert rules
    assert all(rule["resourceNames"] and rule["verbs"] == ["get"] for rule in rules)


def test_secrets_come_as_files() -> None:
    """From the Secret of the name that the guide says, beside the configuration; none as a variable."""
    pod, text = _pod(), (MADE["OVERLAY"] / "release-bot.yml").read_text(encoding="utf-8")
    (container,) = pod["containers"]
    assert not {"env", "envFrom"} & container.keys()
    (config,) = [volume["projected"] for volume in pod["volumes"] if volume["name"] == "config"]
    assert config["sources"] == [{"configMap": {"name": "release-bot"}}, {"secret": {"name": "release-bot"}}]
    assert config["defaultMode"] == 0o440
    assert not MADE["VARIABLE"].search(text)
    assert set(MADE["configuration"]().secrets()) == {f"value-of-{name}" for name in MADE["SECRET_FILE"].findall(text)}


@pytest.mark.parametrize(
    "file",
    [MADE["OVERLAY"] / "release-bot.yml", ROOT / "release-bot.example.yml"],
    ids=["in the cluster", "with every key"],
)
def test_an_example_has_all_that_the_checklist_needs(file: Path) -> None:
    """Nothing of what a line of the shipped checklist needs is left unset in a configuration that people copy."""
    settings, registry = MADE["configuration"](file), Registry.load()
    _, said = needed(settings, load_checklist(settings.checklist, registry), registry)
    assert [f"{one.part}: {one.finding.what}" for one in said if one.finding.state is State.UNSET] == []


def test_the_pod_is_that_of_the_image() -> None:
    """User, directories and port are those that the Dockerfile and the configuration say."""
    pod = _pod()
    (container,) = pod["containers"]
    security = pod["securityContext"]
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert (str(security["runAsUser"]), str(security["runAsGroup"])) == user
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    data = re.findall(r"RELEASE_BOT_DATA_DIR=(\S+)", DOCKERFILE)[0]
    config = Path(re.findall(r"RELEASE_BOT_CONFIG=(\S+)", DOCKERFILE)[0])
    assert mounts == {data: False, str(config.parent): True, "/tmp": False}
    assert (KUBERNETES / "overlays" / "example" / config.name).exists()
    http = MADE["configuration"]().http
    assert (http.host, http.port) == ("0.0.0.0", container["ports"][0]["containerPort"])
    known = pages(ready=dict, backlog=dict)
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in known
        assert container[probe]["httpGet"]["port"] == container["ports"][0]["name"]


def test_what_goes_by_labels_finds_the_pods() -> None:
    """The Deployment, the spread over nodes, the budget and the network policy select the bot's pods."""
    (deployment,), (budget,), (policy,) = map(_of_kind, ("Deployment", "PodDisruptionBudget", "NetworkPolicy"))
    (spread,) = _pod()["topologySpreadConstraints"]
    wanted = {"matchLabels": deployment["spec"]["template"]["metadata"]["labels"]}
    selectors = [deployment["spec"]["selector"], budget["spec"]["selector"], policy["spec"]["podSelector"]]
    assert [*selectors, spread["labelSelector"]] == [wanted] * 4


@pytest.mark.parametrize(
    ("key", "value"),
    [("allowPrivilegeEscalation", False), ("readOnlyRootFilesystem", True), ("capabilities", {"drop": ["ALL"]})],
)
def test_the_container_may_do_little(key: str, value: object) -> None:
    """As the Pod Security Standard `restricted` asks for, and with a root that cannot be written."""
    (container,) = _pod()["containers"]
    assert container["securityContext"][key] == value
    assert container["resources"]["requests"]
    assert container["resources"]["limits"]
    assert _pod()["securityContext"]["runAsNonRoot"] is True


def test_the_mitigation_declares_what_it_needs() -> None:
    """The variable that a rollback sets is a change of the Deployment, asked for before the deploy."""
    registry = Registry.load()
    (step,) = [step for step in load_checklist("solvereign", registry).rollback if step.id == "rollback.billing"]
    assert {READ_DEPLOYMENT, CHANGE_DEPLOYMENT} <= set(of_step(step, registry).rights)
