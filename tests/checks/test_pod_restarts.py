"""pod_restarts: the Deployment of the sandbox's production, calm and with a container that crashed."""

from checks.contract import Outcome
from tests.fix_checks import production_target, run, staging_target, with_changes


def test_pods_without_restarts_pass(sandbox):
    """If all pods run and none was restarted the answer is PASS with their number."""
    answer = run("pod_restarts", {}, production_target(sandbox)).answer
    assert (answer.outcome, answer.summary) == (Outcome.PASS, "2 pods, 2 containers, 0 restarts")


def test_a_crash_loop_beside_a_healthy_pod_fails(sandbox):
    """The FAIL names the container, its restarts and how it ended; each number of restarts is one episode."""
    with sandbox.fault("app_crash_loop"):
        answer = run("pod_restarts", {}, staging_target(sandbox)).answer
        forgiven = run("pod_restarts", {"allow": 50}, staging_target(sandbox)).answer
    assert answer.outcome is Outcome.FAIL
    assert "-crash/api " in answer.summary
    assert "restart" in answer.summary
    assert int(answer.data["episode"]) > 0
    assert "was restarted" not in forgiven.summary


def test_an_unknown_deployment_is_an_error(sandbox):
    """A Deployment that does not exist is an ERROR."""
    answer = run("pod_restarts", {}, with_changes(production_target(sandbox), kubernetes={"deployment": "web"})).answer
    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith("Kubernetes failed to read deployment web in ")
