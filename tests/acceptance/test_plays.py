"""The three plays: a release from start to done, one that is taken back, one that stays blocked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.fix_kube import TESTBED, api_client

LIMIT = 120.0  # seconds; a play ends in under two minutes
CHANGE_CAUSE = "kubernetes.io/change-cause"


def _deployments(api: Any) -> list[dict[str, Any]]:
    answer: Any = client.AppsV1Api(api).list_deployment_for_all_namespaces(_preload_content=False)
    return list(json.loads(answer.data)["items"])


def _assert_that_secrets_cannot_be_listed(configuration: Path) -> None:
    """The service account of the bot that played cannot list Secrets on any target, because no shipped role grants it."""
    for target in yaml.safe_load(configuration.read_text(encoding="utf-8"))["targets"].values():
        with api_client(Path(target["kubernetes"]["kubeconfig"])) as bot, pytest.raises(ApiException) as error:
            client.CoreV1Api(bot).list_namespaced_secret(target["kubernetes"]["namespace"])
        assert error.value.status == 403
        assert "system:serviceaccount:release-bot:release-bot" in str(error.value.body)


@pytest.mark.parametrize(
    ("play", "expected_output"),
    [
        ("tour", "is in production and its watch is over"),
        ("rollback", "is rolled back. Production runs what it ran before"),
        ("regression", "is put back (SOLVEREIGN"),
        ("blocked", "is aborted. Nothing was deployed"),
    ],
)
def test_a_play_ends_well(play: str, expected_output: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The play exits with 0, prints its end, breaks no limit of Slack, and the bot logs no warning.

    The tour is played on a real API server where there is one. Every play runs with the service account of
    deploy/kubernetes and the Roles that are shipped, and with no other right.
    """
    arguments = ["demo", "--play", play, "--data-dir", str(tmp_path)]
    api: Any = None
    if play == "tour" and TESTBED:
        kubeconfig, api = request.getfixturevalue("kube_testbed")
        arguments += ["--kubeconfig", str(kubeconfig)]

    process = subprocess.run(
        [sys.executable, "-m", "bot", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False
    )

    assert "The end." in process.stdout, process.stdout[-3000:] + process.stderr
    assert expected_output in process.stdout
    assert process.returncode == 0
    if api is not None:
        causes = [deployment["metadata"].get("annotations", {}).get(CHANGE_CAUSE) for deployment in _deployments(api)]
        assert causes.count("release-bot: v4.8.0") == 1
        _assert_that_secrets_cannot_be_listed(tmp_path / "release-bot.yml")
    log = (tmp_path / "bot.log").read_text(encoding="utf-8")
    assert [line for line in log.splitlines() if " WARNING " in line or " ERROR " in line] == []
