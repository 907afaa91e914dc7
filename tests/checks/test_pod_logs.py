"""pod_logs: the Deployment of the sandbox's staging, and API servers that answer oddly."""

import json

import pytest
import yaml

from checks.contract import Outcome
from checks.registry import Registry, RegistryError
from clients.settings import Kubernetes
from clients.target import Target
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.fix_checks import run, staging_target, with_changes

START_PARAMS = {"from_start": True, "start_lines": ["billing_router_registered", "stripe_billing_initialized"]}


@pytest.mark.parametrize("params", [{}, START_PARAMS])
def test_clean_logs_pass(sandbox, params):
    """If every pod runs and no line reports an error the answer is PASS with what was read."""
    answer = run("pod_logs", params, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.PASS
    assert answer.summary.startswith("2 pods, 2 containers, ")
    assert answer.summary.endswith(" lines, no errors")
    assert answer.evidence.asked.startswith("pods and logs of deployment/api in ")


def test_error_lines_fail(sandbox):
    """Error lines in both of the product's formats are a FAIL with the first line and an excerpt."""
    with sandbox.fault("app_log_errors"):
        answer = run("pod_logs", {}, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.FAIL
    assert "4 errors in the logs: api-" in answer.summary
    assert "plan_publish_failed" in answer.summary
    assert "KeyError: 'driver_id'" in answer.evidence.attachment


def test_known_lines_may_be_allowed(sandbox):
    """A line that matches an expression of the checklist is no error."""
    allow = ["plan_publish_failed", "^ERROR:    Exception in ASGI", "^Traceback"]
    with sandbox.fault("app_log_errors"):
        answer = run("pod_logs", {"allow": allow}, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.PASS


def test_a_crash_loop_beside_a_healthy_pod_fails(sandbox):
    """The crashing pod is named, and the log before its restart is read."""
    with sandbox.fault("app_crash_loop"):
        answer = run("pod_logs", {}, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.FAIL
    assert "-crash/api " in answer.summary
    assert "restart" in answer.summary
    assert "ValidationError: 1 validation error for Settings" in answer.evidence.attachment


def test_an_unknown_deployment_is_an_error(sandbox):
    """A Deployment that does not exist is an ERROR with a hint about the names."""
    target = with_changes(staging_target(sandbox), kubernetes={"deployment": "web"})
    answer = run("pod_logs", {}, target).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith("Kubernetes failed to read deployment web in ")
    assert "check the address and the names" in answer.hint


def test_invalid_parameters_are_rejected():
    """An invalid expression, or start lines without reading from the start, are rejected with the checklist."""
    with pytest.raises(RegistryError, match="start_lines are at the start of a log: set from_start: true"):
        Registry.load().validate("pod_logs", {"since_minutes": 5, "start_lines": ["started"]})
    with pytest.raises(RegistryError, match="isn't a regular expression"):
        Registry.load().validate("pod_logs", {"allow": ["("]})


def test_a_target_without_a_cluster_is_an_error(sandbox):
    """The error names the missing setting."""
    answer = run("pod_logs", {}, with_changes(staging_target(sandbox), kubernetes=None)).answer

    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "staging has no kubernetes section")


# --- answers that a healthy cluster does not give, from an API server that says what a test tells it to --------------

NOW = "2999-01-01T00:00:00Z"  # never outside of the window
OUT_OF_MEMORY = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": NOW}}
LABELS = {"app": "api"}
LOGS = "GET /api/v1/namespaces/n/pods/api-1/log"


def owned_by(kind, owner, **metadata):
    """The metadata of an object that belongs to another one."""
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": owner, "controller": True}
    return {"namespace": "n", "labels": LABELS, "ownerReferences": [owner], **metadata}


def pod(name="api-1", owner="rs-new", **status):
    """A pod with one container, whose status is ``status``."""
    container = {"name": "api", "image": "i", "imageID": "", "ready": True, "restartCount": 0, **status}
    container.setdefault("state", {"running": {"startedAt": NOW}})
    return {"metadata": owned_by("ReplicaSet", owner, name=name), "status": {"containerStatuses": [container]}}


def routes(*pods, log="", available=True, selector=None):
    """A cluster with a Deployment, an old and a new ReplicaSet, and these pods."""
    sets = [
        {"metadata": owned_by("Deployment", "d", name=f"rs-{name}", uid=f"rs-{name}", annotations=annotations)}
        for name, annotations in (
            ("old", {"deployment.kubernetes.io/revision": "9"}),
            ("new", {"deployment.kubernetes.io/revision": "10"}),
        )
    ]
    for item in sets:
        item["spec"] = {"selector": {"matchLabels": LABELS}}
    condition = {"type": "Available", "status": str(available)}
    deployment = {
        "metadata": {"name": "api", "namespace": "n", "uid": "d"},
        "spec": {"replicas": 2, "selector": selector or {"matchLabels": LABELS}, "template": {}},
        "status": {"readyReplicas": 1, "conditions": [condition]},
    }
    return {
        "GET /apis/apps/v1/namespaces/n/deployments/api": Reply(200, deployment),
        "GET /apis/apps/v1/namespaces/n/replicasets": Reply(200, {"items": sets}),
        "GET /api/v1/namespaces/n/pods": Reply(200, {"items": list(pods)}),
        LOGS: Reply(200, log.encode() if isinstance(log, str) else log),
    }


@pytest.fixture
def ask(tmp_path):
    """A function that runs the check on a cluster with these answers; it returns the answer and the requests."""

    def ask(replies, **params):
        with Replies(replies) as server:
            target = cluster(tmp_path, server.url)
            return run("pod_logs", params, target).answer, server.requests

    return ask


def cluster(folder, url):
    """A target with the cluster at the URL."""
    part = {"name": "test"}
    contexts = [{**part, "context": {"cluster": "test", "user": "test"}}]
    config = {
        "current-context": "test",
        "clusters": [{**part, "cluster": {"server": url}}],
        "users": [{**part, "user": {"token": "t"}}],
        "contexts": contexts,
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return Target(name="staging", kubernetes=Kubernetes(kubeconfig=str(path), namespace="n"))


def entry(level, message):
    """A line of the product's log."""
    return json.dumps({"level": level, "message": message})


@pytest.mark.parametrize("line", [entry("FATAL", "database gone"), "2026-01-18 12:00:00,123 - api - ERROR - gone"])
def test_an_error_line_fails(ask, line):
    """The lines that tests/unit/test_log_lines.py lists are errors in a log too."""
    assert ask(routes(pod(), log=f"fine\n{line}\n"))[0].outcome is Outcome.FAIL


def test_an_error_with_its_traceback_counts_once(ask):
    """A traceback below an error line belongs to it and is part of the excerpt."""
    log = "before\nERROR:    Exception in ASGI application\nTraceback (most recent call last):\n  File x\nKeyError: 'y'"
    answer, _ = ask(routes(pod(), log=log))

    assert answer.summary == "1 error in the logs: api-1/api: ERROR: Exception in ASGI application"
    assert answer.evidence.attachment == f"--- api-1/api\n{log}"


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        ({"state": {"waiting": {"reason": "ImagePullBackOff"}}}, "api-1/api ImagePullBackOff"),
        ({"state": {"waiting": {"reason": "CreateContainerConfigError"}}}, "api-1/api CreateContainerConfigError"),
        (
            {
                "restartCount": 3,
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": NOW}},
            },
            "api-1/api ended with 137 (OOMKilled), 3 restarts",
        ),
    ],
)
def test_a_container_that_does_not_run_is_named(ask, status, trouble):
    """A container that cannot start, or was killed recently, is named whatever its log contains."""
    answer, _ = ask(routes(pod(**status), log="fine"))

    assert (Outcome.FAIL, trouble) == (answer.outcome, answer.summary)


def test_an_old_crash_is_ignored(ask):
    """A crash before the window, without errors since, is ignored."""
    last_state = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2020-01-01T00:00:00Z"}}
    answer, _ = ask(routes(pod(restartCount=1, lastState=last_state), log="fine"))

    assert answer.outcome is Outcome.PASS


def test_the_log_before_a_restart_is_read(ask):
    """After a restart the log of the previous container is read as well."""
    last_state = {"terminated": {"exitCode": 0, "finishedAt": "2020-01-01T00:00:00Z"}}
    _, requests = ask(routes(pod(restartCount=1, lastState=last_state), log="fine"))
    logs = [request.query.get("previous") for request in requests if request.path.endswith("/log")]

    assert logs == [["false"], ["true"]]


def test_only_pods_of_the_newest_replica_set_count(ask):
    """Pods of an earlier release are not judged; revision 10 is newer than 9."""
    crashing = pod("api-0", "rs-old", state={"waiting": {"reason": "CrashLoopBackOff"}})
    answer, _ = ask(routes(crashing, pod(), log="fine"))

    assert (answer.outcome, answer.summary) == (Outcome.PASS, "1 pods, 1 containers, 1 lines, no errors")


def test_a_deployment_without_pods_fails(ask):
    """A Deployment without pods has not started."""
    answer, _ = ask(routes())

    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "deployment api has no pods")


def test_a_deployment_that_is_not_available_fails(ask):
    """Too few ready pods are a FAIL, even if the running ones log no error."""
    answer, _ = ask(routes(pod(), log="fine", available=False))

    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "deployment not available: 1 of 2 pods ready")


def test_a_container_without_recent_lines_is_judged_by_its_last_ones(ask):
    """A container that logged nothing in the window is judged by the end of its log."""
    replies = routes(pod())
    replies[LOGS] = lambda request: Reply(200, b"" if "sinceSeconds" in request.query else b"ERROR: at the start")

    assert ask(replies)[0].outcome is Outcome.FAIL


def test_an_error_at_the_start_of_an_old_pod_is_found(ask):
    """With `from_start` the beginning of a log is read too, and the evidence says so."""

    def log(request):
        return Reply(200, b"fine" if "sinceSeconds" in request.query else b"ERROR: at the start\nfine")

    replies = {**routes(pod()), LOGS: log}
    answer, _ = ask(replies, from_start=True)

    assert ask(replies)[0].outcome is Outcome.PASS
    assert answer.summary == "1 error in the logs: api-1/api: ERROR: at the start"
    assert answer.evidence.asked.endswith(", from the start of each container")
    assert answer.evidence.seen.endswith("\napi-1/api: from its start on, 2 lines")


def test_a_very_long_log_is_read_in_two_parts(ask):
    """Of a log that is too long its beginning and its recent lines are judged, and the evidence says so."""

    def log(request):
        return Reply(200, b"ERROR: of late" if "sinceSeconds" in request.query else (b"x" * 1023 + b"\n") * 20 * 1024)

    answer, _ = ask({**routes(pod()), LOGS: log}, from_start=True)

    assert answer.summary == "1 error in the logs: api-1/api: ERROR: of late"
    assert answer.evidence.seen.endswith("\napi-1/api: 20 MiB from its start on, and 60 min back, 20481 lines")


def test_a_log_without_lines_is_inconclusive(ask):
    """Without a single line there is nothing to judge."""
    assert ask(routes(pod()))[0].outcome is Outcome.INCONCLUSIVE


def test_invalid_utf8_does_not_hide_an_error(ask):
    """Bytes that are no UTF-8 do not hide the error beside them."""
    assert ask(routes(pod(), log=b"\xff\xfe\nERROR: gone\n"))[0].outcome is Outcome.FAIL


def test_a_missing_right_to_read_logs_is_an_error(ask):
    """The hint repeats what the API server says."""
    replies = routes(pod())
    replies[LOGS] = Reply(403, {"message": 'pods "api-1" is forbidden: cannot get resource "pods/log"'})
    answer, _ = ask(replies)

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "Kubernetes refused to read the log of api-1/api: 403 Forbidden"
    assert 'cannot get resource "pods/log"' in answer.hint


def test_the_selector_of_the_deployment_is_sent_whole(ask):
    """The label selector is sent with all its expressions."""
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "canary", "operator": "DoesNotExist"},
        {"key": "team", "operator": "Exists"},
        {"key": "zone", "operator": "NotIn", "values": ["x"]},
    ]
    selector = {"matchLabels": LABELS, "matchExpressions": expressions}
    _, requests = ask(routes(pod(), log="fine", selector=selector))
    (query,) = [request.query for request in requests if request.path.endswith("/pods")]

    assert query["labelSelector"] == ["app=api,tier in (a,b),!canary,team,zone notin (x)"]


def test_an_unreachable_cluster_is_an_error(tmp_path):
    """Without an API server the answer is ERROR."""
    answer = run("pod_logs", {}, cluster(tmp_path, closed_port_url())).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "cannot reach Kubernetes to read deployment api in n"
