"""restore_drill with `boot`: the product as a real process against the restored database, simulated and real clusters."""

import asyncio
import re
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from checks.contract import CheckContext, Outcome
from checks.kinds.restore_drill.boot_pod import LABEL, NAME
from checks.kinds.restore_drill.booting import BOOT_RIGHTS
from checks.registry import Registry
from checks.runner import run_check
from clients.connections import Clients
from clients.rights import grants
from sandbox.kube import AppSeed, Seed, seed
from sandbox.staging.database import RESTORE_PASSWORD
from sandbox.staging.serving import reserved_port
from tests.checks.test_restore_drill import databases, drill, dump_of, upload
from tests.fix_account import BotAccount
from tests.fix_checks import Pauses, RecordingUndo, context, run, staging_target, with_changes
from tests.fix_kube import Kube, eventually
from tests.fix_sandbox import Sandbox

NOTHING = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture(scope="module")
def backup(running_sandbox):
    """A dump of the sandbox's staging, as backup_job hands it on."""
    return upload(running_sandbox, dump_of(running_sandbox.facts["staging"]["database_owner_url"]))


def boot(sandbox, data, target=None, *, undo=None, **how):
    """Run the drill on that backup without verifying its content."""
    return drill(sandbox, data, target, undo=undo, functions=[], counts={}, boot=how)


def remaining_pods(target):
    """The pods of a drill that are still in the cluster."""
    with Clients(target) as clients:
        kube = clients.kube()
        pods = kube.core.list_namespaced_pod(target.kubernetes.namespace, _request_timeout=kube.timeout).items
    return [pod.metadata.name for pod in pods if pod.metadata.name == NAME]


class OwnDeployment:
    """A Deployment of the product in the test's own cluster, and an account with chosen rights there."""

    def __init__(self, sandbox: Sandbox, kube: Kube, folder: Path) -> None:
        self._port = reserved_port(0)
        product = AppSeed(
            kube.namespace,
            "staging",
            "v4.8.0",
            "solvereign/api:v4.8.0",
            {},
            port=self._port,
            restore_password=RESTORE_PASSWORD,
            replicas=0,
        )
        asyncio.run(seed(kube.kubeconfig, Seed((product,))))
        self._account = BotAccount(kube, folder)
        where = {"kubeconfig": str(kube.kubeconfig), "namespace": kube.namespace}
        self.owner = with_changes(staging_target(sandbox), kubernetes=where)
        self.target = with_changes(self.owner, kubernetes={"kubeconfig": str(self._account.kubeconfig)})

    def is_listening(self) -> bool:
        """Whether the product listens on its port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def allow_all_but(self, *exceptions: str) -> None:
        """Grant what the kind declares except these rights, in the words of a Grant."""
        all_grants = grants(BOOT_RIGHTS, self.target)
        chosen_grants = [grant for grant in all_grants if str(grant) not in exceptions]
        assert len(all_grants) - len(chosen_grants) == len(exceptions)
        self._account.grant(chosen_grants, all_grants)


@pytest.fixture
def own_deployment(sandbox: Sandbox, kube: Kube, tmp_path: Path) -> OwnDeployment:
    """A Deployment and an account for one test."""
    return OwnDeployment(sandbox, kube, tmp_path)


def test_the_product_starts_with_the_declared_rights(sandbox, backup, own_deployment):
    """The product starts, connects to the restored database and reports ready; afterwards nothing is left of it."""
    own_deployment.allow_all_but()
    undo = RecordingUndo()
    answer = boot(sandbox, backup, own_deployment.target, undo=undo)

    assert answer.outcome is Outcome.PASS, f"{answer.summary} {answer.hint} {answer.evidence.seen}"
    assert re.match(r"restored in [\d.]+ s, and the product starts", answer.summary)
    assert '"status": "ready"' in answer.evidence.seen
    assert (len(undo.records), undo.open) == (2, [])
    assert (databases(sandbox), remaining_pods(own_deployment.owner)) == (set(), [])
    eventually("the end of its process", lambda: not own_deployment.is_listening())


def test_a_missing_right_is_an_error(sandbox, backup, own_deployment):
    """The ERROR names the right, and nothing is left in the cluster."""
    own_deployment.allow_all_but(f"create pods in {own_deployment.target.kubernetes.namespace}")
    undo = RecordingUndo()
    answer = boot(sandbox, backup, own_deployment.target, undo=undo)

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith(
        f"Kubernetes refused to create pod {NAME} in {own_deployment.target.kubernetes.namespace}"
    )
    assert 'cannot create resource "pods"' in answer.hint
    assert undo.open == []
    assert (databases(sandbox), remaining_pods(own_deployment.owner)) == (set(), [])


def test_a_product_that_does_not_start_fails(sandbox):
    """The FAIL names the last line of the product's log, which is attached."""
    with sandbox.fault("boot_table_missing"):
        data = upload(sandbox, dump_of(sandbox.facts["staging"]["database_owner_url"]))
    answer = boot(sandbox, data)

    assert answer.outcome is Outcome.FAIL, answer.summary
    why = 'application startup failed: relation "core.sites" does not exist'
    assert answer.summary.startswith("the product doesn't start with the restored database: it ended with exit code 1")
    assert answer.summary.endswith(why)
    assert why in answer.evidence.attachment
    assert (databases(sandbox), remaining_pods(staging_target(sandbox))) == (set(), [])


def test_a_200_alone_is_not_ready(sandbox, backup):
    """A product that answers 200 without the word ready is a FAIL with its answer."""
    target = with_changes(staging_target(sandbox), restore_pod={"database_url": NOTHING})
    answer = boot(sandbox, backup, target, seconds=1)

    assert answer.outcome is Outcome.FAIL, answer.summary
    assert "not ready within 1 s: " in answer.summary
    assert '"status": "not_ready"' in answer.evidence.seen
    assert remaining_pods(target) == []


def test_a_product_on_another_database_is_an_error(sandbox, backup):
    """A product that is ready on its own database proves nothing about the restored one: ERROR."""
    answer = boot(sandbox, backup, database_variable="OTHER_URL")

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "the product says it is ready, but never connected to the restored database"
    assert "OTHER_URL" in answer.hint
    assert remaining_pods(staging_target(sandbox)) == []


def test_an_image_without_python_is_an_error(sandbox, backup):
    """If the product cannot be asked whether it is ready, the error says what to set."""
    answer = boot(sandbox, backup, python="no-such-python")

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith("the bot couldn't ask the product whether it is ready: no-such-python ended")


def test_a_missing_secret_is_an_error(sandbox, backup):
    """If the pod cannot start, the error says which Secret is missing and where it belongs."""
    target = with_changes(staging_target(sandbox), restore_pod={"secret": "not-there"})
    answer = boot(sandbox, backup, target, seconds=1)

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith(f"the product can't be started in pod {NAME}: CreateContainerConfigError: ")
    assert "targets.staging.restore_pod.secret names, 'not-there'" in answer.hint
    assert remaining_pods(target) == []


@dataclass(frozen=True, kw_only=True)
class Late(CheckContext):
    """A context whose time is up as soon as the event is set."""

    up: threading.Event

    def remaining(self) -> float:
        """Zero after the event, and otherwise the usual time."""
        return 0.0 if self.up.is_set() else super().remaining()


@pytest.mark.parametrize("phase", ["downloading", "restoring", "starting the product against the restored database"])
def test_a_drill_that_takes_too_long_is_an_error(sandbox, backup, phase):
    """The ERROR says what was being done, and nothing is left."""
    kind, target, undo = Registry.load().get("restore_drill"), staging_target(sandbox), RecordingUndo()
    with Clients(target) as clients:
        up = threading.Event()
        usual = context(
            target,
            clients,
            undo=undo,
            needs={"go.backup": backup},
            progress=lambda line: up.set() if line.startswith(phase) else None,
        )
        late = Late(**vars(usual), up=up)
        params = kind.params.model_validate({"functions": [], "counts": {}, "boot": {}})
        answer = run_check(kind, params, late, redact=lambda text: text).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith(f"the time for the check was up while {phase}")
    assert undo.open == []
    assert (databases(sandbox), remaining_pods(target)) == (set(), [])


def test_an_unknown_container_is_an_error(sandbox, backup):
    """The error comes before anything is created."""
    target = with_changes(staging_target(sandbox), kubernetes={"container": "web"})
    answer = boot(sandbox, backup, target)

    assert answer.outcome is Outcome.ERROR
    assert "has no container web" in answer.summary


def test_a_cancelled_drill_leaves_nothing(sandbox, backup):
    """A drill that is cancelled while the product starts leaves nothing behind."""
    cancelled, undo = threading.Event(), RecordingUndo()
    target = staging_target(sandbox)
    answer = run(
        "restore_drill",
        {"functions": [], "counts": {}, "boot": {}},
        target,
        undo=undo,
        needs={"go.backup": backup},
        cancelled=cancelled,
        progress=lambda line: cancelled.set() if line.startswith("starting the product") else None,
    ).answer

    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "cancelled")
    assert (len(undo.records), undo.open) == (2, [])
    assert (databases(sandbox), remaining_pods(target)) == (set(), [])


def test_a_drill_leaves_another_drill_alone(sandbox, backup):
    """Neither a second drill nor the undo of a killed one removes what another drill has started, but a pod that
    appears late is removed.
    """
    target = staging_target(sandbox)
    assert target.kubernetes is not None
    namespace = target.kubernetes.namespace
    kind, old, new = Registry.load().get("restore_drill"), "restore_drill_1_00000000", "restore_drill_2_00000000"
    with Clients(target) as clients:
        containers, pods_seen = [{"name": "other", "image": "other"}], []
        body = {"metadata": {"name": NAME, "labels": {LABEL: new}}, "spec": {"containers": containers}}

        def make() -> None:
            clients.kube().core.create_namespaced_pod(namespace, body)
            pods_seen.append(remaining_pods(target))

        make()
        answer = boot(sandbox, backup)
        assert answer.outcome is Outcome.ERROR
        assert "another restore drill is running there" in answer.summary
        for drill_of, there, pauses in ((old, [NAME], Pauses()), (new, [], Pauses()), (new, [], Pauses(make))):
            ctx = context(target, clients, cancelled=pauses)
            kind.undo({"database": drill_of, "namespace": namespace}, ctx)
            assert remaining_pods(target) == there
    assert pods_seen == [[NAME], [NAME]]
