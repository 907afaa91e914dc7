"""pod_restarts: the Deployment of the sandbox's production, calm and with a container that crashed."""

from checks.contract import Outcome
from tests.fix_checks import changed, production_target, run, staging_target


def test_calm(sandbox):
    """All pods run and none was restarted: PASS that says how many."""
    answer = run("pod_restarts", {}, production_target(sandbox)).answer
    assert (answer.outcome, answer.summary) == (Outcome.PASS, "2 pods, 2 containers, 0 restarts")


def test_crash_loop_beside_a_healthy_pod(sandbox):
    """FAIL names the container, how often it was restarted and how it ended; so many restarts are one episode."""
    with sandbox.fault("app_crash_loop"):
        answer = run("pod_restarts", {}, staging_target(sandbox)).answer
        forgiven = run("pod_restarts", {"allow": 50}, staging_target(sandbox)).answer
    assert answer.outcome is Outcome.FAIL
    assert "-crash/api " in answer.summary
    assert "restart" in answer.summary
    assert int(answer.data["episode"]) > 0
    assert "was restarted" not in forgiven.summary


def test_unknown_deployment(sandbox):
    """Nothing was found out."""
    answer = run("pod_restarts", {}, changed(production_target(sandbox), kubernetes={"deployment": "web"})).answer
    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith("Kubernetes failed to read deployment web in ")
