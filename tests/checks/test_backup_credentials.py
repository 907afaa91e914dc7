"""backup_credentials: keys, web identity and role, from what an API server may say of the CronJob."""

from datetime import UTC, datetime, timedelta

import pytest

from checks.contract import Outcome
from clients.settings import Backup
from tests.checks.replies import Replies, Reply
from tests.clients.test_clients import kube_target
from tests.fix_checks import production_target, run

CRONJOB = "GET /apis/batch/v1/namespaces/backups/cronjobs/nightly"
ACCOUNT = "GET /api/v1/namespaces/backups/serviceaccounts/"
HALF = "AWS_SECRET_ACCESS_KEY is not set"


def plain(*names: str) -> list[dict[str, str]]:
    """Variables with a plain value."""
    return [{"name": name, "value": "x"} for name in names]


def hours_ago(hours: float) -> str:
    """A time that many hours ago as Kubernetes writes it."""
    return (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def ask(tmp_path):
    """A function that runs the check on a CronJob with these variables, last good run and service account."""

    def ask(env=(), last=None, account="default", annotations=None, **pod):
        spec = {"containers": [{"name": "backup", "env": list(env)}], **pod}
        cronjob = {
            "metadata": {},
            "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}},
            "status": {"lastSuccessfulTime": last} if last else {},
        }
        metadata = {"name": account} | ({"annotations": annotations} if annotations else {})
        routes = {CRONJOB: Reply(200, cronjob), f"{ACCOUNT}{account}": Reply(200, {"metadata": metadata})}
        with Replies(routes) as server:
            part = Backup(namespace="backups", cronjob="nightly", bucket="b")
            return run(
                "backup_credentials", {}, kube_target(tmp_path, server.url).model_copy(update={"backup": part})
            ).answer

    return ask


ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/backup"}
WHERE = "cronjob/nightly in backups"


@pytest.mark.parametrize(
    ("cronjob_facts", "outcome", "summary"),
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
            f"{WHERE}: service account gone doesn't exist, so no pod can start",
        ),
    ],
    ids=["keys", "half", "empty", "web identity", "half identity", "account", "nothing", "no account"],
)
def test_each_source_of_credentials_is_judged(ask, cronjob_facts, outcome, summary):
    """The check knows every source that AWS' libraries accept, and tells half a source from none."""
    answer = ask(**cronjob_facts)

    assert (answer.outcome, answer.summary) == (outcome, summary)


def test_a_role_that_the_cluster_does_not_show_is_proved_by_a_run(ask):
    """Only a run that succeeded recently proves hidden credentials; an older one is INCONCLUSIVE."""
    recent_run, old_run = ask(last=hours_ago(20)), ask(last=hours_ago(200))

    assert recent_run.outcome is Outcome.PASS
    assert recent_run.summary.startswith(f"{WHERE} has a role that the cluster doesn't show: its run of ")
    assert old_run.outcome is Outcome.INCONCLUSIVE
    assert old_run.summary.startswith(f"{WHERE} shows no credentials, and its last good run was at ")


def test_a_missing_cronjob_is_an_error(ask, tmp_path):
    """Without the CronJob nothing is known: ERROR."""
    with Replies({}) as server:
        part = Backup(namespace="backups", cronjob="nightly", bucket="b")
        target = kube_target(tmp_path, server.url).model_copy(update={"backup": part})
        answer = run("backup_credentials", {}, target).answer

    assert (answer.outcome, answer.summary) == (Outcome.ERROR, "there is no cronjob nightly in backups")


def test_the_keys_of_the_sandbox_are_recognised(sandbox):
    """The CronJob of production has keys from a Secret, and their values are not in the answer."""
    result = run("backup_credentials", {}, production_target(sandbox))

    assert result.outcome is Outcome.PASS
    assert result.answer.summary.endswith(" has keys: Secret backup-env")
    assert sandbox["s3"]["secret_access_key"] not in repr(result)
