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
from tests.fix_checks import Pauses, RecordingUndo, changed, context, run, staging_target
from tests.fix_kube import Kube, eventually
from tests.fix_sandbox import Sandbox

NOTHING = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture(scope="module")
def backup(running_sandbox):
    """A dump of the sandbox's staging, as backup_job would hand it on."""
    return upload(running_sandbox, dump_of(running_sandbox.facts["staging"]["database_owner_url"]))


def boot(sandbox, data, target=None, *, undo=None, **how):
    """The drill on that backup, without a look at what is in it."""
    return drill(sandbox, data, target, undo=undo, functions=[], counts={}, boot=how)


def left(target):
    """The pods of a drill that are in the cluster."""
    with Clients(target) as clients:
        kube = clients.kube()
        found = kube.core.list_namespaced_pod(target.kubernetes.namespace, _request_timeout=kube.timeout).items
    return [pod.metadata.name for pod in found if pod.metadata.name == NAME]


class Beside:
    """A Deployment of the product on a cluster of the test's own, and an account of exactly some rights there."""

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
        self.owner = changed(staging_target(sandbox), kubernetes=where)
        self.target = changed(self.owner, kubernetes={"kubeconfig": str(self._account.kubeconfig)})

    def answers(self) -> bool:
        """Does the product listen?"""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def allow_all_but(self, *missing: str) -> None:
        """Grant what the kind declares, but for these, in the words of a Grant."""
        needed = grants(BOOT_RIGHTS, self.target)
        granted = [grant for grant in needed if str(grant) not in missing]
        assert len(needed) - len(granted) == len(missing)
        self._account.grant(granted, needed)


@pytest.fixture
def beside(sandbox: Sandbox, kube: Kube, tmp_path: Path) -> Beside:
    """That, for one test."""
    return Beside(sandbox, kube, tmp_path)


def test_starts_with_the_declared_rights(sandbox, backup, beside):
    """The product runs, is connected to what was restored and says that it is ready; then there is nothing left of it."""
    beside.allow_all_but()
    undo = RecordingUndo()
    answer = boot(sandbox, backup, beside.target, undo=undo)

    assert answer.outcome is Outcome.PASS, f"{answer.summary} {answer.hint} {answer.evidence.seen}"
    assert re.match(r"restored in [\d.]+ s, and the product starts", answer.summary)
    assert '"status": "ready"' in answer.evidence.seen
    assert (len(undo.recorded), undo.open) == (2, [])
    assert (databases(sandbox), left(beside.owner)) == (set(), [])
    eventually("the end of its process", lambda: not beside.answers())


def test_a_missing_right_is_named(sandbox, backup, beside):
    """ERROR with the right, and nothing is left."""
    beside.allow_all_but(f"create pods in {beside.target.kubernetes.namespace}")
    undo = RecordingUndo()
    answer = boot(sandbox, backup, beside.target, undo=undo)

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith(f"Kubernetes refused to create pod {NAME} in {beside.target.kubernetes.namespace}")
    assert 'cannot create resource "pods"' in answer.hint
    assert undo.open == []
    assert (databases(sandbox), left(beside.owner)) == (set(), [])


def test_does_not_start_with_what_was_restored(sandbox):
    """FAIL with the last line of the product's log, which is attached."""
    with sandbox.fault("boot_table_missing"):
        data = upload(sandbox, dump_of(sandbox.facts["staging"]["database_owner_url"]))
    answer = boot(sandbox, data)

    assert answer.outcome is Outcome.FAIL, answer.summary
    why = 'application startup failed: relation "core.sites" does not exist'
    assert answer.summary.startswith("the product does not start with the restored database: it ended with exit code 1")
    assert answer.summary.endswith(why)
    assert why in answer.evidence.attachment
    assert (databases(sandbox), left(staging_target(sandbox))) == (set(), [])


def test_status_200_is_not_ready(sandbox, backup):
    """The product runs and answers 200, but not with the word: FAIL with what it said."""
    target = changed(staging_target(sandbox), restore_pod={"database_url": NOTHING})
    answer = boot(sandbox, backup, target, seconds=1)

    assert answer.outcome is Outcome.FAIL, answer.summary
    assert "not ready within 1 s: " in answer.summary
    assert '"status": "not_ready"' in answer.evidence.seen
    assert left(target) == []


def test_ready_with_another_database(sandbox, backup):
    """The variable is another one, so the product runs on its own database: ready, but nothing was found out."""
    answer = boot(sandbox, backup, database_variable="OTHER_URL")

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "the product says that it is ready, but was never connected to the restored database"
    assert "OTHER_URL" in answer.hint
    assert left(staging_target(sandbox)) == []


def test_no_python_in_the_image(sandbox, backup):
    """The readiness cannot be asked: ERROR says what to set."""
    answer = boot(sandbox, backup, python="no-such-python")

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith("the product could not be asked whether it is ready: no-such-python ended")


def test_no_secret_with_the_password(sandbox, backup):
    """The pod cannot start: ERROR says what is missing and where it belongs."""
    target = changed(staging_target(sandbox), restore_pod={"secret": "not-there"})
    answer = boot(sandbox, backup, target, seconds=1)

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith(f"the product cannot be started in pod {NAME}: CreateContainerConfigError: ")
    assert "targets.staging.restore_pod.secret names, 'not-there'" in answer.hint
    assert left(target) == []


@dataclass(frozen=True, kw_only=True)
class Late(CheckContext):
    """A context whose time is up when somebody says so."""

    up: threading.Event

    def remaining(self) -> float:
        """None, from then on."""
        return 0.0 if self.up.is_set() else super().remaining()


@pytest.mark.parametrize("phase", ["downloading", "restoring", "starting the product against the restored database"])
def test_the_time_is_up(sandbox, backup, phase):
    """ERROR, not FAIL, and it says what was being done; nothing is left."""
    kind, target, undo = Registry.load().get("restore_drill"), staging_target(sandbox), RecordingUndo()
    with Clients(target) as clients:
        up = threading.Event()
        usual = context(
            target,
            clients,
            undo=undo,
            needs={"go.backup": backup},
            progress=lambda told: up.set() if told.startswith(phase) else None,
        )
        late = Late(**vars(usual), up=up)
        params = kind.params.model_validate({"functions": [], "counts": {}, "boot": {}})
        answer = run_check(kind, params, late, redact=lambda text: text).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith(f"the time for the whole check was up while {phase}")
    assert undo.open == []
    assert (databases(sandbox), left(target)) == (set(), [])


def test_no_such_container(sandbox, backup):
    """What cannot be made of the Deployment is said before anything is made."""
    target = changed(staging_target(sandbox), kubernetes={"container": "web"})
    answer = boot(sandbox, backup, target)

    assert answer.outcome is Outcome.ERROR
    assert "has no container web" in answer.summary


def test_cancelled_while_the_product_starts(sandbox, backup):
    """Nothing is left of it."""
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
    assert (len(undo.recorded), undo.open) == (2, [])
    assert (databases(sandbox), left(target)) == (set(), [])


def test_leaves_another_drill_alone(sandbox, backup):
    """Neither a drill that comes second nor a debt of a run that was killed takes away what another one has started.

    What the cluster makes late for a debt is taken away.
    """
    target = staging_target(sandbox)
    assert target.kubernetes is not None
    namespace = target.kubernetes.namespace
    kind, old, new = Registry.load().get("restore_drill"), "restore_drill_1_00000000", "restore_drill_2_00000000"
    with Clients(target) as clients:
        containers, made = [{"name": "other", "image": "other"}], []
        body = {"metadata": {"name": NAME, "labels": {LABEL: new}}, "spec": {"containers": containers}}

        def make() -> None:
            clients.kube().core.create_namespaced_pod(namespace, body)
            made.append(left(target))

        make()
        answer = boot(sandbox, backup)
        assert answer.outcome is Outcome.ERROR
        assert "another restore drill runs there" in answer.summary
        for drill_of, there, pauses in ((old, [NAME], Pauses()), (new, [], Pauses()), (new, [], Pauses(make))):
            ctx = context(target, clients, cancelled=pauses)
            kind.undo({"database": drill_of, "namespace": namespace}, ctx)
            assert left(target) == there
    assert made == [[NAME], [NAME]]
