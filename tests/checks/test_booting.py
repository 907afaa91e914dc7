"""What is said of the pod of a restore drill in the states that a real node reports, and simulated ones do not."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks.contract import Change, CheckError
from checks.kinds.restore_drill.boot_pod import NAME, PROBE, Boot
from checks.kinds.restore_drill.booting import boot, undo_payload
from clients.connections import Clients
from clients.target import Target
from tests.checks.replies import Replies, Reply, Route
from tests.fix_checks import context

Json = dict[str, Any]
DEPLOYMENT = "/apis/apps/v1/namespaces/staging/deployments/api"
PODS = "/api/v1/namespaces/staging/pods"
RUNNING: Json = {"running": {"startedAt": "2026-01-16T18:00:00Z"}}
NOT_READY = json.dumps({"ready": False, "said": "starting"})
PULLING: Json = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
NO_COMMAND: Json = {"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}}
OUT_OF_MEMORY: Json = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
EXIT_1: Json = {"terminated": {"exitCode": 1, "reason": "Error"}}


def routes(product: Json | None, probe: Json | None, word: str, **status: str) -> dict[str, Route]:
    """A cluster with a Deployment and a pod whose containers are in these states; ``word`` is the log of the probe."""
    container = {"name": "api", "image": "api:1", "ports": [{"containerPort": 8000}]}
    states = {name: state for name, state in (("api", product), (PROBE, probe)) if state is not None}
    pod: Json = {
        "metadata": {"name": NAME, "uid": "u1"},
        "status": {"containerStatuses": [{"name": name, "state": state} for name, state in states.items()], **status},
    }
    deployment = {"spec": {"template": {"metadata": {}, "spec": {"containers": [container]}}}}
    logs = {"api": "INFO starting\nMemoryError\n", PROBE: word}
    return {
        f"GET {DEPLOYMENT}": Reply(200, deployment),
        f"POST {PODS}": Reply(201, pod),
        f"GET {PODS}/{NAME}": Reply(200, pod),
        f"GET {PODS}/{NAME}/log": lambda request: Reply(200, logs[request.query["container"][0]]),
    }


def run_boot(table: dict[str, Route], folder: Path) -> Any:
    """The result of ``boot`` on that cluster; the product never connects to the database."""
    with Replies(table) as server:
        file = folder / "kubeconfig"
        entry = {"name": "c", "context": {"cluster": "c", "user": "c"}}
        config: Json = {"clusters": [{"name": "c", "cluster": {"server": server.url}}], "contexts": [entry]}
        config |= {"users": [{"name": "c", "user": {"token": "t"}}], "current-context": "c"}
        file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}), encoding="utf-8")
        where = {"kubeconfig": str(file), "namespace": "staging"}
        target = Target.model_validate(
            {"name": "staging", "kubernetes": where, "restore_database_url": "postgresql://r@db/"}
        )
        with Clients(target) as clients:
            ctx = context(target, clients)
            return boot(Boot(), Change(undo_payload("restore_drill_1_00000000", ctx)), lambda: False, ctx)


@pytest.mark.parametrize(
    ("product", "probe", "word", "status", "summary"),
    [
        (
            None,
            None,
            "",
            {"phase": "Failed", "message": "Pod was evicted"},
            "did not start in pod NAME: Pod was evicted",
        ),
        (
            PULLING,
            RUNNING,
            NOT_READY,
            {"phase": "Pending"},
            "did not start in pod NAME: ImagePullBackOff: Back-off pulling image",
        ),
        (NO_COMMAND, RUNNING, "", {}, "the product's command couldn't be started in pod NAME: no such file"),
        (RUNNING, NO_COMMAND, "", {}, "couldn't ask the product whether it is ready: python3 ended with exit code 128"),
        (RUNNING, EXIT_1, "", {}, "couldn't ask the product whether it is ready: python3 ended with exit code 1"),
        (RUNNING, RUNNING, '{"ready": true, "said": "ready"}', {}, "never connected to the restored database"),
    ],
    ids=["evicted", "not pulled", "no command", "no python", "probe broken", "not connected"],
)
def test_a_pod_that_does_not_start_is_an_error(
    tmp_path: Path, product: Json | None, probe: Json | None, word: str, status: dict[str, str], summary: str
) -> None:
    """The ERROR repeats what Kubernetes says."""
    with pytest.raises(CheckError) as error:
        run_boot(routes(product, probe, word, **status), tmp_path)
    assert summary.replace("NAME", NAME) in error.value.summary


def test_a_product_that_ends_is_known_to_be_bad(tmp_path: Path) -> None:
    """A product that started and ended is bad, and its last line is named."""
    result = run_boot(routes(OUT_OF_MEMORY, RUNNING, ""), tmp_path)
    assert result.trouble == "it ended with exit code 137: MemoryError"


def test_a_half_written_line_is_read_again(tmp_path: Path) -> None:
    """A log line of the probe that is not complete yet is read again."""
    table = routes(RUNNING, RUNNING, NOT_READY)
    words = iter([NOT_READY[:-5], NOT_READY, "INFO the product's own log"])
    table[f"GET {PODS}/{NAME}/log"] = lambda _: Reply(200, next(words))
    result = run_boot(table, tmp_path)
    assert (result.trouble, result.log) == ("not ready within 120 s: starting", "INFO the product's own log")
