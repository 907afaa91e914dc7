"""backup_credentials: keys, web identity and role, from what an API server may say of the CronJob."""

from datetime import UTC, datetime, timedelta

import pytest

from checks.contract import Outcome
from clients.s3 import Backup
from tests.checks.replies import Replies, Reply
from tests.clients.test_clients import kube_target
from tests.fix_checks import production_target, run

CRONJOB = "GET /apis/batch/v1/namespaces/backups/cronjobs/nightly"
ACCOUNT = "GET /api/v1/namespaces/backups/serviceaccounts/"
HALF = "AWS_SECRET_ACCESS_KEY is not set"


def plain(*names: str) -> list[dict[str, str]]:
    """Variables with something in them."""
    return [{"name": name, "value": "x"} for name in names]


def hours_ago(hours: float) -> str:
    """A time as Kubernetes writes it."""
    return (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def ask(tmp_path):
    """Ask of a CronJob with these variables, last good run and service account."""

    def ask(env=(), last=None, account="default", annotations=None, **pod):
        spec = {"containers": [{"name": "backup", "env": list(env)}], **pod}
        cronjob = {
            "metadata": {},
            "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}},
            "status": {"lastSuccessfulTime": last} if last else {},
        }
        metadata = {"name": account} | ({"annotations": annotations} if annotations else {})
        answers = {CRONJOB: Reply(200, cronjob), f"{ACCOUNT}{account}": Reply(200, {"metadata": metadata})}
        with Replies(answers) as server:
            part = Backup(namespace="backups", cronjob="nightly", bucket="b")
            return run(
                "backup_credentials", {}, kube_target(tmp_path, server.url).model_copy(update={"backup": part})
            ).answer

    return ask


ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/backup"}
WHERE = "cronjob/nightly in backups"


@pytest.mark.parametrize(
    ("given", "outcome", "summary"),
    [
        (
            {"env": plain("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
            Outcome.PASS,
            f"{WHERE} has keys: a plain value",
        ),
        ({"env": plain("AWS_ACCESS_KEY_ID")}, Outcome.FAIL, f"{WHERE}: {HALF}"),
        (
            {"env": [*plain("AWS_ACCESS_KEY_ID"), {"name": "AWS_SECRET_ACCESS_KEY", "value": ""}]},
            Outcome.FAIL,
            f"{WHERE}: AWS_SECRET_ACCESS_KEY is empty (a plain value)",
        ),
        (
            {"env": plain("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")},
            Outcome.PASS,
            f"{WHERE} has a web identity: a plain value",
        ),
        ({"env": plain("AWS_ROLE_ARN")}, Outcome.FAIL, f"{WHERE}: AWS_WEB_IDENTITY_TOKEN_FILE is not set"),
        (
            {"account": "backup", "serviceAccountName": "backup", "annotations": ROLE},
            Outcome.PASS,
            f"{WHERE} has a web identity: service account backup, arn:aws:iam::1:role/backup",
        ),
        ({}, Outcome.FAIL, f"{WHERE} has no credentials, and no run of it has ever succeeded"),
        (
            {"serviceAccountName": "gone"},
            Outcome.FAIL,
            f"{WHERE}: service account gone is not there, and no pod can start",
        ),
    ],
    ids=["keys", "half", "empty", "web identity", "half identity", "account", "nothing", "no account"],
)
def test_each_way(ask, given, outcome, summary):
    """What AWS' libraries would take, what is half there, and what is not there at all."""
    answer = ask(**given)

    assert (answer.outcome, answer.summary) == (outcome, summary)


def test_a_role_that_the_cluster_does_not_show(ask):
    """Only a run that succeeded lately proves it; one of last week leaves it open."""
    proved, open_still = ask(last=hours_ago(20)), ask(last=hours_ago(200))

    assert proved.outcome is Outcome.PASS
    assert proved.summary.startswith(f"{WHERE} has a role that the cluster does not show: its run of ")
    assert open_still.outcome is Outcome.INCONCLUSIVE
    assert open_still.summary.startswith(f"{WHERE} shows no credentials, and its last good run was at ")


def test_no_such_cronjob(ask, tmp_path):
    """Nothing was found out: ERROR."""
    with Replies({}) as server:
        part = Backup(namespace="backups", cronjob="nightly", bucket="b")
        target = kube_target(tmp_path, server.url).model_copy(update={"backup": part})
        answer = run("backup_credentials", {}, target).answer

    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "there is no cronjob nightly in backups")


def test_the_product_in_the_sandbox(sandbox):
    """The CronJob of production has keys from its Secret, whose values are not in the answer."""
    result = run("backup_credentials", {}, production_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary.endswith(" has keys: Secret backup-env")
    assert sandbox["s3"]["secret_access_key"] not in repr(result)
