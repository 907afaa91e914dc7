"""What can be said of deploy/ without a cluster: the Roles are those that the code declares, the pod is a careful one."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.app import load_checklist
from bot.flows.configuration_needs import list_needed_parts
from bot.health import pages
from bot.steps.rights import of_checklist, of_step
from checks.checkup.finding import State
from checks.registry import Registry
from clients.needs import CHANGE_DEPLOYMENT, READ_DEPLOYMENT

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
RIGHTS = runpy.run_path(str(ROOT / "docs" / "rights.py"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _objects() -> list[dict[str, Any]]:
    files = [path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name != "kustomization.yaml"]
    return [document for path in files for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in _objects() if document["kind"] == kind]


def _pod() -> dict[str, Any]:
    (deployment,) = _of_kind("Deployment")
    return dict(deployment["spec"]["template"]["spec"])


def test_the_roles_are_up_to_date() -> None:
    """The Roles are those that docs/generate.py makes of what kinds and steps declare."""
    assert RIGHTS["ROLES"].read_text(encoding="utf-8") == RIGHTS["roles"]()


def test_the_page_of_rights_is_up_to_date_and_complete() -> None:
    """The page is up to date and names every right that a line of the checklist declares."""
    page = RIGHTS["page"]()
    assert RIGHTS["PAGE"].read_text(encoding="utf-8") == page
    registry = Registry.load()
    declared_rights = {
        (use.right, use.on, demand.line)
        for demand in of_checklist(load_checklist("solvereign", registry), registry)
        for use in demand.uses
        if use.right
    }
    rows = [row for row in page.splitlines() if row.startswith("|")]
    assert declared_rights
    assert [
        one for one in declared_rights if not any(all(f"`{word}`" in row for word in one if word) for row in rows)
    ] == []


def test_every_role_is_bound_to_the_account_of_the_bot() -> None:
    """Each Role is bound by its own name in its own namespace, and only to the bot's account."""
    roles = {(role["metadata"]["namespace"], role["metadata"]["name"]) for role in _of_kind("Role")}
    bindings = set()
    for binding in _of_kind("RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "release-bot", "namespace": "release-bot"}]
        bindings.add((binding["metadata"]["namespace"], binding["roleRef"]["name"]))
    assert bindings == roles
    assert not _of_kind("ClusterRole") + _of_kind("ClusterRoleBinding")


def test_secrets_are_only_referred_to() -> None:
    """No Secret is stored here, and the Role that reads Secrets names each of them."""
    assert _of_kind("Secret") == []
    rules = [rule for role in _of_kind("Role") for rule in role["rules"] if "secrets" in rule["resources"]]
    assert rules
    assert all(rule["resourceNames"] and rule["verbs"] == ["get"] for rule in rules)


def test_secrets_are_mounted_as_files() -> None:
    """The pod mounts the documented Secret beside the configuration and gets no secret as a variable."""
    pod, text = _pod(), (RIGHTS["OVERLAY"] / "release-bot.yml").read_text(encoding="utf-8")
    (container,) = pod["containers"]
    assert not {"env", "envFrom"} & container.keys()
    (config,) = [volume["projected"] for volume in pod["volumes"] if volume["name"] == "config"]
    assert config["sources"] == [{"configMap": {"name": "release-bot"}}, {"secret": {"name": "release-bot"}}]
    assert config["defaultMode"] == 0o440
    assert not RIGHTS["VARIABLE"].search(text)
    assert set(RIGHTS["configuration"]().secrets()) == {
        f"value-of-{name}" for name in RIGHTS["SECRET_FILE"].findall(text)
    }


@pytest.mark.parametrize(
    "file",
    [RIGHTS["OVERLAY"] / "release-bot.yml", ROOT / "release-bot.example.yml"],
    ids=["in the cluster", "with every key"],
)
def test_an_example_configures_all_that_the_checklist_needs(file: Path) -> None:
    """An example configuration leaves nothing unset that a line of the shipped checklist needs."""
    settings, registry = RIGHTS["configuration"](file), Registry.load()
    _, findings = list_needed_parts(settings, load_checklist(settings.checklist, registry), registry)
    assert [f"{one.part}: {one.finding.what}" for one in findings if one.finding.state is State.UNSET] == []


def test_the_pod_fits_the_image() -> None:
    """User, directories and port of the pod are those of the Dockerfile and the configuration."""
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
    http = RIGHTS["configuration"]().http
    assert (http.host, http.port) == ("0.0.0.0", container["ports"][0]["containerPort"])
    paths = pages(ready=dict, backlog=dict)
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
        assert container[probe]["httpGet"]["port"] == container["ports"][0]["name"]


def test_every_selector_matches_the_pods() -> None:
    """Deployment, topology spread, disruption budget and network policy select the bot's pods."""
    (deployment,), (budget,), (policy,) = map(_of_kind, ("Deployment", "PodDisruptionBudget", "NetworkPolicy"))
    (spread,) = _pod()["topologySpreadConstraints"]
    selector = {"matchLabels": deployment["spec"]["template"]["metadata"]["labels"]}
    selectors = [deployment["spec"]["selector"], budget["spec"]["selector"], policy["spec"]["podSelector"]]
    assert [*selectors, spread["labelSelector"]] == [selector] * 4


@pytest.mark.parametrize(
    ("key", "value"),
    [("allowPrivilegeEscalation", False), ("readOnlyRootFilesystem", True), ("capabilities", {"drop": ["ALL"]})],
)
def test_the_container_has_minimal_privileges(key: str, value: object) -> None:
    """The container meets the Pod Security Standard `restricted` and has a read-only root."""
    (container,) = _pod()["containers"]
    assert container["securityContext"][key] == value
    assert container["resources"]["requests"]
    assert container["resources"]["limits"]
    assert _pod()["securityContext"]["runAsNonRoot"] is True


def test_the_mitigation_declares_its_rights() -> None:
    """The variable that a rollback sets is a change of the Deployment, and its right is declared."""
    registry = Registry.load()
    (step,) = [step for step in load_checklist("solvereign", registry).rollback if step.id == "rollback.billing"]
    assert {READ_DEPLOYMENT, CHANGE_DEPLOYMENT} <= set(of_step(step, registry).rights)
