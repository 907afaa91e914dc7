"""pod_logs: the Deployment of the sandbox's staging, and API servers that answer oddly."""

import json

import pytest
import yaml

from checks.contract import Outcome
from checks.registry import Registry, RegistryError
from clients.cluster import Kubernetes
from clients.target import Target
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.fix_checks import changed, run, staging_target

STARTED = {"from_start": True, "start_lines": ["billing_router_registered", "stripe_billing_initialized"]}


@pytest.mark.parametrize("params", [{}, STARTED])
def test_clean(sandbox, params):
    """Every pod runs and no line tells of an error: PASS, with what was read."""
    answer = run("pod_logs", params, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.PASS
    assert answer.summary.startswith("2 pods, 2 containers, ")
    assert answer.summary.endswith(" lines, no errors")
    assert answer.evidence.asked.startswith("pods and logs of deployment/api in ")


def test_error_lines(sandbox):
    """Error lines in both of the product's formats: FAIL with the first of them, and an excerpt."""
    with sandbox.fault("app_log_errors"):
        answer = run("pod_logs", {}, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.FAIL
    assert "4 errors in the logs: api-" in answer.summary
    assert "plan_publish_failed" in answer.summary
    assert "KeyError: 'driver_id'" in answer.evidence.attachment


def test_known_lines_may_be_allowed(sandbox):
    """What the checklist allows by a regular expression is no error."""
    allow = ["plan_publish_failed", "^ERROR:    Exception in ASGI", "^Traceback"]
    with sandbox.fault("app_log_errors"):
        answer = run("pod_logs", {"allow": allow}, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.PASS


def test_crash_loop_beside_a_healthy_pod(sandbox):
    """One of the pods crashes again and again: FAIL names it, and the log of its earlier life is read."""
    with sandbox.fault("app_crash_loop"):
        answer = run("pod_logs", {}, staging_target(sandbox)).answer

    assert answer.outcome is Outcome.FAIL
    assert "-crash/api " in answer.summary
    assert "restart" in answer.summary
    assert "ValidationError: 1 validation error for Settings" in answer.evidence.attachment


def test_unknown_deployment(sandbox):
    """A Deployment that is not there: nothing was found out, and the names are to be looked at."""
    target = changed(staging_target(sandbox), kubernetes={"deployment": "web"})
    answer = run("pod_logs", {}, target).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith("Kubernetes failed to read deployment web in ")
    assert "check the address and the names" in answer.hint


def test_bad_pattern():
    """Found when the checklist is loaded: an expression that does not compile, start lines that a retry would not see any more."""
    with pytest.raises(RegistryError, match="start_lines stand at the start of a log: set from_start: true"):
        Registry.load().validate("pod_logs", {"since_minutes": 5, "start_lines": ["started"]})
    with pytest.raises(RegistryError, match="is no regular expression"):
        Registry.load().validate("pod_logs", {"allow": ["("]})


def test_no_cluster_set(sandbox):
    """A Target without a cluster: ERROR that names the setting."""
    answer = run("pod_logs", {}, changed(staging_target(sandbox), kubernetes=None)).answer

    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "staging has no kubernetes section")


# --- answers that a healthy cluster does not give, from an API server that says what a test tells it to --------------

NOW = "2999-01-01T00:00:00Z"  # never outside of the window
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": NOW}}
LABELS = {"app": "api"}
LOGS = "GET /api/v1/namespaces/n/pods/api-1/log"


def owned(kind, owner, **metadata):
    """The metadata of an object that belongs to another."""
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": owner, "controller": True}
    return {"namespace": "n", "labels": LABELS, "ownerReferences": [owner], **metadata}


def pod(name="api-1", owner="rs-new", **status):
    """A pod with one container; ``status`` is that of the container."""
    container = {"name": "api", "image": "i", "imageID": "", "ready": True, "restartCount": 0, **status}
    container.setdefault("state", {"running": {"startedAt": NOW}})
    return {"metadata": owned("ReplicaSet", owner, name=name), "status": {"containerStatuses": [container]}}


def routes(*pods, log="", available=True, selector=None):
    """A cluster with one Deployment, an old and a new ReplicaSet, and these pods."""
    sets = [
        {"metadata": owned("Deployment", "d", name=f"rs-{name}", uid=f"rs-{name}", annotations=annotations)}
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
    """Ask pod_logs of a cluster with these answers; returns the answer and the requests that were made."""

    def ask(answers, **params):
        with Replies(answers) as server:
            target = cluster(tmp_path, server.url)
            return run("pod_logs", params, target).answer, server.requests

    return ask


def cluster(folder, url):
    """The Target of a cluster at the URL."""
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
    """One line of the product's log."""
    return json.dumps({"level": level, "message": message})


@pytest.mark.parametrize("line", [entry("FATAL", "database gone"), "2026-01-18 12:00:00,123 - api - ERROR - gone"])
def test_line_is_an_error(ask, line):
    """What tests/unit/test_log_lines.py says of lines holds for a log."""
    assert ask(routes(pod(), log=f"fine\n{line}\n"))[0].outcome is Outcome.FAIL


def test_error_with_its_traceback_is_one(ask):
    """A traceback below uvicorn's error line belongs to it, and stands in the excerpt with what led to it."""
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
def test_container_in_trouble(ask, status, trouble):
    """A container that cannot start, or that was killed within the window, is named, whatever its log says."""
    answer, _ = ask(routes(pod(**status), log="fine"))

    assert (Outcome.FAIL, trouble) == (answer.outcome, answer.summary)


def test_old_crash_is_forgiven(ask):
    """A crash before the window, with nothing in the log since, is no trouble of now."""
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2020-01-01T00:00:00Z"}}
    answer, _ = ask(routes(pod(restartCount=1, lastState=ended), log="fine"))

    assert answer.outcome is Outcome.PASS


def test_log_of_the_life_before(ask):
    """After a restart the log of the container before it is read as well."""
    ended = {"terminated": {"exitCode": 0, "finishedAt": "2020-01-01T00:00:00Z"}}
    _, requests = ask(routes(pod(restartCount=1, lastState=ended), log="fine"))
    logs = [request.query.get("previous") for request in requests if request.path.endswith("/log")]

    assert logs == [["false"], ["true"]]


def test_pods_of_the_newest_replica_set_only(ask):
    """Pods that an earlier release left behind are not judged; 10 is newer than 9."""
    crashing = pod("api-0", "rs-old", state={"waiting": {"reason": "CrashLoopBackOff"}})
    answer, _ = ask(routes(crashing, pod(), log="fine"))

    assert (answer.outcome, answer.summary) == (Outcome.PASS, "1 pods, 1 containers, 1 lines, no errors")


def test_no_pods(ask):
    """A Deployment without pods has not booted."""
    answer, _ = ask(routes())

    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "deployment api has no pods")


def test_not_available(ask):
    """Too few pods are ready: FAIL, even if those that run say nothing bad."""
    answer, _ = ask(routes(pod(), log="fine", available=False))

    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "deployment not available: 1 of 2 pods ready")


def test_nothing_said_within_the_window(ask):
    """A container that was quiet for an hour is judged by the end of its log, whatever its age."""
    answers = routes(pod())
    answers[LOGS] = lambda request: Reply(200, b"" if "sinceSeconds" in request.query else b"ERROR: at the start")

    assert ask(answers)[0].outcome is Outcome.FAIL


def test_error_at_the_start_of_an_old_pod(ask):
    """A pod of this morning that has said a line since: with from_start its start is read, and the evidence says so."""

    def log(request):
        return Reply(200, b"fine" if "sinceSeconds" in request.query else b"ERROR: at the start\nfine")

    answers = {**routes(pod()), LOGS: log}
    answer, _ = ask(answers, from_start=True)

    assert ask(answers)[0].outcome is Outcome.PASS
    assert answer.summary == "1 error in the logs: api-1/api: ERROR: at the start"
    assert answer.evidence.asked.endswith(", from the start of each container")
    assert answer.evidence.seen.endswith("\napi-1/api: from its start on, 2 lines")


def test_a_log_too_long_to_be_read_from_the_start(ask):
    """Its beginning is judged, and what it said of late; what was read is said."""

    def log(request):
        return Reply(200, b"ERROR: of late" if "sinceSeconds" in request.query else (b"x" * 1023 + b"\n") * 20 * 1024)

    answer, _ = ask({**routes(pod()), LOGS: log}, from_start=True)

    assert answer.summary == "1 error in the logs: api-1/api: ERROR: of late"
    assert answer.evidence.seen.endswith("\napi-1/api: 20 MiB from its start on, and 60 min back, 20481 lines")


def test_no_lines_at_all(ask):
    """Without a single line there is nothing to judge: no PASS."""
    assert ask(routes(pod()))[0].outcome is Outcome.INCONCLUSIVE


def test_invalid_utf8(ask):
    """Bytes that are no UTF-8 do not hide the error beside them."""
    assert ask(routes(pod(), log=b"\xff\xfe\nERROR: gone\n"))[0].outcome is Outcome.FAIL


def test_log_may_not_be_read(ask):
    """The right to read logs is missing: ERROR, and the hint repeats what the API server says."""
    answers = routes(pod())
    answers[LOGS] = Reply(403, {"message": 'pods "api-1" is forbidden: cannot get resource "pods/log"'})
    answer, _ = ask(answers)

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "Kubernetes refused to read the log of api-1/api: 403 Forbidden"
    assert 'cannot get resource "pods/log"' in answer.hint


def test_selector_with_expressions(ask):
    """The Deployment's selector is sent as it is, expressions too."""
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


def test_cluster_down(tmp_path):
    """No API server: ERROR."""
    answer = run("pod_logs", {}, cluster(tmp_path, closed_port_url())).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "cannot reach Kubernetes to read deployment api in n"
