"""The lines of the shipped checklist against what the product and its vendors are known to do, one switch at a time."""

from pathlib import Path
from typing import Any

import pytest

from bot.app import load_checklist
from checks.contract import Outcome
from checks.outcome import CheckResult
from checks.registry import Registry
from sandbox.faults import Faults
from tests.fix_checks import production_target, run, staging_target

REGISTRY = Registry.load()
CHECKLIST = load_checklist("solvereign", REGISTRY)
TARGETS = {"staging": staging_target, "production": production_target}
PASS, FAIL, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.ERROR

# switch, line of the checklist, what it must say
MIGRATIONS = [
    ("verify_fails", "go.migrations", FAIL, "1 of 5 rows don't pass: helper_functions FAIL"),
    (
        "verify_missing",
        "go.migrations",
        FAIL,
        "function billing.verify_billing_schema() is missing: migration not applied",
    ),
    ("verify_empty", "go.migrations", FAIL, "0 rows: nothing was verified"),
    (
        "verify_no_rights",  # the function itself says FAIL to a role that may not see the tables
        "go.migrations",
        ERROR,
        "role release_bot has no right on billing.stripe_customers, billing.subscriptions, so billing.verify_billing",
    ),
    ("verify_no_rights", "migrations.legal_acceptance", ERROR, "permission denied for table legal_documents"),
    ("", "migrations.final_hardening", PASS, "12 rows, 10 PASS, 1 INFO, 1 WARN"),
    ("hardening_complete", "migrations.final_hardening", PASS, "17 rows, 16 PASS, 1 WARN"),
    ("migration_missing", "migrations.applied", FAIL, " is not applied"),
    ("migration_changed", "migrations.applied", FAIL, " had another content when it was applied"),
    (
        "migrations_unrecorded",
        "migrations.applied",
        PASS,
        "no files are recorded; 3 verify functions say PASS",
    ),
    ("github_down", "migrations.applied", ERROR, "503"),
]
WEBHOOK = [
    ("", "go.stripe_webhook", PASS, "200 processed, row "),
    (
        "webhook_error",
        "go.stripe_webhook",
        FAIL,
        "200, but status error: 'AsyncConnectionPool' object has no attribute",
    ),
    (
        "webhook_error",
        "go.webhook_idempotent",
        FAIL,
        "200, but status error: ",
    ),  # its repeats are "skipped" all the same
    ("webhook_no_row", "go.stripe_webhook", FAIL, "200, but status error: "),
    ("webhook_ignores", "go.stripe_webhook", FAIL, "200, but status ignored: no_handler"),
    (
        "webhook_customer_unknown",
        "go.stripe_webhook",
        FAIL,
        "200 processed, but the result is the error customer_not_found",
    ),
    ("webhook_secret_differs", "go.stripe_webhook", FAIL, "400 Invalid signature: the signature was refused"),
    ("webhook_duplicates", "go.webhook_idempotent", FAIL, "delivery 2 was processed again"),
    ("stripe_missing", "go.stripe_webhook", FAIL, "503 Stripe not configured: the stripe package is not installed"),
    ("stripe_missing", "environment.stripe_package", FAIL, "503: the stripe package is not installed in the image"),
    ("webhook_not_started", "go.stripe_webhook", FAIL, "503 Billing service not configured"),
    ("webhook_not_started", "environment.stripe_package", FAIL, "503: the billing service did not start"),
    ("webhook_unmounted", "go.stripe_webhook", FAIL, "404: the billing router is not mounted"),
    ("webhook_unmounted", "environment.stripe_package", FAIL, "404: the billing router is not mounted"),
    ("product_down", "go.stripe_webhook", ERROR, "503, the product doesn't answer"),
]
GATING = [
    ("", "go.billing_gating", PASS, "402 subscription_required while past_due; status put back to active"),
    ("gating_detail", "go.billing_gating", PASS, "402 subscription_required while past_due"),
    ("gating_open", "go.billing_gating", FAIL, "no 402, got 404: gating is not wired"),
]
HTTP = [
    ("health_error", "post.health", FAIL, "/health answers 200, but status is 'error', not 'healthy'"),
    ("login_error", "post.login", FAIL, "the login answers 500"),
    ("login_no_cookie", "post.login", FAIL, "the login sets no cookie"),
    ("login_locked", "post.login", ERROR, "cannot log in on production: 403"),
    ("login_limited", "post.login", ERROR, "cannot log in on production: 429"),
    ("session_lost", "post.login", ERROR, "the session was not accepted"),
    ("smoke_error", "post.login", FAIL, "logged in, but GET /api/v1/roster/plans answers 500, not 200"),
    ("legal_page_missing", "go.legal_pages", FAIL, "/legal/imprint answers 404, not 200"),
]
CONFIGURATION = [
    ("secret_empty", "environment.sentry_dsn", FAIL, "SOLVEREIGN_SENTRY_DSN is empty (Secret api-env)"),
    ("enforcement_off", "environment.billing_enforcement", FAIL, "SOLVEREIGN_BILLING_ENFORCEMENT is off, not on"),
    (
        "enforcement_unset",
        "environment.billing_enforcement",
        FAIL,
        "SOLVEREIGN_BILLING_ENFORCEMENT is not set and not on",
    ),
    ("backup_keys_missing", "environment.aws_credentials", FAIL, "Secret backup-env has no key AWS_SECRET_ACCESS_KEY"),
    ("stripe_endpoint_disabled", "environment.webhook_url", FAIL, " is disabled"),
    ("stripe_endpoint_lacks_event", "environment.webhook_url", FAIL, " is not sent invoice.payment_failed"),
    ("stripe_down", "environment.webhook_url", ERROR, "503"),
]
BACKUP = [
    ("backup_tiny", "go.backup", FAIL, "only 100 bytes"),
    ("backup_unencrypted", "go.backup", FAIL, "not encrypted at rest"),
    ("backup_unwritten", "go.backup", FAIL, "no new dump of staging in s3://"),
    ("s3_down", "go.backup", ERROR, "cannot list s3://solvereign-backups-prod/postgresql/: "),
]
MONITORING = [
    ("grafana_empty_panel", "go.grafana", FAIL, "no data: Request Rate"),
    ("grafana_no_traffic", "go.grafana", FAIL, "no data: Success Rate (5m)"),
    (
        "grafana_no_exporters",
        "go.grafana",
        FAIL,
        "no data: API Status, Database Status, Last Backup Age, Database Connections, CPU Usage, Memory Usage",
    ),
    ("grafana_down", "go.grafana", ERROR, "503"),
]
JUDGED_ELSEWHERE = {
    "app_log_errors": "test_pod_logs.py",
    "app_crash_loop": "test_pod_logs.py",
    "backup_fails": "test_backup_job.py",
    "backup_truncated": "test_restore_drill.py",
    "boot_table_missing": "test_restore_boot.py",
    "sentry_drops_events": "test_sentry_receives.py",
    "sentry_down": "test_sentry_receives.py",
}
CASES = [*MIGRATIONS, *WEBHOOK, *GATING, *HTTP, *CONFIGURATION, *BACKUP, *MONITORING]


def ask(sandbox: Any, line: str, **params: object) -> CheckResult:
    """Run a line of the shipped checklist."""
    check = CHECKLIST.check(line)
    assert check is not None
    return run(check.kind, {**check.params, **params}, TARGETS[check.target](sandbox))


@pytest.mark.parametrize(
    ("switch", "line", "outcome", "words"),
    CASES,
    ids=[f"{switch or 'all well'}-{line}" for switch, line, _, _ in CASES],
)
def test_each_behaviour_of_the_product_is_judged(sandbox, switch, line, outcome, words):
    """A 200 alone is not good, a 404 is not a 402, and no answer is no failure."""
    if switch:
        sandbox.switch(switch, True)

    answer = ask(sandbox, line).answer

    assert (answer.outcome, words in answer.summary) == (outcome, True), answer.summary


def test_readiness_is_read_from_the_body(sandbox):
    """`/health/ready` always answers 200, so the body decides."""
    params = {"path": "/health/ready", "expect": {"status": "ready"}}
    assert ask(sandbox, "post.health", **params).outcome is PASS
    with sandbox.fault("not_ready"):
        answer = ask(sandbox, "post.health", **params).answer

    assert (answer.outcome, answer.summary) == (
        FAIL,
        "/health/ready answers 200, but status is 'not_ready', not 'ready'",
    )


def test_metrics_that_do_not_change_fail(sandbox):
    """Prometheus keeps showing old values, so only the bot's own request proves that metrics arrive."""
    with sandbox.fault("metrics_stale"):
        answer = ask(sandbox, "post.metrics", within=1).answer

    assert answer.outcome is FAIL


@pytest.mark.parametrize("line", [check.id for check in CHECKLIST.distinct_checks if check.target == "production"])
def test_lines_about_production_change_nothing(line):
    """A check whose target is production never changes anything."""
    check = CHECKLIST.check(line)
    assert check is not None
    assert not REGISTRY.get(check.kind).mutates


@pytest.mark.parametrize("line", [check.id for check in CHECKLIST.distinct_checks if REGISTRY.get(check.kind).mutates])
def test_lines_that_change_something_refuse_production(sandbox, line):
    """A check that changes something is refused on production, even if somebody points it there."""
    check = CHECKLIST.check(line)
    assert check is not None
    answer = run(check.kind, check.params, production_target(sandbox)).answer

    assert answer.outcome is ERROR
    assert answer.summary.startswith("refused: ")


def test_every_fault_of_the_sandbox_is_judged():
    """Every fault that the sandbox can switch on is judged here or in the test file of its kind."""
    here = {switch for switch, _, _, _ in CASES if switch} | {"not_ready", "metrics_stale"}
    folder = Path(__file__).parent
    for switch, file in JUDGED_ELSEWHERE.items():
        assert f'"{switch}"' in (folder / file).read_text(encoding="utf-8"), switch
    ours = {one.name for one in Faults.catalogue() if one.group in {"staging", "product", "backup"}}
    assert ours - here - JUDGED_ELSEWHERE.keys() == set()
