"""How a Job has ended, by what Kubernetes writes into its status."""

import pytest

from bot.steps.jobs import BACKOFF, DEADLINE, JOB_FAILED, _condition


@pytest.mark.parametrize(
    ("end", "limit", "reason", "expected"),
    [
        ("2026-11-25T18:00:05Z", 5, BACKOFF, DEADLINE),
        ("2026-11-25T18:00:04Z", 5, BACKOFF, BACKOFF),
        ("2026-11-25T18:00:09Z", None, BACKOFF, BACKOFF),
        ("2026-11-25T18:00:05Z", 5, DEADLINE, DEADLINE),
    ],
)
def test_a_pod_that_failed_at_the_deadline_of_its_job_was_stopped_by_kubernetes(end, limit, reason, expected):
    """The Job controller can write either reason when it stops a pod; the time tells which one is true."""
    condition = {"type": JOB_FAILED, "status": "True", "reason": reason, "lastTransitionTime": end}
    job = {
        "spec": {"activeDeadlineSeconds": limit},
        "status": {"startTime": "2026-11-25T18:00:00Z", "conditions": [condition]},
    }

    assert _condition(job) == (JOB_FAILED, expected)
