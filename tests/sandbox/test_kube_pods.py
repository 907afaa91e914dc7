"""Pods: their containers, states, commands and logs, on the simulator and on a real API server."""

import sys
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.fix_kube import Json, Kube, eventually
from tests.sandbox.kube_objects import create_pod, deploy, deploy_and_wait, images, pods


def run(kube: Kube, *commands: list[str], annotations: Json | None = None, **container: Any) -> None:
    """Create the pod `once`, which is not restarted and really runs the commands, each in a container of its own."""
    containers = [
        {"name": f"c{number}", "image": "tools:1", "command": command, **container}
        for number, command in enumerate(commands)
    ]
    metadata = {"name": "once", "annotations": {"testbed/exec": "true"} | (annotations or {})}
    spec = {"restartPolicy": "Never", "containers": containers}
    create_pod(kube, {"metadata": metadata, "spec": spec})


def python(code: str) -> list[str]:
    """A command that runs some Python."""
    return [sys.executable, "-c", code]


def once(kube: Kube) -> Any:
    """The pod `once`."""
    return kube.core.read_namespaced_pod("once", kube.namespace)


def log_of(kube: Kube, pod: str = "once", **options: Any) -> str:
    """The log of a pod."""
    return str(kube.core.read_namespaced_pod_log(pod, kube.namespace, **options))


def refusal_of_log(kube: Kube, pod: str, **options: Any) -> str:
    """Why the log of a pod cannot be read: always a bad request."""
    with pytest.raises(ApiException) as refusal:
        log_of(kube, pod, **options)
    assert refusal.value.status == 400
    return str(refusal.value.body)


def waiting_reason(pod: Any) -> str:
    """Why the first container of a pod that waits does so, or ''."""
    statuses = pod.status.container_statuses or []
    return next((status.state.waiting.reason for status in statuses if status.state.waiting), "")


@pytest.mark.parametrize(
    ("code", "phase", "reason", "exit_code"),
    [("print('well')", "Succeeded", "Completed", 0), ("import sys; sys.exit(3)", "Failed", "Error", 3)],
)
def test_a_pod_of_its_own_runs_to_its_end(kube: Kube, code: str, phase: str, reason: str, exit_code: int) -> None:
    """It stays with its phase, its exit code and its log, and is not ready."""
    run(kube, python(code))
    eventually("its end", lambda: once(kube).status.phase == phase)
    status = once(kube).status
    termination = status.container_statuses[0].state.terminated
    assert (termination.reason, termination.exit_code, status.container_statuses[0].restart_count) == (
        reason,
        exit_code,
        0,
    )
    assert termination.finished_at >= termination.started_at
    assert {c.type: c.status for c in status.conditions} == {
        "Initialized": "True",
        "Ready": "False",
        "ContainersReady": "False",
        "PodScheduled": "True",
    }
    assert log_of(kube) == ("well\n" if exit_code == 0 else "")


def test_a_command_that_does_not_exist_cannot_run(kube: Kube) -> None:
    """It ends with the exit code of a shell that finds nothing."""
    run(kube, ["/no/such/command"])
    eventually("its end", lambda: once(kube).status.phase == "Failed")
    assert once(kube).status.container_statuses[0].state.terminated.exit_code == 127


def test_a_container_sees_the_variables_of_its_pod(kube: Kube) -> None:
    """Values, what they refer to in the order of the list, ConfigMaps and Secrets; also in the words of its command."""
    core, space = kube.core, kube.namespace
    core.create_namespaced_config_map(space, {"metadata": {"name": "plain"}, "data": {"A": "map", "B": "map"}})
    core.create_namespaced_secret(space, {"metadata": {"name": "hidden"}, "stringData": {"B": "secret"}})
    env = [
        {"name": "C", "value": "$(B) and $(D)"},
        {"name": "D", "value": "$$(B)"},
        {"name": "E", "valueFrom": {"configMapKeyRef": {"name": "plain", "key": "A"}}},
        {"name": "F", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "none", "optional": True}}},
    ]
    sources = [{"configMapRef": {"name": "plain"}}, {"secretRef": {"name": "hidden"}}]
    code = "import os, sys; print(*(os.environ.get(name) for name in 'ABCDEF'), sys.argv[1])"
    run(kube, [*python(code), "$(A) $$(A)"], env=env, envFrom=sources)
    eventually("its end", lambda: once(kube).status.phase == "Succeeded")
    assert log_of(kube) == "map secret secret and $(D) $(B) map None map $(A)\n"


def test_a_container_waits_for_a_secret_that_is_missing(kube: Kube) -> None:
    """It starts by itself once the Secret is there."""
    reference = {"secretKeyRef": {"name": "late", "key": "token"}}
    run(kube, python("import os; print(os.environ['TOKEN'])"), env=[{"name": "TOKEN", "valueFrom": reference}])
    eventually("the wait", lambda: waiting_reason(once(kube)) == "CreateContainerConfigError")
    assert once(kube).status.phase == "Pending"
    kube.core.create_namespaced_secret(kube.namespace, {"metadata": {"name": "late"}, "stringData": {"token": "t"}})
    eventually("its end", lambda: once(kube).status.phase == "Succeeded")
    assert log_of(kube) == "t\n"


def test_a_setting_that_is_wrong_keeps_the_pod_from_starting(kube: Kube) -> None:
    """A slip in a test is not played as if nothing had been said."""
    deploy(kube, replicas=1, annotations={"testbed/never-redy": "true"})
    right = {"metadata": {"name": "right"}, "spec": {"containers": [{"name": "main", "image": "app:1"}]}}
    create_pod(kube, right)
    eventually(
        "the other pod", lambda: kube.core.read_namespaced_pod("right", kube.namespace).status.phase == "Running"
    )
    assert [pod.status.phase for pod in eventually("the pod", lambda: pods(kube))] == ["Pending"]


def test_a_deleted_pod_is_asked_to_stop(kube: Kube) -> None:
    """Its command gets SIGTERM and may end by itself; while it does, the pod is there and says so."""
    code = (
        "import signal, sys, time\n"
        "def stop(*_): print('stopping', flush=True); time.sleep(1); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); print('up', flush=True); time.sleep(60)"
    )
    run(kube, python(code))
    eventually("its start", lambda: once(kube).status.phase == "Running" and log_of(kube) == "up\n")
    kube.core.delete_namespaced_pod("once", kube.namespace)
    eventually("the signal", lambda: log_of(kube) == "up\nstopping\n")
    assert once(kube).metadata.deletion_timestamp is not None
    eventually("its end", lambda: not kube.core.list_namespaced_pod(kube.namespace).items)


def test_a_pod_is_deleted_at_once_if_it_is_the_one_that_is_meant(kube: Kube) -> None:
    """Without a grace period, and only with the uid of the precondition."""
    run(kube, python("import time; time.sleep(60)"))
    body = {"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}}
    with pytest.raises(ApiException) as refusal:
        kube.core.delete_namespaced_pod("once", kube.namespace, body=body)
    assert refusal.value.status == 409
    body["preconditions"] = {"uid": once(kube).metadata.uid}
    kube.core.delete_namespaced_pod("once", kube.namespace, body=body)
    assert kube.core.list_namespaced_pod(kube.namespace).items == []


def test_the_log_of_one_of_several_containers_is_asked_for_by_name(kube: Kube) -> None:
    """Without a name, or with an unknown one, the request is refused."""
    run(kube, python("print('first')"), python("print('second')"))
    eventually("its end", lambda: once(kube).status.phase == "Succeeded")
    assert log_of(kube, container="c1") == "second\n"
    assert "a container name must be specified for pod once, choose one of: [c0 c1]" in refusal_of_log(kube, "once")
    assert "container c2 is not valid for pod once" in refusal_of_log(kube, "once", container="c2")


def test_a_crashing_image_shows_in_states_and_logs(kube: Kube) -> None:
    """Back-off, restart count, exit code of the last run, and its log."""
    images(kube, {"app:*-bad": {"crash": True, "log": ["boot", "Traceback: boom"]}})
    deploy(kube, "app:1-bad", replicas=1)

    def looping():
        return next(
            (p for p in pods(kube) if p.status.container_statuses and waiting_reason(p) == "CrashLoopBackOff"), None
        )

    pod = eventually("the crash loop", looping)
    eventually("a restart", lambda: pods(kube)[0].status.container_statuses[0].restart_count >= 1)
    status = pod.status.container_statuses[0]
    assert status.last_state.terminated.exit_code == 1
    log = kube.core.read_namespaced_pod_log(pod.metadata.name, kube.namespace, previous=True)
    assert log == "boot\nTraceback: boom\n"


def test_a_container_that_waits_has_no_log(kube: Kube) -> None:
    """Asking for the log of an image that cannot be pulled is a bad request, not an empty log."""
    deploy(kube, replicas=1, annotations={"testbed/image-pull-error": "true"})
    eventually("the pull back-off", lambda: [waiting_reason(pod) for pod in pods(kube)] == ["ImagePullBackOff"])
    pod = pods(kube)[0]
    assert "trying and failing to pull image" in refusal_of_log(kube, pod.metadata.name)


def test_logs_are_cut_as_asked(kube: Kube) -> None:
    """tailLines, limitBytes, sinceSeconds, and no previous instance."""
    deploy_and_wait(kube, annotations={"testbed/log": "one\ntwo\nthree"}, replicas=1)
    name = pods(kube)[0].metadata.name

    assert log_of(kube, name) == "one\ntwo\nthree\n"
    assert log_of(kube, name, tail_lines=2, container="main") == "two\nthree\n"
    assert log_of(kube, name, limit_bytes=5) == "one\nt"
    assert log_of(kube, name, since_seconds=60).count("\n") == 3
    assert "previous terminated container" in refusal_of_log(kube, name, previous=True)
