"""The pod of a restore drill, as it is handed to Kubernetes."""

import json
import threading
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from checks.contract import CheckContext, CheckError, Subject
from checks.kinds.restore_drill.boot_pod import PASSWORD, Boot, describe
from clients.cluster import Kubernetes
from clients.connections import Clients
from clients.target import RestorePod, Target
from clients.workload import Workload
from tests.fix_checks import RecordingUndo

SECRET = "hunter2-hunter2"
DRILL = "restore_drill_1_00000000"


def env(url: str, settings: dict[str, str], *variables: dict[str, str]) -> dict[str, str]:
    """The variables of the product in that pod, where a text stands openly."""
    pod = described(url, settings, *variables)
    assert SECRET not in json.dumps(pod)
    found: list[dict[str, str]] = pod["spec"]["containers"][0]["env"]
    return {entry["name"]: entry.get("value", "from elsewhere") for entry in found}


def described(url: str, settings: dict[str, str], *variables: dict[str, str], image: str = "") -> dict[str, Any]:
    """The pod for a restore server at that address; ``settings``: of restore_pod."""
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
def test_no_password_stands_in_the_pod(url: str, settings: dict[str, str], value: str) -> None:
    """It is put in by the cluster, from a Secret; all else of the address stays."""
    found = env(url, settings)
    assert found["SOLVEREIGN_DATABASE_URL"] == value
    assert (PASSWORD in found) == bool(settings.get("secret", "release-bot-restore"))


def test_the_database_is_replaced_whatever_set_it() -> None:
    """Also in other letters, which the product reads as well; the other variables are as the Deployment has them."""
    others = [{"name": "solvereign_database_url", "value": "postgresql://staging"}, {"name": "A", "value": "$(B)"}]
    found = env("postgresql://r@db/", {}, *others)
    assert list(found) == [PASSWORD, "SOLVEREIGN_DATABASE_URL", "A"]
    assert found["A"] == "$(B)"


def test_only_the_product_runs_in_it() -> None:
    """The image of the release, neither sidecars nor init containers, once, and not for ever."""
    pod = described("postgresql://r@db/", {}, image="api@sha256:1")
    spec = pod["spec"]
    assert [one["image"] for one in spec["containers"]] == ["api@sha256:1"] * 2
    assert [one["name"] for one in spec["containers"]] == ["api", "release-bot-probe"]
    assert ("initContainers" in spec, spec["restartPolicy"], spec["activeDeadlineSeconds"]) == (False, "Never", 315)
    assert (pod["metadata"]["labels"], pod["metadata"]["annotations"]) == (
        {"release-bot/drill": DRILL},
        {"of": "the template"},
    )


@pytest.mark.parametrize("url", ["host=db user=r", "postgresql://db/", "postgresql://:x@db/"])
def test_an_address_that_cannot_be_handed_on(url: str) -> None:
    """ERROR that names the setting; the address is not told."""
    with pytest.raises(CheckError, match="restore_database_url is no address such as") as error:
        described(url, {})
    assert error.value.hint == "Set targets.staging.restore_pod.database_url in release-bot.yml."


@pytest.mark.parametrize("url", [f"postgresql://r:{SECRET}@db/", f"postgresql://r@db/?password={SECRET}"])
def test_a_password_in_the_address_for_the_pod_is_refused(url: str) -> None:
    """It would stand in the pod."""
    with pytest.raises(ValidationError, match="the password belongs into the Secret"):
        RestorePod(database_url=url)
