"""workload_env and what is below it: how variables are looked up, on the simulator and on a real API server."""

import base64

import pytest

from checks.contract import Outcome
from checks.outcome import CheckResult
from checks.registry import Registry, RegistryError
from clients.settings import Backup, Kubernetes
from clients.target import Target
from tests.checks.replies import Replies, Reply, closed_port_url
from tests.clients.test_clients import kube_target
from tests.fix_checks import run, staging_target
from tests.fix_kube import Kube

CANARY = "c4nary-value"
ENV_FROM = [
    {"secretRef": {"name": "low"}},
    {"prefix": "P_", "configMapRef": {"name": "plain"}},
    {"secretRef": {"name": "high"}},
    {"configMapRef": {"name": "gone", "optional": True}},
]
ENV = [
    {"name": "LITERAL", "value": "x"},
    {"name": "BLANK", "value": "  "},
    {"name": "NOTHING"},
    {"name": "TWICE", "value": "first"},
    {"name": "TWICE", "value": ""},
    {"name": "FALLS_BACK", "value": "first"},
    {"name": "FALLS_BACK", "valueFrom": {"secretKeyRef": {"name": "low", "key": "none", "optional": True}}},
    {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "low", "key": "full"}}},
    {"name": "EMPTY_SECRET", "valueFrom": {"secretKeyRef": {"name": "low", "key": "blank"}}},
    {"name": "NO_KEY", "valueFrom": {"secretKeyRef": {"name": "low", "key": "none"}}},
    {"name": "NO_SECRET", "valueFrom": {"secretKeyRef": {"name": "nowhere", "key": "full"}}},
    {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "plain", "key": "ENFORCEMENT"}}},
    {"name": "OWN", "value": ""},
    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
    {"name": "NO_LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    {"name": "REFERS", "value": "$(FROM_SECRET)"},
    {"name": "REFERS_NOWHERE", "value": "$(NEVER)"},
    {"name": "CIRCLE_A", "value": "$(CIRCLE_B)"},
    {"name": "CIRCLE_B", "value": "$(CIRCLE_A)"},
    {"name": "mixed_Case", "value": "x"},
]
SET = {
    "LITERAL": "a plain value",
    "FALLS_BACK": "a plain value",
    "FROM_SECRET": "Secret low",
    "FROM_MAP": "ConfigMap plain",
    "IN_BOTH": "Secret high",
    "ONLY_LOW": "Secret low",
    "P_ENFORCEMENT": "ConfigMap plain",
    "POD": "metadata.name of the pod",
    "LABEL": "metadata.labels['app'] of the pod",
    "CPU": "limits.cpu of the container",
    "REFERS": "FROM_SECRET, Secret low",
}
NOT_SET = {
    "BLANK": "BLANK is empty (a plain value)",
    "NOTHING": "NOTHING is empty (a plain value)",
    "TWICE": "TWICE is empty (a plain value)",
    "EMPTY_SECRET": "EMPTY_SECRET is empty (Secret low)",
    "NO_KEY": "NO_KEY can't be set: Secret low has no key none, so no pod can start",
    "NO_SECRET": "NO_SECRET can't be set: Secret nowhere doesn't exist, so no pod can start",
    "OWN": "OWN is empty (a plain value)",
    "NO_LABEL": "NO_LABEL is empty (metadata.labels['team'] of the pod)",
    "REFERS_NOWHERE": "REFERS_NOWHERE refers to NEVER, which is not set",
    "CIRCLE_A": "CIRCLE_A refers to CIRCLE_B in a circle",
    "ENFORCEMENT": "ENFORCEMENT is not set",
    "MIXED_CASE": "MIXED_CASE is not set",
}


def fill(kube: Kube) -> Target:
    """Create a Deployment without pods and a CronJob, with variables from every source."""
    values = {"full": CANARY, "blank": " ", "IN_BOTH": "", "ONLY_LOW": CANARY, "OWN": CANARY}
    kube.core.create_namespaced_secret(kube.namespace, {"metadata": {"name": "low"}, "stringData": values})
    kube.core.create_namespaced_secret(
        kube.namespace, {"metadata": {"name": "high"}, "stringData": {"IN_BOTH": CANARY}}
    )
    plain = {"metadata": {"name": "plain"}, "data": {"ENFORCEMENT": "on"}}
    kube.core.create_namespaced_config_map(kube.namespace, plain)
    labels = {"app": "product"}
    container = {"name": "api", "image": "example/api:1", "env": ENV, "envFrom": ENV_FROM}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    kube.apps.create_namespaced_deployment(kube.namespace, {"metadata": {"name": "api"}, "spec": spec})
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "backup", "image": "b", "env": [{"name": "BUCKET", "value": "b"}]}],
    }
    job = {"schedule": "0 2 * * *", "suspend": True, "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    kube.batch.create_namespaced_cron_job(kube.namespace, {"metadata": {"name": "backup"}, "spec": job})
    return Target(
        name="production",
        kubernetes=Kubernetes(kubeconfig=str(kube.kubeconfig), namespace=kube.namespace),
        backup=Backup(namespace=kube.namespace, cronjob="backup", bucket="b"),
    )


def ask(target: Target, **params: object) -> CheckResult:
    """Run the check and assert that its result contains no value of a Secret."""
    result = run("workload_env", params, target)
    assert CANARY not in repr(result)
    assert base64.b64encode(CANARY.encode()).decode() not in repr(result)
    return result


def test_every_source_of_a_variable_is_found(kube: Kube) -> None:
    """Each variable is found where Kubernetes finds it, and a missing one is told from an empty one."""
    target = fill(kube)

    good = ask(target, variables=list(SET)).answer
    bad = ask(target, variables=list(NOT_SET)).answer

    assert good.outcome is Outcome.PASS, good.summary
    assert good.summary == f"{len(SET)} of {len(SET)} variables are set on deployment/api in {kube.namespace}"
    assert good.evidence.seen.splitlines() == [f"{name} is set ({source})" for name, source in SET.items()]
    assert bad.outcome is Outcome.FAIL
    assert bad.evidence.seen.splitlines() == list(NOT_SET.values())
    assert ask(target, variables=["MIXED_CASE"], ignore_case=True).outcome is Outcome.PASS
    assert ask(target, workload="cronjob", variables=["BUCKET"]).outcome is Outcome.PASS


def test_plain_values_are_compared(kube: Kube) -> None:
    """The value is right, another known word, an unknown one that is not repeated, missing, or in a Secret."""
    target = fill(kube)

    def ask_plain(name: str, *words: str) -> tuple[Outcome, str]:
        answer = ask(target, plain={name: words}).answer
        return answer.outcome, answer.summary

    where = f"deployment/api in {kube.namespace}"
    assert ask_plain("P_ENFORCEMENT", "ON", "off") == (Outcome.PASS, "P_ENFORCEMENT is ON (ConfigMap plain)")
    assert ask_plain("P_ENFORCEMENT", "off", "on") == (
        Outcome.FAIL,
        f"{where}: P_ENFORCEMENT is on, not off (ConfigMap plain)",
    )
    assert ask_plain("LITERAL", "on", "off") == (
        Outcome.FAIL,
        f"{where}: LITERAL is neither on nor off (a plain value)",
    )
    assert ask_plain("NEVER", "on", "off") == (Outcome.FAIL, f"{where}: NEVER is not set and not on")
    assert ask_plain("FROM_SECRET", "on") == (
        Outcome.ERROR,
        "FROM_SECRET comes from Secret low, whose values the bot doesn't read",
    )


def test_an_unknown_deployment_or_container_is_an_error(kube: Kube) -> None:
    """If the Deployment or container does not exist nothing is known."""
    target = fill(kube)
    none = target.model_copy(update={"kubernetes": target.kubernetes.model_copy(update={"deployment": "web"})})  # type: ignore[union-attr]

    no_deployment = ask(none, variables=["A"]).answer
    container = ask(target, variables=["A"], container="web").answer

    assert (no_deployment.outcome, no_deployment.summary) == (
        Outcome.ERROR,
        f"there is no deployment web in {kube.namespace}",
    )
    assert (container.outcome, container.hint) == (
        Outcome.ERROR,
        "Name one of them in the checklist or in release-bot.yml: api.",
    )


@pytest.mark.parametrize(
    ("status", "message", "summary"),
    [
        (403, 'secrets "low" is forbidden', "Kubernetes refused to read Secret low in solvereign: 403 "),
        (500, "etcd is slow", "Kubernetes failed to read Secret low in solvereign: 500 "),
    ],
)
def test_a_secret_that_cannot_be_read_is_an_error(tmp_path, status, message, summary):
    """A missing right, or a failure of the API server, is never a missing variable."""
    container = {"name": "api", "env": [ENV[7]]}
    routes = {
        "GET /apis/apps/v1/namespaces/solvereign/deployments/api": Reply(
            200, {"metadata": {}, "spec": {"template": {"spec": {"containers": [container]}}}}
        ),
        "GET /api/v1/namespaces/solvereign/secrets/low": Reply(status, {"kind": "Status", "message": message}),
    }
    with Replies(routes) as server:
        answer = ask(kube_target(tmp_path, server.url), variables=["FROM_SECRET"]).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary.startswith(summary.strip())
    assert message in answer.evidence.seen


def test_an_unreachable_cluster_is_an_error(tmp_path):
    """A cluster that cannot be reached is an ERROR."""
    answer = ask(kube_target(tmp_path, closed_port_url()), variables=["A"]).answer

    assert answer.outcome is Outcome.ERROR
    assert "cannot reach Kubernetes" in answer.summary


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "name at least one variable"),
        ({"plain": {"A": []}}, "A needs its right value"),
        ({"plain": {"A": [True, False]}}, 'write the words of A in quotes, as "on"'),
    ],
)
def test_parameters_without_meaning_are_rejected(params, message):
    """Empty parameters are rejected with the checklist, and so is an unquoted on, which YAML reads as true."""
    with pytest.raises(RegistryError, match=message):
        Registry.load().validate("workload_env", params)


def test_the_variables_of_the_sandbox_are_set(sandbox):
    """The variables that the checklist names are set on staging."""
    names = ["SOLVEREIGN_SENTRY_DSN", "SOLVEREIGN_STRIPE_API_KEY", "SOLVEREIGN_STRIPE_WEBHOOK_SECRET"]
    answer = ask(staging_target(sandbox), variables=names).answer

    assert answer.outcome is Outcome.PASS
    assert answer.summary.startswith("3 of 3 variables are set on deployment/api in ")
