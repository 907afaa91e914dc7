"""One entry for each kind: the cases that show each of its outcomes, or the reason why there is none.

Whoever writes a kind adds it to CASES; the suite (test_kind_outcomes.py) fails as long as it is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from checks.contract import Outcome
from tests.checks import test_migrations_declared, test_pod_logs, test_repo_pulls, test_sentry_rate
from tests.checks.replies import Reply, Route
from tests.fix_checks import Vendor

Word = Literal["green", "red", "down", "slow", "rights", "unclear"]
OUTCOMES: Mapping[Word, Outcome] = {
    "green": Outcome.PASS,
    "red": Outcome.FAIL,
    "down": Outcome.ERROR,  # nobody listens
    "slow": Outcome.ERROR,  # the connection is taken and nothing is ever said
    "rights": Outcome.ERROR,  # the credentials lack a right
    "unclear": Outcome.INCONCLUSIVE,
}


@dataclass(frozen=True)
class Case:
    """One situation of a kind; by default everything works, on the staging of the sandbox."""

    params: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict)
    on: Literal["staging", "production"] = "staging"
    fault: str = ""  # switch of the sandbox that is on
    down: Vendor | None = None
    slow: Vendor | None = None
    forbidding: Vendor | None = None
    change: Mapping[str, Any] = field(default_factory=dict)  # of the target, as for tests.fix_checks.with_changes
    routes: Mapping[str, Route] = field(default_factory=dict)  # a vendor of the test's own in place of the sandbox's
    server_for: Vendor = "api"  # whom that vendor replaces
    needs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    version: str = ""  # of the release it is asked for
    commit: str = ""  # of that release; empty: the newest of the sandbox's repository
    announcement: str = ""  # address of its announcement
    after_backup: bool = False  # it gets what the green backup_job hands on as go.backup
    seconds: float = 25.0  # until the deadline


Cases = Mapping[Word, Case | str]  # a text: why there is no such case


def usual(vendor: Vendor, green: Case, red: Case | str, **others: Case | str) -> Cases:
    """The cases of a kind: green, red, and the green one with the vendor down, slow and without rights."""
    cases: dict[Any, Case | str] = {
        "green": green,
        "red": red,
        "down": replace(green, down=vendor),
        "slow": replace(green, slow=vendor),
        "rights": replace(green, forbidding=vendor),
    }
    return {**cases, **others}


def _ago(**since: float) -> Callable[[], Mapping[str, Any]]:
    return lambda: {"since": (datetime.now(UTC) - timedelta(**since)).isoformat()}


def _repository(pulls: Mapping[int, list[dict[str, object]]], issues: Mapping[int, str]) -> Case:
    """A release of one commit, with ``pulls`` and ``issues`` as for test_repo_pulls.github."""
    routes = test_repo_pulls.github([test_repo_pulls.commit(1)], pulls, issues)
    change = {"github": {"repository": "o/r"}}
    return Case(routes=routes, server_for="github", change=change, version="v1.10.0", commit=test_repo_pulls.HEAD)


def _rise_began() -> datetime:
    return test_sentry_rate.now() - timedelta(minutes=4)


NO_KEYS = {  # nor a role that can be seen, and its last good run was long ago
    "metadata": {},
    "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "backup"}]}}}}},
    "status": {"lastSuccessfulTime": "2026-01-01T00:00:00Z"},
}
NOBODY = "only a person answers"
OPEN = "it asks what anybody may ask; a refusal is an answer"
EMPTY = ["Solver Runs (Hourly)", "Solver Duration", "Drivers per Tenant"]

CASES: Mapping[str, Cases] = {
    "all_of": {
        "green": Case(needs={"a.one": {}}),
        "red": "a need that did not pass keeps it from running at all",
        "down": Case(),  # nothing under its needs
        "slow": "it asks nobody",
        "rights": "it asks nobody",
    },
    "announced": {
        "green": Case(version="v4.8.0", announcement="https://solvereign.slack.com/archives/C1/p1"),
        "red": Case(version="v4.8.0"),
        "down": Case(),  # no release
        "slow": "it asks nobody",
        "rights": "it asks nobody",
    },
    "api_flow": usual(
        "api", Case(), Case({"expect": {"success": False}}), rights=Case(change={"login": {"email": "x@y.z"}})
    ),
    "attest": {**dict.fromkeys(("green", "red", "down", "slow", "rights"), NOBODY), "unclear": Case()},
    "backup_credentials": usual(
        "kube",
        Case(on="production"),
        Case(on="production", fault="backup_keys_missing"),
        unclear=Case(
            routes={
                "GET /apis/batch/v1/namespaces/n/cronjobs/nightly": Reply(200, NO_KEYS),
                "GET /api/v1/namespaces/n/serviceaccounts/default": Reply(200, {"metadata": {"name": "default"}}),
            },
            server_for="kube",
            change={"backup": {"namespace": "n", "cronjob": "nightly"}},
        ),
    ),
    "backup_job": usual("kube", Case(), Case({"min_size": 10**9})),
    "billing_gate": usual("api", Case(), Case(fault="gating_open"), rights=Case(forbidding="database")),
    "grafana_panels": usual(
        "grafana",
        Case({"dashboard": "solvereign-overview", "may_be_empty": EMPTY}),
        Case({"dashboard": "solvereign-overview"}),
    ),
    "http_json": usual(
        "api", Case({"path": "/health"}), Case({"path": "/health", "expect": {"status": "sick"}}), rights=OPEN
    ),
    "http_pages": usual(
        "frontend",
        Case({"pages": [{"path": "/legal/terms"}]}),
        Case({"pages": [{"path": "/legal/terms", "text": "never written"}]}),
        rights=OPEN,
    ),
    "metrics_flow": usual(
        "grafana", Case({"within": 10}, on="production"), Case({"within": 1}, on="production", fault="metrics_stale")
    ),
    "migrations_applied": usual("github", Case(), Case(fault="migration_missing")),
    "migrations_declared": usual(
        "github",
        Case(version="v4.8.0"),
        Case(
            routes=test_migrations_declared.repository(v1_0_0={}, head={"001_one.sql": "SELECT 1;"}),
            server_for="github",
            change={"github": {"repository": "o/r"}},
            version="v1.1.0",
            commit=test_migrations_declared.COMMIT,
        ),
    ),
    "pod_logs": usual(
        "kube",
        Case(),
        Case({"from_start": True, "start_lines": ["never said"]}),
        unclear=Case(
            routes=test_pod_logs.routes(test_pod_logs.pod()),
            server_for="kube",
            change={"kubernetes": {"namespace": "n", "deployment": "api"}},
        ),
    ),
    "pod_restarts": usual("kube", Case(on="production"), Case(fault="app_crash_loop")),
    "repo_file": usual(
        "github",
        Case({"path": "claude.md", "text": "Status: V{bare}"}, version="v4.8.0"),
        Case({"path": "claude.md", "text": "Status: V{bare}"}, version="v4.9.0"),
    ),
    "repo_issues": usual(
        "github", Case(version="v4.8.0"), _repository({1: [test_repo_pulls.pull(12, "Closes #8")]}, {8: "open"})
    ),
    "repo_pulls": usual(
        "github",
        Case(version="v4.8.0"),
        "it has no FAIL: what is in a release is nothing bad",
        unclear=_repository({}, {}),
    ),
    "restore_drill": usual("s3", Case(after_backup=True), Case({"counts": {"tenants": 10**6}}, after_backup=True)),
    "sentry_quiet": usual(
        "sentry",
        Case(_ago(seconds=0), on="production"),
        Case(_ago(seconds=0), on="production", fault="sentry_new_issue"),
    ),
    "sentry_rate": usual(
        "sentry",
        Case(_ago(minutes=5), on="production"),
        Case(
            lambda: {"since": _rise_began().isoformat()},
            routes={
                test_sentry_rate.RATES: lambda _: test_sentry_rate.series(_rise_began(), [0] * 30, [0, 40, 40, 40, 40])
            },
            server_for="sentry",
        ),
        unclear=Case(_ago(seconds=0), on="production"),
    ),
    "sentry_receives": usual("sentry", Case(seconds=14), Case(seconds=6, fault="sentry_drops_events")),
    "sql_verify": usual(
        "database",
        Case({"function": "billing.verify_billing_schema"}),
        Case({"function": "billing.verify_billing_schema", "rows": [99]}),
    ),
    "stripe_endpoint": usual(
        "stripe", Case(on="production"), Case({"url": "https://elsewhere.example/hook"}, on="production")
    ),
    "stripe_probe": usual("api", Case(on="production"), Case({"path": "/nowhere"}, on="production"), rights=OPEN),
    "stripe_webhook": usual("api", Case(), Case(fault="webhook_secret_differs"), rights=Case(forbidding="database")),
    "workload_env": usual(
        "kube",
        Case({"variables": ["SOLVEREIGN_SENTRY_DSN"]}, on="production"),
        Case({"variables": ["NEVER_SET"]}, on="production"),
    ),
    # Of the sample plugin in tests/plugin.
    "queue_depth": usual(
        "api",
        Case(routes={"GET /api/queue": Reply(200, {"waiting": 3})}),
        Case({"at_most": 2}, routes={"GET /api/queue": Reply(200, {"waiting": 3})}),
    ),
    "queue_drain": usual(
        "api", Case(routes={"GET /api/queue": Reply(200, {"waiting": 0})}), "it has no FAIL: it waits until it can pass"
    ),
    "queue_pause": usual(
        "api",
        Case(routes={"PUT /api/queue": Reply(200, {}), "GET /api/queue": Reply(200, {"paused": True})}),
        Case(routes={"PUT /api/queue": Reply(200, {}), "GET /api/queue": Reply(200, {"paused": False})}),
    ),
}
