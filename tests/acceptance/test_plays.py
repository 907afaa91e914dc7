"""The three plays: a release from start to done, one that is taken back, one that stays blocked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.fix_kube import TESTBED

LIMIT = 120.0  # seconds; a play ends in under two minutes
CHANGE_CAUSE = "kubernetes.io/change-cause"


def _deployments(api: Any) -> list[dict[str, Any]]:
    answer: Any = client.AppsV1Api(api).list_deployment_for_all_namespaces(_preload_content=False)
    return list(json.loads(answer.data)["items"])


@pytest.mark.parametrize(
    ("play", "seen"),
    [
        ("tour", "is in production and its watch is over"),
        ("rollback", "is rolled back, production runs what it ran before"),
        ("regression", "is put back (SOLVEREIGN"),
        ("blocked", "is aborted, nothing was deployed"),
    ],
)
def test_a_play_ends_well(play: str, seen: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """It exits 0, prints what happened, breaks no limit of Slack, and the bot logs no warning.

    The tour is played on a real API server where there is one.
    """
    arguments = ["demo", "--play", play, "--data-dir", str(tmp_path)]
    api: Any = None
    if play == "tour" and TESTBED:
        kubeconfig, api = request.getfixturevalue("kube_testbed")
        arguments += ["--kubeconfig", str(kubeconfig)]

    played = subprocess.run(
        [sys.executable, "-m", "bot", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False
    )

    assert "The end." in played.stdout, played.stdout[-3000:] + played.stderr
    assert seen in played.stdout
    assert played.returncode == 0
    if api is not None:
        causes = [found["metadata"].get("annotations", {}).get(CHANGE_CAUSE) for found in _deployments(api)]
        assert causes.count("release-bot: v4.8.0") == 1
    log = (tmp_path / "bot.log").read_text(encoding="utf-8")
    assert [line for line in log.splitlines() if " WARNING " in line or " ERROR " in line] == []
