"""The pod of a restore drill, as it is handed to Kubernetes."""

import json
import threading
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from checks.contract import CheckContext, CheckError, Subject
from checks.kinds.restore_drill.boot_pod import PASSWORD, Boot, describe
from clients.connections import Clients
from clients.settings import Kubernetes
from clients.target import RestorePod, Target
from clients.workload import Workload
from tests.fix_checks import RecordingUndo

SECRET = "hunter2-hunter2"
DRILL = "restore_drill_1_00000000"


def env(url: str, settings: dict[str, str], *variables: dict[str, str]) -> dict[str, str]:
    """The variables of the product's container, each with its literal value or "from elsewhere"."""
    pod = describe_pod(url, settings, *variables)
    assert SECRET not in json.dumps(pod)
    entries: list[dict[str, str]] = pod["spec"]["containers"][0]["env"]
    return {entry["name"]: entry.get("value", "from elsewhere") for entry in entries}


def describe_pod(url: str, settings: dict[str, str], *variables: dict[str, str], image: str = "") -> dict[str, Any]:
    """The pod for a restore server at that address, with ``settings`` as its `restore_pod`."""
    container = {"name": "api", "image": "api:1", "env": [*variables], "ports": [{"containerPort": 8000}]}
    side = {"name": "proxy", "image": "proxy:1"}
    spec = {"containers": [side, container], "initContainers": [{"name": "migrate"}], "restartPolicy": "Always"}
    workload = Workload("deployment/api in staging", "staging", spec, {}, {"of": "the template"}, {})
    target = Target(
        name="staging",
        kubernetes=Kubernetes(namespace="staging"),
        restore_database_url=SecretStr(url),
        restore_pod=RestorePod.model_validate(settings),
    )
    ctx = CheckContext(
        check="go.restore",
        target=target,
        clients=Clients(target),
        undo=RecordingUndo(),
        subject=Subject(image=image),
        needs={},
        deadline=0.0,
        cancelled=threading.Event(),
        progress=lambda line: None,
    )
    return describe(Boot(), DRILL, workload, ctx)


@pytest.mark.parametrize(
    ("url", "settings", "value"),
    [
        (
            f"postgresql://r:{SECRET}@db:5432/postgres?sslmode=require",
            {},
            f"postgresql://r:$({PASSWORD})@db:5432/{DRILL}?sslmode=require",
        ),
        (
            f"postgresql://r@db/postgres?password={SECRET}&host=%2Frun",
            {},
            f"postgresql://r:$({PASSWORD})@db/{DRILL}?host=%2Frun",
        ),
        (f"postgresql://r:{SECRET}@db/", {"secret": ""}, f"postgresql://r@db/{DRILL}"),
        (
            f"host=db user=r password={SECRET}",
            {"database_url": "postgresql+asyncpg://$(r)@inside:5432/x"},
            f"postgresql+asyncpg://$$(r):$({PASSWORD})@inside:5432/{DRILL}",
        ),
    ],
)
def test_the_pod_contains_no_password(url: str, settings: dict[str, str], value: str) -> None:
    """The cluster adds the password from a Secret; the rest of the address is unchanged."""
    variables = env(url, settings)
    assert variables["SOLVEREIGN_DATABASE_URL"] == value
    assert (PASSWORD in variables) == bool(settings.get("secret", "release-bot-restore"))


def test_the_database_variable_is_replaced_in_any_spelling() -> None:
    """Every spelling of the database variable is replaced; other variables are those of the Deployment."""
    others = [{"name": "solvereign_database_url", "value": "postgresql://staging"}, {"name": "A", "value": "$(B)"}]
    variables = env("postgresql://r@db/", {}, *others)
    assert list(variables) == [PASSWORD, "SOLVEREIGN_DATABASE_URL", "A"]
    assert variables["A"] == "$(B)"


def test_the_pod_runs_only_the_product() -> None:
    """The pod has the image of the release, neither sidecars nor init containers, no restart and a deadline."""
    pod = describe_pod("postgresql://r@db/", {}, image="api@sha256:1")
    spec = pod["spec"]
    assert [one["image"] for one in spec["containers"]] == ["api@sha256:1"] * 2
    assert [one["name"] for one in spec["containers"]] == ["api", "release-bot-probe"]
    assert ("initContainers" in spec, spec["restartPolicy"], spec["activeDeadlineSeconds"]) == (False, "Never", 315)
    assert (pod["metadata"]["labels"], pod["metadata"]["annotations"]) == (
        {"release-bot/drill": DRILL},
        {"of": "the template"},
    )


@pytest.mark.parametrize("url", ["host=db user=r", "postgresql://db/", "postgresql://:x@db/"])
def test_an_unusable_database_address_is_an_error(url: str) -> None:
    """The error names the setting and does not repeat the address."""
    with pytest.raises(CheckError, match="restore_database_url isn't an address such as") as error:
        describe_pod(url, {})
    assert error.value.hint == "Set targets.staging.restore_pod.database_url in release-bot.yml."


@pytest.mark.parametrize("url", [f"postgresql://r:{SECRET}@db/", f"postgresql://r@db/?password={SECRET}"])
def test_a_password_in_the_address_for_the_pod_is_refused(url: str) -> None:
    """A password in this address would be readable in the pod."""
    with pytest.raises(ValidationError, match="the password belongs in the Secret"):
        RestorePod(database_url=url)
